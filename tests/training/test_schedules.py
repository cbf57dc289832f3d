from dataclasses import dataclass

import numpy as np
import pytest

from sentiment_train.config import Part
from sentiment_train.duration import check_duration, to_steps
from sentiment_train.errors import ConfigError
from sentiment_train.training.schedules import (
    ConstantSchedule,
    CosineSchedule,
    ExponentialSchedule,
    LinearSchedule,
    OneCycleSchedule,
)

pytestmark = pytest.mark.usefixtures("tf")

TOTAL, PER_EPOCH, PEAK = 50, 20, 0.3


def rates(schedule, total=TOTAL):
    built = schedule.build(total, PER_EPOCH)
    return np.array([float(built(step)) for step in range(total)])


@pytest.mark.parametrize("warmup", [0, 10])
@pytest.mark.parametrize(
    "schedule, share",
    [
        (ConstantSchedule, lambda progress, steps: np.ones_like(progress)),
        (CosineSchedule, lambda progress, steps: (1 + np.cos(np.pi * progress)) / 2),
        (LinearSchedule, lambda progress, steps: 1 - progress),
        (ExponentialSchedule, lambda progress, steps: 0.5 ** (steps / PER_EPOCH)),
    ],
)
def test_rates_are_those_of_the_formula(schedule, share, warmup):
    steps = np.arange(TOTAL - warmup)
    rising = PEAK * (np.arange(warmup) + 1) / max(warmup, 1)
    expected = np.concatenate([rising, PEAK * share(steps / (TOTAL - warmup), steps)])
    found = rates(schedule(learning_rate=PEAK, warmup=f"{warmup} steps"))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("schedule", [CosineSchedule, LinearSchedule])
def test_the_decay_ends_at_the_final_share_and_stays_there(schedule):
    built = schedule(learning_rate=PEAK, final_share=0.2).build(TOTAL, PER_EPOCH)
    for step in (TOTAL, TOTAL + 7):
        assert float(built(step)) == pytest.approx(0.2 * PEAK)


def test_an_exponential_decay_has_its_rate_and_period():
    found = rates(ExponentialSchedule(PEAK, decay_rate=0.1, decay_every="0.5 epochs"))
    np.testing.assert_allclose(found, PEAK * 0.1 ** (np.arange(TOTAL) / 10), rtol=1e-4)


def test_one_cycle_rises_in_a_line_and_falls_in_a_cosine():
    found = rates(OneCycleSchedule(PEAK, rising_share=0.2, start_share=0.1, final_share=0.01))
    up = 0.1 + 0.9 * np.arange(10) / 10
    down = 0.01 + 0.99 * (1 + np.cos(np.pi * np.arange(40) / 40)) / 2
    np.testing.assert_allclose(found, PEAK * np.concatenate([up, down]), rtol=1e-5)
    assert found.argmax() == 10
    assert found[10] == pytest.approx(PEAK)


def test_one_cycle_may_rise_for_a_given_time_in_place_of_a_share():
    by_share, by_time = (OneCycleSchedule(**given) for given in (
        {"rising_share": 0.2}, {"warmup": "0.5 epochs"}
    ))  # fmt: skip
    np.testing.assert_array_equal(rates(by_time), rates(by_share))
    assert rates(OneCycleSchedule(PEAK, warmup="0 steps"))[0] == pytest.approx(PEAK)
    with pytest.raises(
        ConfigError, match=r"OneCycleSchedule\.warmup = .* longer than the training"
    ):
        rates(OneCycleSchedule(warmup="51 steps"))


def test_one_cycle_is_the_whole_training_however_long_that_is():
    schedule = OneCycleSchedule(PEAK)
    long = rates(schedule, total=200)
    np.testing.assert_allclose(rates(schedule, total=20), long[::10], rtol=1e-4)
    assert float(schedule.build(200, PER_EPOCH)(200)) == pytest.approx(1e-4 * PEAK, rel=1e-3)
    assert rates(schedule, total=1) == pytest.approx([PEAK])  # nothing is left for a rise


def test_a_warmup_may_take_all_of_the_training_but_not_more():
    found = rates(LinearSchedule(PEAK, warmup="2.5 epochs"))
    np.testing.assert_allclose(found, PEAK * (np.arange(TOTAL) + 1) / TOTAL, rtol=1e-5)
    with pytest.raises(ConfigError, match=r"\.warmup = '51 steps' is 51 steps, longer than the"):
        rates(LinearSchedule(PEAK, warmup="51 steps"))


@pytest.mark.parametrize(
    "schedule, setting",
    [
        (ConstantSchedule, {"learning_rate": 0.0}),
        (ConstantSchedule, {"warmup": "soon"}),
        (CosineSchedule, {"final_share": 1.1}),
        (LinearSchedule, {"final_share": -0.1}),
        (OneCycleSchedule, {"warmup": "long"}),
        (OneCycleSchedule, {"rising_share": 1.0}),
        (OneCycleSchedule, {"start_share": -0.1}),
        (OneCycleSchedule, {"final_share": 1.1}),
        (ExponentialSchedule, {"decay_rate": 0.0}),
        (ExponentialSchedule, {"decay_every": "0 epochs"}),
    ],
)
def test_settings_out_of_range_are_refused_by_name(schedule, setting):
    (name,) = setting
    with pytest.raises(ConfigError, match=rf"{schedule.__name__}\.{name} = "):
        schedule(**setting)


@dataclass(frozen=True)
class Wait(Part):
    length: str
    may_be_zero: bool = False

    def check(self):
        check_duration(self, "length", at_least_one_step=not self.may_be_zero)


@pytest.mark.parametrize(
    "text, per_epoch, steps",
    [
        ("3 epochs", 20, 60),
        ("1 epoch", 20, 20),
        ("0.5 epochs", 7, 4),  # a part of a step counts as one
        ("0.001 epochs", 7, 1),
        ("500 steps", 20, 500),
        ("1 step", 20, 1),
        (" 2.0steps ", 20, 2),
        ("1.1 epochs", 10, 11),  # 1.1 * 10 is 11.000000000000002
        ("0.07 epochs", 100, 7),
    ],
)
def test_durations_are_whole_steps(text, per_epoch, steps):
    assert to_steps(Wait(text).length, per_epoch) == steps


def test_no_time_is_a_length_where_it_makes_sense():
    assert to_steps(Wait("0 steps", may_be_zero=True).length, 20) == 0


@pytest.mark.parametrize(
    "text, problem",
    [
        ("3", "is no length of time; write '3 epochs'"),
        ("3 minutes", "is no length of time"),
        ("-1 epochs", "is no length of time"),
        ("1e3 steps", "is no length of time"),
        (".5 epochs", "is no length of time"),
        ("epochs", "is no length of time"),
        ("", "is no length of time"),
        ("1.5 steps", "asks for a part of a step"),
        ("0 epochs", "must be longer than 0"),
        ("0.0 steps", "must be longer than 0"),
    ],
)
def test_bad_durations_are_refused(text, problem):
    with pytest.raises(ConfigError, match=rf"Wait.length = '{text}' {problem}"):
        Wait(text)
