"""What a run says of its own cost: waiting for input, the first step, programs made, memory."""

from __future__ import annotations

import pathlib
import re
import resource
import sys
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sentiment_train.data.batches import Fed, PlannedBatch


@dataclass
class Costs:
    """Of a run, over all processes that took part in it; `TrainingState` keeps it."""

    tokens: int = 0  # trained on
    places: int = 0  # of tokens in the batches, padding included
    input_wait_seconds: float = 0.0  # part of the time spent in steps
    first_step_seconds: float | None = None  # see `Meter`; None: there was none yet
    traces: int = 0  # graphs that TensorFlow made of the step
    compilations: int = 0  # kinds of batches that XLA compiled the step, or its loops, for
    peak_memory_bytes: int = 0  # of the largest process, until its last report


class Meter:
    """Measures the costs of one process and adds them to those of its run.

    The first step of a run is timed from `started` to the moment when its loss is on the host:
    data, model, traces and compilations of one shape are in it. Of several steps in one call it is
    that call.

    Args:
      started: `time.monotonic()` when the process had imported TensorFlow and began its job.
      traces: how many graphs of the step this process has made so far.
      compiled_for: what is alike in batches that share what XLA compiles of the step; None: it
        compiles nothing.
    """

    def __init__(
        self,
        started: float | None = None,
        traces: Callable[[], int] = lambda: 0,
        compiled_for: Callable[[PlannedBatch], Hashable] | None = None,
    ):
        self.started = time.monotonic() if started is None else started
        self._traces, self._compiled_for = traces, compiled_for
        self._traced = 0
        self._compiled: set[Hashable] = set()
        self._waited = 0.0

    def watch(self, data) -> WatchedData:
        """The same `training.loop.TrainingData`, with a clock that runs while it is waited for."""
        return WatchedData(data, self)

    def add_wait(self, seconds: float) -> None:
        self._waited += seconds

    def count(self, costs: Costs | None, used: Sequence[PlannedBatch]) -> float:
        """Adds the batches of one call of the step; gives the seconds that were waited for them.

        Args:
          costs: None if those of an earlier process are not known.
        """
        waited, self._waited = self._waited, 0.0
        if costs is not None:
            costs.input_wait_seconds += waited
            costs.tokens += sum(planned.tokens for planned in used)
            costs.places += sum(planned.places for planned in used)
            if self._compiled_for is not None:
                new = set(map(self._compiled_for, used)) - self._compiled
                costs.compilations += len(new)
                self._compiled |= new
        return waited

    def first_step(self, costs: Costs | None) -> None:
        """The first step of the run is done."""
        if costs is not None:
            costs.first_step_seconds = time.monotonic() - self.started

    def look(self, costs: Costs | None) -> None:
        """Reads what the process has used up to now."""
        if costs is not None:
            traced = self._traces()
            costs.traces += traced - self._traced
            self._traced = traced
            costs.peak_memory_bytes = max(costs.peak_memory_bytes, peak_memory_bytes())


def shape(planned: PlannedBatch) -> Hashable:
    """For `Meter`: what is compiled for each shape."""
    return planned.places, planned.length


def batch_size(planned: PlannedBatch) -> Hashable:
    """For `Meter`: what is compiled for each number of rows, and any length."""
    return planned.places // planned.length


class WatchedData:
    """A `training.loop.TrainingData` that a `Meter` watches."""

    def __init__(self, data, meter: Meter):
        self._data, self._meter = data, meter

    def feed(self, *position) -> Iterator[Fed]:
        """See `training.loop.TrainingData`. The order of an epoch is made when its first batch is
        asked for, so that this counts as waiting, too."""
        started = time.monotonic()
        for fed in self._data.feed(*position):
            self._meter.add_wait(time.monotonic() - started)
            yield fed
            started = time.monotonic()


def of_results(costs: Costs | None, train_seconds: float) -> dict[str, Any]:
    """What `results.json` says of them; None where something is not known."""
    if costs is None or not costs.places or not train_seconds:
        return dict.fromkeys(_RESULTS)
    values = (
        costs.tokens / train_seconds,
        1 - costs.tokens / costs.places,
        costs.input_wait_seconds / train_seconds,
        costs.first_step_seconds,
        costs.traces,
        costs.compilations,
        costs.peak_memory_bytes,
    )
    return dict(zip(_RESULTS, values, strict=True))


_RESULTS = (
    "tokens_per_second",
    "padding",
    "input_wait",
    "first_step_seconds",
    "traces",
    "compilations",
    "peak_memory_bytes",
)


def peak_memory_bytes() -> int:
    """The most memory that this process has had at a time (resident set).

    On Linux from /proc: `getrusage` there counts the process that started this one as well, since
    its maximum outlives `exec`.
    """
    status = pathlib.Path("/proc/self/status")
    if status.exists() and (found := re.search(r"VmHWM:\s+(\d+) kB", status.read_text())):
        return int(found[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
