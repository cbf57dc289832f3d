"""What a run says of its own cost, with steps and a feed that are made up."""

import dataclasses
import resource
import sys
import time

import numpy as np
import pytest

from sentiment_train.data.batches import PlannedBatch
from sentiment_train.training.costs import (
    Costs,
    Meter,
    batch_size,
    of_results,
    peak_memory_bytes,
    shape,
)
from sentiment_train.training.progress import Progress
from sentiment_train.training.state import TrainingState
from sentiment_train.training.step import Measures

SHORT, LONG = (PlannedBatch(n, np.arange(4), tokens=3 * n) for n in (5, 10))


class SlowData:
    """Batches that take a while each, and the order of an epoch as well."""

    def feed(self, epoch, position, stream_position, most):
        time.sleep(0.02)
        for _ in range(position, 3):
            time.sleep(0.01)
            yield epoch


def test_the_order_and_each_batch_are_waited_for_and_the_step_between_is_not():
    meter, costs, waits = Meter(), Costs(), []
    for epoch in meter.watch(SlowData()).feed(7, 0, 0, lambda: 1):
        assert epoch == 7
        time.sleep(0.5)  # the step
        waits.append(meter.count(costs, [SHORT]))
    assert waits[0] >= 0.03
    assert min(waits) >= 0.01
    assert costs.input_wait_seconds == pytest.approx(sum(waits))
    assert costs.input_wait_seconds < 1.0


def test_a_kind_of_batch_is_compiled_for_once_and_only_where_something_is_compiled():
    for compiled_for, expected in ((shape, 2), (batch_size, 1), (None, 0)):
        meter, costs = Meter(compiled_for=compiled_for), Costs()
        for used in ([SHORT], [LONG, LONG], [SHORT, LONG]):
            meter.count(costs, used)
        assert costs.compilations == expected
        assert (costs.tokens, costs.places) == (2 * 15 + 3 * 30, 2 * 20 + 3 * 40)


def test_what_two_processes_did_is_added_and_the_first_step_is_that_of_the_first():
    traced, state = [3], TrainingState()
    for begun in (100.0, 1.0):  # seconds ago
        meter = Meter(time.monotonic() - begun, lambda: traced[0], shape)
        progress = Progress(1, lambda step, values: None, lambda step: {}, False, meter=meter)
        for _ in range(2):
            state.step, state.batches = state.step + 1, state.batches + 1
            progress.add(state, Measures(*map(np.float32, (1, 1, 1, 1))), [SHORT])
            progress.add_seconds(0.5)
            progress.report_if_due(state)
        state = TrainingState.from_dict(state.as_dict())
    assert state.costs.first_step_seconds == pytest.approx(100, abs=50)
    assert (state.costs.traces, state.costs.compilations) == (6, 2)
    found = of_results(state.costs, train_seconds=2.0)
    assert found["tokens_per_second"] == 4 * 15 / 2.0
    assert found["padding"] == pytest.approx(0.25)
    assert 0 <= found["input_wait"] < 1


def test_a_checkpoint_keeps_all_costs_and_one_that_has_none_leaves_them_unknown():
    costs = Costs(1, 2, 3.0, 4.0, 5, 6, 7)
    values = TrainingState(costs=costs).as_dict()
    assert TrainingState.from_dict(values).costs == costs
    assert values["costs"] == dataclasses.asdict(costs)
    del values["costs"]
    state = TrainingState.from_dict(values)
    meter = Meter()
    meter.count(state.costs, [SHORT])
    meter.first_step(state.costs)
    meter.look(state.costs)
    assert set(of_results(state.costs, 1.0).values()) == {None}


def test_the_peak_is_that_of_this_process_and_stays():
    before = peak_memory_bytes()
    block = np.ones(2**25)  # 256 MB, all of them touched
    peak = peak_memory_bytes()
    assert peak >= block.nbytes
    del block
    # Linux counts pages thread by thread and adds them up now and then.
    assert peak_memory_bytes() >= 0.99 * peak >= 0.99 * 0.99 * before
    unit = 1 if sys.platform == "darwin" else 1024
    of_system = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    assert peak_memory_bytes() <= of_system * 1.05
