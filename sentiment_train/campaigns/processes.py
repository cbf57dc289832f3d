"""Commands as processes of their own: some at a time, each with a log file, stopped together."""

from __future__ import annotations

import collections
import contextlib
import pathlib
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

_LOOK_EVERY_SECONDS = 0.1


@dataclass(frozen=True)
class Command:
    """A program with its arguments, and the file that what it prints is appended to."""

    name: str
    arguments: tuple[str, ...]
    log: pathlib.Path


class StopSignals:
    """How often SIGINT, SIGTERM or SIGHUP has arrived; one that is ignored (nohup) stays so."""

    def __init__(self):
        self.count = 0

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        """Inside the block these signals are only counted (in the main thread)."""
        names = ("SIGINT", "SIGTERM", "SIGHUP")  # the last is unknown to Windows
        numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
        numbers = [n for n in numbers if signal.getsignal(n) != signal.SIG_IGN]
        before = {number: signal.signal(number, self._count) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _count(self, number, frame):
        self.count += 1


def run_all(
    commands: Iterable[Command],
    parallel: int,
    started: Callable[[Command], None],
    ended: Callable[[Command, int, float], None],
) -> bool:
    """Runs every command once, `parallel` of them at a time.

    A signal is passed on to those that run, as SIGTERM, and no other is started. They are waited
    for, so that they can save; a second signal is passed on as well.

    Args:
      started: called before a command is started.
      ended: called with a command, its exit code (negative: the signal) and its seconds.

    Returns:
      Whether all were run: False after a signal.
    """
    waiting = collections.deque(commands)
    running: dict[subprocess.Popen, tuple[Command, float]] = {}
    signals, passed_on = StopSignals(), 0
    with signals.counted(), _none_left(running):
        while running or (waiting and not signals.count):
            while waiting and len(running) < parallel and not signals.count:
                command = waiting.popleft()
                started(command)
                running[_start(command)] = command, time.monotonic()
            if signals.count > passed_on:
                passed_on = signals.count
                for process in running:
                    process.terminate()
            for process in [p for p in running if p.poll() is not None]:
                command, began = running.pop(process)
                ended(command, process.returncode, time.monotonic() - began)
            time.sleep(_LOOK_EVERY_SECONDS)
    return not signals.count


def _start(command: Command) -> subprocess.Popen:
    """In a session of its own, or Ctrl-C would reach it twice: from the terminal and from us."""
    with command.log.open("ab") as log:
        return subprocess.Popen(
            command.arguments,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


@contextlib.contextmanager
def _none_left(running: dict) -> Iterator[None]:
    """Whatever ends the block, no process is left behind."""
    try:
        yield
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()
