"""The loop over real batches: stopped, resumed, diverged, accumulated."""

import dataclasses
import math

import keras
import numpy as np
import pytest
from small_training import Grouped, random_split

from sentiment_train.data import batches as batching
from sentiment_train.data.batches import RowSlice
from sentiment_train.data.bucketing import BucketTable
from sentiment_train.errors import DivergedError, Interrupted
from sentiment_train.training.actions import Save, Validate
from sentiment_train.training.checkpoints import Checkpoints, arrays_of, restore
from sentiment_train.training.groups import ParameterGroup
from sentiment_train.training.loop import Loop
from sentiment_train.training.progress import Progress
from sentiment_train.training.state import TrainingState

pytestmark = pytest.mark.usefixtures("tf")

TABLE = BucketTable((3, 6), (6, 4))


@dataclasses.dataclass
class Data:
    """The training split as the loop sees it."""

    split: object
    devices: object

    in_a_row: int = 1
    steps_per_call: int = 1

    def order(self, epoch):
        return batching.epoch_order(self.split.lengths, TABLE, 0, epoch, in_a_row=self.in_a_row)

    def feed(self, epoch, position, stream_position, most):
        planned, n = self.order(epoch)[position:], self.devices.replicas
        rows = RowSlice(n, 0, n)
        batches = batching.batches(self.split, planned, rows)

        def read(used):
            if self.steps_per_call > 1:
                several = batching.together(self.split, used, rows, self.steps_per_call)
                return batching.in_tensors(several)
            return self.devices.distribute(batching.in_tensors(next(batches)))

        return batching.fed(read, planned, most)


class Run:
    """A run in a directory; made again it goes on from the newest checkpoint."""

    def __init__(
        self, trainer, directory, split=None, total_steps=25, every=5, in_a_row=1, **settings
    ):
        self.split = random_split() if split is None else split
        t = trainer(**{"optimizer": keras.optimizers.Adam, "average_decay": 0.9, **settings})
        self.step, self.rates = t.step, {}
        self.grouped = isinstance(settings.get("optimizer"), Grouped)
        self.checkpoints = Checkpoints(str(directory), 100, print)
        found = self.checkpoints.newest()
        self.state = found.state if found else TrainingState()
        if found:
            restore(self.step.variables(), found.arrays)
        self.calls, self.evaluated, self.stop_at, self.stop_in_evaluation = 0, [], -1, False
        self.data = Data(self.split, t.devices, in_a_row, settings.get("steps_per_call", 1))
        self.loop = Loop(
            self.step,
            self.data,
            total_steps,
            Progress(7, self.report, self.rates_of, allow_overflow=False),
            [
                Validate(every, self.evaluate, lambda step, values: None, "accuracy", None),
                Save(4, self.save, dataclasses.replace(self.state) if found else None),
            ],
            self.save,
            self.should_stop,
        )

    def rates_of(self, step):
        """Of the optimizers that the tests make by themselves nobody asks."""
        return self.step.optimizer.learning_rates(step) if self.grouped else {}

    def report(self, step, values):
        self.rates[step] = {n: v for n, v in values.items() if n.startswith("train/learning_rate")}

    def evaluate(self):
        if self.stop_in_evaluation:
            raise Interrupted("Stopped during evaluation.")
        self.evaluated.append(self.state.step)
        return {"accuracy": -abs(self.state.step - 10)}  # the best is step 10

    def save(self, state):
        self.checkpoints.save(state, arrays_of(self.step.variables()), {})

    def should_stop(self):
        return self.state.step == self.stop_at

    def run(self):
        self.loop.run(self.state)
        return self

    def result(self):
        state = dataclasses.replace(self.state, train_seconds=0.0)
        return state, {n: a.tobytes() for n, a in arrays_of(self.step.variables()).items()}


@pytest.fixture
def run(trainer, tmp_path):
    def make(directory="run", **settings):
        return Run(trainer, tmp_path / directory, **settings)

    return make


@pytest.fixture(scope="module")
def uninterrupted(trainer, tmp_path_factory):
    return Run(trainer, tmp_path_factory.mktemp("uninterrupted")).run()


def test_it_trains_to_the_last_step_and_counts_what_it_used(uninterrupted):
    r = uninterrupted
    per_epoch = len(r.data.order(0))
    assert (r.state.step, r.state.batches, r.state.finished) == (25, 25, True)
    assert (r.state.epoch, r.state.position) == divmod(25, per_epoch)
    whole, rest = divmod(25, per_epoch)
    rows = whole * len(r.split) + sum(b.examples for b in r.data.order(whole)[:rest])
    assert r.state.examples == rows
    assert r.state.train_seconds > 0
    assert int(r.step.optimizer.iterations.numpy()) == 25


