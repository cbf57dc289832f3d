"""Groups of variables: which belong to which, and what is said of them."""

from dataclasses import dataclass

import keras
import numpy as np
import pytest
from small_training import pooled_model

from sentiment_train.errors import ConfigError
from sentiment_train.training.groups import ParameterGroup, describe_groups, plan_groups
from sentiment_train.training.schedules import ConstantSchedule, CosineSchedule, OneCycleSchedule

pytestmark = pytest.mark.usefixtures("tf")

NAMES = [
    *("embedding/embeddings", "hidden/kernel", "hidden/bias", "logits/kernel", "logits/bias"),
]
SCHEDULE = CosineSchedule(0.1, warmup="4 steps")


@pytest.fixture(scope="module")
def weights():
    keras.backend.clear_session()
    return pooled_model().trainable_variables


def group(*patterns, **settings):
    return ParameterGroup(patterns, **settings)


def plan(weights, *groups, schedule=SCHEDULE):
    return plan_groups(groups, weights, schedule, 40, 10)


def members(planned):
    return {p.name: [NAMES[i] for i in p.members] for p in planned}


def test_a_variable_belongs_to_the_first_group_that_names_it(weights):
    planned = plan(weights, group("hidden/bias", "log*"), group("hidden/*", name="middle"))
    assert members(planned) == {
        "": ["embedding/embeddings"],
        "hidden": ["hidden/bias", "logits/kernel", "logits/bias"],
        "middle": ["hidden/kernel"],
    }


def test_without_groups_all_follow_the_schedule(weights):
    (rest,) = planned = plan(weights)
    assert (len(rest.members), rest.starts, rest.steps) == (5, 0, 40)
    assert rest.schedule is SCHEDULE
    assert describe_groups(planned, weights) == ""


def test_a_pattern_also_fits_the_whole_path(weights):
    inner = keras.Sequential([keras.layers.Dense(3, name="below")], name="inner")
    inner.build([None, 2])
    outer = keras.Sequential([inner], name="outer")
    outer.build([None, 2])
    variables = outer.trainable_variables
    path = variables[0].path
    assert path.count("/") > 1
    planned = plan_groups([group(path)], variables, SCHEDULE, 40, 10)
    assert [p.members for p in planned] == [(1,), (0,)]


def test_names_in_logs_differ(weights):
    planned = plan(weights, group("hidden/bias"), group("hidden/kernel"), group("*ings"))
    assert [p.name for p in planned] == ["", "hidden", "hidden_2", "group"]


def test_a_group_follows_the_schedule_from_its_start_with_its_own_peak_and_warmup(weights):
    planned = plan(
        weights,
        group("hidden/*", learning_rate=0.01, starts="1 epoch", warmup="5 steps"),
        group("embedding/*", starts="7 steps"),
    )
    rest, hidden, embedding = planned
    assert (rest.starts, hidden.starts, embedding.starts) == (0, 10, 7)
    assert (rest.steps, hidden.steps, embedding.steps) == (40, 30, 33)
    assert hidden.schedule == CosineSchedule(0.01, warmup="5 steps")
    assert embedding.schedule == SCHEDULE


def test_in_a_cycle_the_warmup_of_a_group_is_its_way_up(weights):
    """So a model whose encoder has a warm-up goes with such a schedule."""
    cycle = OneCycleSchedule(0.1, rising_share=0.5)
    late = group("embedding/*", learning_rate=0.01, starts="1 epoch", warmup="3 steps")
    planned = plan(weights, late, schedule=cycle)
    (rest, embedding) = (p.schedule.build(p.steps, 10) for p in planned)
    peaks = [int(np.argmax([built(s) for s in range(30)])) for built in (rest, embedding)]
    assert peaks == [20, 3]
    assert describe_groups(planned, weights).splitlines() == [
        "all others: 25 parameters, learning rate 0.1",
        "embedding: 80 parameters, learning rate 0.01, frozen for 10 steps, warm-up 3 steps",
    ]
    with pytest.raises(ConfigError, match="longer than the 30 steps that are left"):
        plan(weights, group("hidden/*", starts="1 epoch", warmup="31 steps"), schedule=cycle)


@dataclass(frozen=True)
class Steady:
    """A schedule of somebody else: it has nothing but `build`."""

    def build(self, total_steps, steps_per_epoch):
        return lambda step: 0.5


def test_a_schedule_without_a_peak_goes_with_groups_that_ask_for_none(weights):
    (_, hidden) = plan(weights, group("hidden/*", starts="1 epoch"), schedule=Steady())
    assert hidden.schedule == Steady()
    with pytest.raises(ConfigError, match="needs a schedule with such a field; Steady has none"):
        plan(weights, group("hidden/*", learning_rate=0.1), schedule=Steady())


@pytest.mark.parametrize(
    "groups, problem",
    [
        ([group("hiden/*")], r"has 'hiden/\*', which is no trainable variable.* hidden/bias"),
        ([group("hidden/*", "x")], "has 'x', which is no .* There are embedding/embeddings, "),
        ([group("hidden/*"), group("*/bias"), group("hidden/bias")], "are all in the groups bef"),
        ([group("*", starts="1 step")], "nothing would be trained in the first step"),
        ([group("hidden/*", warmup="41 steps")], r"warmup = '41 steps' \(41 steps\) is longer tha"),
        ([group("hidden/*", starts="37 steps")], r"None \(4 steps\) is longer than the 3 steps th"),
    ],
)
def test_groups_that_cannot_be_are_refused(weights, groups, problem):
    with pytest.raises(ConfigError, match=problem):
        plan(weights, *groups)


@pytest.mark.parametrize(
    "settings",
    [
        {"variables": ()},
        {"variables": ("a",), "learning_rate": 0.0},
        {"variables": ("a",), "starts": "later"},
        {"variables": ("a",), "warmup": "1.5 steps"},
        {"variables": ("a",), "name": ""},
    ],
)
def test_settings_out_of_range_are_refused_by_name(settings):
    with pytest.raises(ConfigError, match=rf"ParameterGroup\.{list(settings)[-1]} = "):
        ParameterGroup(**settings)


def test_groups_are_described_by_size_rate_and_start(weights):
    planned = plan(
        weights,
        group("embedding/*", learning_rate=1e-5, starts="1 epoch", warmup="5 steps"),
        group("hidden/*", starts="4 epochs", name="never"),
        schedule=ConstantSchedule(0.001),
    )
    assert describe_groups(planned, weights).splitlines() == [
        "all others: 5 parameters, learning rate 0.001",
        "embedding: 80 parameters, learning rate 1e-05, frozen for 10 steps, warm-up 5 steps",
        "never: 20 parameters, frozen: the training ends before step 40",
    ]
