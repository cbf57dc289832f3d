import math

import numpy as np
import pytest

from sentiment_train.data.batches import FILLER, PlannedBatch
from sentiment_train.errors import DivergedError
from sentiment_train.training.progress import Progress
from sentiment_train.training.state import TrainingState
from sentiment_train.training.step import Measures

BATCH = PlannedBatch(length=10, rows=np.array([0, 1, 2, FILLER]), tokens=24)


class Steps:
    """A progress that is given the measures of one step after the other."""

    def __init__(self, every=2, allow_overflow=False):
        self.reports, self.ticks = [], []
        self.progress = Progress(
            every,
            lambda step, values: self.reports.append((step, values)),
            lambda step: {"learning_rate": step / 100},
            allow_overflow,
            tick=self.ticks.append,
        )
        self.state = TrainingState()

    def step(self, *measures, finished=False, seconds=0.5):
        self.state.step += 1
        self.state.finished = finished
        self.progress.add(self.state, Measures(*measures), [BATCH])
        self.progress.add_seconds(seconds)
        self.progress.report_if_due(self.state)


def test_reports_are_means_over_the_steps_since_the_last_one():
    s = Steps()
    s.step(6.0, 4.0, 1.0, 0.7)
    s.step(2.0, 12.0, 11.0, 0.9)
    s.step(1.0, 2.0, 2.0, 0.1, finished=True)
    (step, first), (last_step, last) = s.reports
    assert (step, last_step) == (2, 3)
    rates = {
        name: first.pop(f"train/{name}") for name in ("examples_per_second", "tokens_per_second")
    }
    assert first == pytest.approx(
        {
            "train/loss": 8 / 16,
            "train/accuracy": 12 / 16,
            "train/gradient_norm": 0.9,
            "train/learning_rate": 0.01,  # that the second step was done with
            "train/padding": 1 - 48 / 80,
            "train/input_wait": 0.0,
        }
    )
    assert rates == pytest.approx({"examples_per_second": 6, "tokens_per_second": 48}, rel=0.05)
    assert (last["train/loss"], last["train/accuracy"]) == (0.5, 1.0)
    assert s.ticks == [1, 2, 3]


@pytest.mark.parametrize(
    "measures, what",
    [
        ((math.nan, 1, 1, 1), "the loss is nan"),
        ((math.inf, 1, 1, math.nan), "the loss is inf"),
        ((1, 1, 1, math.inf), "the gradient norm is inf"),
    ],
)
def test_the_first_step_that_is_not_finite_is_named(measures, what):
    s = Steps(every=100)
    for values in ((1, 1, 1, 1), (1, 1, 1, 1), measures, (math.nan,) * 4):
        s.step(*values)
    with pytest.raises(DivergedError, match=f"Step 3: {what}. Training has stopped"):
        s.progress.check()


def test_float16_may_skip_steps_but_not_for_ever():
    s = Steps(every=1000, allow_overflow=True)
    for _ in range(50):
        s.step(1.0, 1.0, 1.0, math.inf)
    s.step(3.0, 2.0, 1.0, 0.5)
    s.progress.check()  # the scale has found its place
    for _ in range(51):
        s.step(1.0, 1.0, 1.0, math.inf)
    with pytest.raises(DivergedError, match="Step 102: the gradient norm is inf"):
        s.progress.check()


def test_skipped_steps_are_in_no_mean():
    s = Steps(allow_overflow=True)
    s.step(math.inf, 5.0, 5.0, math.inf)
    s.step(3.0, 2.0, 1.0, 0.5)
    ((_, values),) = s.reports
    assert (values["train/loss"], values["train/accuracy"]) == (1.5, 0.5)


def test_steps_without_any_weight_wait_for_those_that_have_one():
    s = Steps(every=1)
    s.step(0.0, 0.0, 0.0, 0.0)
    assert s.reports == []
    s.step(1.0, 2.0, 2.0, 0.1)
    assert [(step, values["train/loss"]) for step, values in s.reports] == [(2, 0.5)]