def test_it_evaluates_and_saves_at_the_marks_and_at_the_end(uninterrupted):
    assert uninterrupted.evaluated == [5, 10, 15, 20, 25]
    assert uninterrupted.state.best_step == 10
    # Every 4th step, the new bests 5 and 10, and the end.
    assert uninterrupted.checkpoints.steps() == [4, 5, 8, 10, 12, 16, 20, 24, 25]
    assert uninterrupted.checkpoints.newest().state == uninterrupted.state


# 7 is between the marks, 8 was just saved, 10 just evaluated; 25 is the last one.
@pytest.mark.parametrize("stop_at", [7, 8, 10, 25])
def test_stopped_by_a_signal_it_goes_on_bit_for_bit(run, uninterrupted, stop_at):
    first = run()
    first.stop_at = stop_at
    with pytest.raises(Interrupted):
        first.run()
    assert first.checkpoints.newest().state == first.state
    second = run().run()
    assert first.state.step == stop_at
    assert first.evaluated + second.evaluated == uninterrupted.evaluated
    assert second.result() == uninterrupted.result()


@pytest.mark.parametrize("at", [10, 20, 25])
def test_stopped_during_an_evaluation_it_does_it_first_when_it_goes_on(run, uninterrupted, at):
    first = run(every=5)
    evaluate = first.evaluate
    first.loop.actions[0].evaluate = lambda: (
        setattr(first, "stop_in_evaluation", first.state.step == at) or evaluate()
    )
    with pytest.raises(Interrupted):
        first.run()
    saved = first.checkpoints.newest().state
    assert (saved.step, saved.evaluated_step) == (at, at - 5)
    second = run().run()
    assert second.evaluated[0] == at
    assert first.evaluated + second.evaluated == uninterrupted.evaluated
    assert second.result() == uninterrupted.result()


def test_without_a_signal_it_goes_on_from_the_last_checkpoint(run, uninterrupted):
    first = run()
    first.loop.actions.append(CrashAt(14))
    with pytest.raises(MemoryError):
        first.run()
    second = run()
    assert second.state.step == 12
    assert second.run().result() == uninterrupted.result()


@dataclasses.dataclass
class CrashAt:
    step: int

    def due(self, state):
        return state.step == self.step

    def __call__(self, state):
        raise MemoryError


@pytest.mark.parametrize("size, steps_of_epoch", [(2, 5), (4, 3), (20, 1)])
def test_an_epoch_that_accumulation_does_not_divide_ends_with_a_smaller_step(
    run, size, steps_of_epoch
):
    r = run(total_steps=2 * steps_of_epoch, accumulate_batches=size)
    batches = len(r.data.order(0))
    assert batches == 9
    r.run()
    assert (r.state.epoch, r.state.position) == (2, 0)
    assert (r.state.step, r.state.batches) == (2 * steps_of_epoch, 2 * batches)
    assert r.state.examples == 2 * len(r.split)
    assert int(r.step.optimizer.iterations.numpy()) == 2 * steps_of_epoch


def test_accumulation_stopped_in_the_middle_of_an_epoch_goes_on_bit_for_bit(run):
    whole = run("whole", accumulate_batches=2, total_steps=8).run()
    first = run(accumulate_batches=2, total_steps=8)
    first.stop_at = 3
    with pytest.raises(Interrupted):
        first.run()
    assert first.state.position == 6
    assert run(accumulate_batches=2, total_steps=8).run().result() == whole.result()


LATE = ParameterGroup(("embedding/*", "hidden/*"), 0.01, starts="9 steps", warmup="5 steps")


@pytest.fixture(scope="module")
def uninterrupted_groups(trainer, tmp_path_factory):
    directory = tmp_path_factory.mktemp("uninterrupted_groups")
    return Run(trainer, directory, total_steps=14, optimizer=Grouped((LATE,))).run()


# In the first phase, between the two, and in the second one.
@pytest.mark.parametrize("stop_at", [7, 9, 11])
def test_a_run_with_groups_goes_on_bit_for_bit_in_any_phase(run, uninterrupted_groups, stop_at):
    first = run(optimizer=Grouped((LATE,)), total_steps=14)
    first.stop_at = stop_at
    with pytest.raises(Interrupted):
        first.run()
    second = run(optimizer=Grouped((LATE,)), total_steps=14).run()
    assert second.result() == uninterrupted_groups.result()
    assert second.rates == {s: r for s, r in uninterrupted_groups.rates.items() if s > stop_at}


