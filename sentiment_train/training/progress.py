"""The measures of the steps: collected on the device, looked at now and then, reported as rates."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import numpy as np

from sentiment_train.data.batches import PlannedBatch
from sentiment_train.errors import DivergedError
from sentiment_train.training.costs import Meter
from sentiment_train.training.state import TrainingState
from sentiment_train.training.step import Measures

_FLOAT16_SKIPS = 50  # so many steps in a row may overflow while the loss scale finds its place


class Progress:
    """Sums the measures of the steps since the last report.

    Args:
      every: steps between two reports.
      report: called with the step and `{"train/loss": …}`.
      learning_rates: of a step, by name: `{"learning_rate": 0.001, "learning_rate/encoder": 0.0}`.
      allow_overflow: whether single steps may be not finite (float16 skips them).
      tick: called with the number of the last step that was done, after every call.
      meter: of what the run costs besides its steps; None: one that is for this alone.
    """

    def __init__(
        self,
        every: int,
        report: Callable[[int, dict[str, float]], None],
        learning_rates: Callable[[int], dict[str, float]],
        allow_overflow: bool,
        tick: Callable[[int], None] = lambda step: None,
        meter: Meter | None = None,
    ):
        self.every, self.report, self.learning_rates = every, report, learning_rates
        self.tick, self.meter = tick, meter or Meter()
        self.tolerated = _FLOAT16_SKIPS if allow_overflow else 0
        self._bad_in_a_row = 0
        self._pending: list[tuple[int, Measures]] = []
        self._clear()

    def _clear(self) -> None:
        self._loss = self._weight = self._correct = 0.0
        self._examples = self._tokens = self._places = 0
        self._norm = 0.0
        self._seconds = self._waited = 0.0

    def add(self, state: TrainingState, measures: Measures, used: Sequence[PlannedBatch]) -> None:
        """Takes the measures of the steps up to this one; waits for the device only after the
        first call of a run.

        Args:
          measures: scalars of one step, or `[steps]` of several.
          used: their batches.
        """
        self._pending.append((state.step, measures))
        self.tick(state.step)
        for planned in used:
            self._examples += planned.examples
            self._tokens += planned.tokens
            self._places += planned.places
        self._waited += self.meter.count(state.costs, used)
        if state.batches == len(used):
            np.asarray(measures.loss)
            self.meter.first_step(state.costs)

    def add_seconds(self, seconds: float) -> None:
        """Time spent in steps, for the rates."""
        self._seconds += seconds

    def check(self) -> None:
        """Looks at all pending measures.

        Raises:
          DivergedError: naming the first step whose loss or gradient was not finite.
        """
        for last, measures in self._pending:
            values = [np.atleast_1d(value).tolist() for value in measures]
            for step, of_step in enumerate(zip(*values, strict=True), last - len(values[0]) + 1):
                self._look_at(step, *of_step)
        self._pending.clear()

    def _look_at(self, step: int, loss: float, weight: float, correct: float, norm: float) -> None:
        if math.isfinite(loss) and math.isfinite(norm):
            self._bad_in_a_row = 0
            self._loss, self._weight = self._loss + loss, self._weight + weight
            self._correct, self._norm = self._correct + correct, norm
            return
        self._bad_in_a_row += 1
        if self._bad_in_a_row > self.tolerated:
            raise DivergedError(_explain(step, loss, norm))

    def report_if_due(self, state: TrainingState) -> None:
        """Reports the means since the last report, every so many steps and at the end.

        Waiting for the device is part of the steps' time.
        """
        if state.step % self.every and not state.finished:
            return
        started = time.monotonic()
        self.check()
        self.meter.look(state.costs)
        waited = time.monotonic() - started
        self._seconds += waited
        state.train_seconds += waited
        if self._weight == 0 or self._seconds == 0:
            return
        rates = self.learning_rates(state.step - 1)
        self.report(
            state.step,
            {
                "train/loss": self._loss / self._weight,
                "train/accuracy": self._correct / self._weight,
                "train/gradient_norm": self._norm,
                **{f"train/{name}": rate for name, rate in rates.items()},
                "train/examples_per_second": self._examples / self._seconds,
                "train/tokens_per_second": self._tokens / self._seconds,
                "train/padding": 1.0 - self._tokens / self._places,
                "train/input_wait": self._waited / self._seconds,
            },
        )
        self._clear()


def _explain(step: int, loss: float, norm: float) -> str:
    what = "the loss" if not math.isfinite(loss) else "the gradient norm"
    return (
        f"Step {step}: {what} is {loss if not math.isfinite(loss) else norm}. Training has"
        " stopped; nothing was saved since. Lower the schedule's learning_rate, lengthen its"
        " warmup, or set Training.clip_norm = 1.0, and start with a new --model_dir."
    )
