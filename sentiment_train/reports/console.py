"""What is printed: aligned lines, and a progress bar if somebody watches on a terminal."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator

_LABEL_WIDTH = 11


class Console:
    """Prints for one process; a silent one (of a worker that is not the chief) prints nothing."""

    def __init__(self, silent: bool = False):
        self.silent = silent
        self._bar = None
        self._heard: list[tuple[str, str]] | None = None

    def say(self, label: str, text: str) -> None:
        """`label      text`; further lines of the text are indented alike."""
        if self._heard is not None:
            self._heard.append((label, text))
            return
        if self.silent:
            return
        text = text.replace("\n", "\n" + " " * _LABEL_WIDTH)
        line = f"{label:<{_LABEL_WIDTH}}{text}"
        if self._bar is not None:
            self._bar.write(line)
        else:
            print(line, flush=True)

    @contextlib.contextmanager
    def heard(self) -> Iterator[list[tuple[str, str]]]:
        """Inside the block nothing is printed; gives the labels and texts that would have been."""
        self._heard = lines = []
        try:
            yield lines
        finally:
            self._heard = None

    def start_progress(self, step: int, total_steps: int) -> None:
        """Begins the bar of the training steps; without a terminal there are lines instead."""
        self._since, self._since_step = time.monotonic(), step
        self._total, self._reported = total_steps, False
        if not self.silent and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total_steps, initial=step, unit="step", dynamic_ncols=True)

    def advance(self, step: int) -> None:
        """Moves the bar to `step`."""
        if self._bar is not None:
            self._bar.update(step - self._bar.n)

    def report(self, step: int, values: dict[str, float]) -> None:
        """Metrics of a step: of training beside the bar or as a line with the time left."""
        named = {tag.partition("/")[2]: value for tag, value in values.items()}
        if "train/loss" not in values:
            text = "  ".join(f"{n} {shown(v)}" for n, v in named.items() if n != "examples")
            self.say(next(iter(values)).partition("/")[0], f"step {step:,}  {text}")
            return
        text = (
            f"loss {named['loss']:.4f}  accuracy {named['accuracy']:.4f}"
            f"  {named['examples_per_second']:,.0f} examples/s"
            f"  {named['tokens_per_second']:,.0f} tokens/s"
        )
        if self._bar is not None:
            self._bar.set_postfix_str(text)
            return
        now = time.monotonic()
        left = (now - self._since) / max(step - self._since_step, 1) * (self._total - step)
        if not self._reported:  # before the first line most graphs were made, which is done once
            self._since, self._since_step, self._reported = now, step, True
        self.say("step", f"{step:,}/{self._total:,}  {text}  {_clock(left)} left")

    def end_progress(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def shown(value: float) -> str:
    """A metric with four digits; a count as it is."""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