def test_the_rate_of_each_group_is_reported(uninterrupted_groups):
    rates = uninterrupted_groups.rates
    assert list(rates) == [7, 14]
    assert rates[7]["train/learning_rate/embedding"] == 0.0
    assert rates[14]["train/learning_rate/embedding"] == pytest.approx(0.01)
    assert rates[7]["train/learning_rate"] == pytest.approx(
        0.05 * 0.5 * (1 + math.cos(math.pi * 6 / 40))
    )


def test_two_replicas_run_the_loop_as_one_does(run, uninterrupted):
    two = run(replicas=2).run()
    (one_state, _), (two_state, _) = uninterrupted.result(), two.result()
    assert two_state == one_state
    pairs = zip(uninterrupted.step.weights, two.step.weights, strict=True)
    for a, b in pairs:
        np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stop_at", [-1, 6])
def test_a_loss_that_is_not_finite_names_the_first_step_and_nothing_later_is_saved(run, stop_at):
    split = random_split()
    r = run(split=split)
    r.stop_at = stop_at
    batch = r.data.order(0)[5]  # of step 6
    split.weights[batch.rows[0]] = np.nan
    with pytest.raises(DivergedError, match="Step 6: the loss is nan"):
        r.run()
    assert r.checkpoints.steps() == [4, 5]


@pytest.fixture(scope="module")
def one_by_one(trainer, tmp_path_factory):
    """Batches of one shape in blocks of three, each step a call of its own."""
    return Run(trainer, tmp_path_factory.mktemp("one_by_one"), in_a_row=3).run()


def calls_of(step):
    """The numbers of steps of the calls that had several; filled while it trains."""
    several, found = step.train_several, []

    def train_several(batches, count, number, phase):
        found.append(int(count))
        return several(batches, count, number, phase)

    step.train_several = train_several
    return found


@pytest.mark.parametrize("replicas, jit_compile", [(1, False), (1, True), (2, False)])
def test_several_steps_in_one_call_are_the_same_steps(run, one_by_one, replicas, jit_compile):
    together = run(in_a_row=3, steps_per_call=3, replicas=replicas, jit_compile=jit_compile)
    steps_of_calls = calls_of(together.step)
    together.run()
    assert sum(steps_of_calls) == 25
    assert set(steps_of_calls) == {1, 2, 3}  # never more than a block, and less before a mark
    assert together.evaluated == one_by_one.evaluated
    assert together.checkpoints.steps() == one_by_one.checkpoints.steps()
    assert together.result()[0] == one_by_one.result()[0]
    if replicas == 1 and not jit_compile:
        assert together.result() == one_by_one.result()
    for a, b in zip(one_by_one.step.weights, together.step.weights, strict=True):
        np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=1e-4, atol=1e-5)


def test_a_call_ends_where_something_is_due_or_other_weights_move(run):
    r = run(in_a_row=8, steps_per_call=8, total_steps=23, optimizer=Grouped((LATE,)))
    marks = {step: step + r.loop._steps_until_a_mark(step) for step in range(23)}
    # Evaluations every 5, saves every 4, reports every 7 steps; others move from step 9 on.
    assert set(marks.values()) == {4, 5, 7, 8, 9, 10, 12, 14, 15, 16, 20, 21, 23}
    assert r.run().state.step == 23


@pytest.mark.parametrize("stop_at, jit_compile", [(5, False), (8, True)])
def test_several_steps_in_one_call_go_on_in_the_middle_of_a_block(run, stop_at, jit_compile):
    """Also if they are one XLA program, whatever the number of steps that it does."""
    settings = {"in_a_row": 3, "steps_per_call": 3, "total_steps": 14, "jit_compile": jit_compile}
    whole = run("whole", **settings).run()
    first = run(**settings)
    first.stop_at = stop_at
    with pytest.raises(Interrupted):
        first.run()
    assert run(**settings).run().result() == whole.result()


def test_in_a_call_of_several_steps_the_first_that_is_not_finite_is_named(run):
    split = random_split()
    r = run(split=split, in_a_row=3, steps_per_call=3)
    split.weights[r.data.order(0)[5].rows[0]] = np.nan
    with pytest.raises(DivergedError, match="Step 6: the loss is nan"):
        r.run()
