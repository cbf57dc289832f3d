"""The interval of an accuracy over one or several seeds."""

from __future__ import annotations

import numpy as np
import pytest

from sentiment_train.evaluation.repetitions import accuracy_interval
from sentiment_train.evaluation.significance import wilson_interval


def test_of_one_run_it_is_wilsons():
    assert accuracy_interval([0.8964], 2490) == pytest.approx(wilson_interval(0.8964, 2490))


def test_runs_that_agree_share_their_test_examples_and_so_make_it_no_smaller():
    assert accuracy_interval([0.9] * 5, 1000) == pytest.approx(wilson_interval(0.9, 1000))


def test_runs_that_differ_make_it_wider_and_more_of_them_narrower():
    few, many = accuracy_interval([0.88, 0.92] * 2, 1000), accuracy_interval([0.88, 0.92] * 8, 1000)
    low, high = wilson_interval(0.9, 1000)
    assert few[0] < many[0] < low
    assert high < many[1] < few[1]


def test_it_stays_within_0_and_1():
    assert accuracy_interval([1.0, 0.9], 20)[1] == 1.0
    assert accuracy_interval([0.0, 0.1], 20)[0] == 0.0


@pytest.mark.parametrize(("seeds", "seed_deviation"), [(1, 0.0), (3, 0.01), (5, 0.03)])
def test_it_holds_the_true_accuracy_about_as_often_as_it_says(seeds, seed_deviation):
    generator, examples, truth, held = np.random.default_rng(0), 500, 0.85, 0
    for _ in range(400):
        easy = generator.normal(0.0, 0.016)  # of this draw of test examples, as 500 of them give
        own = truth + easy + generator.normal(0.0, seed_deviation, seeds)
        low, high = accuracy_interval(np.clip(own, 0, 1).tolist(), examples)
        held += low <= truth <= high
    assert held / 400 > 0.93
