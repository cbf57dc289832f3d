"""The temperature: what it is fitted to, what it does not change, and when there is none."""

import numpy as np
import pytest
from scipy.special import softmax

from sentiment_train.errors import ConfigError
from sentiment_train.evaluation.calibration import UNCALIBRATED, Calibration, TemperatureScaling
from sentiment_train.evaluation.details import details
from sentiment_train.evaluation.metrics import Predictions, measure

NAMES = {1: ("no", "yes"), 2: ("no", "yes"), 4: ("a", "b", "c", "d")}


def sampled(width, times, rows=20_000, seed=0, weights=None):
    """Labels drawn by the probabilities of some logits, and these logits times a number."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (rows, width))
    both = np.concatenate([0 * logits, logits], axis=1) if width == 1 else logits
    sums = softmax(both, axis=1).cumsum(axis=1)
    labels = (rng.uniform(size=(rows, 1)) > sums).sum(axis=1).astype(np.int32)
    weights = np.ones(rows, np.float32) if weights is None else weights
    return Predictions((times * logits).astype(np.float32), labels, weights)


def fit(predictions, **settings):
    return TemperatureScaling(**settings).fit(predictions)


@pytest.mark.parametrize("times", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("width", [1, 2, 4])
def test_the_temperature_that_was_put_in_is_found(width, times):
    found = fit(sampled(width, times))
    assert found.temperature == pytest.approx(times, rel=0.05)
    assert (found.examples, found.none_because) == (20_000, None)


def test_no_other_temperature_has_a_smaller_cross_entropy():
    weights = np.random.default_rng(1).uniform(0, 3, 500).astype(np.float32)
    p = sampled(4, 2.5, 500, weights=weights)
    found = fit(p)
    least = found.applied(p).cross_entropy()
    for other in np.geomspace(0.1, 10, 200):
        assert Calibration(other).applied(p).cross_entropy() >= least - 1e-9


@pytest.mark.parametrize("width", [1, 4])
def test_other_examples_of_the_same_kind_are_calibrated_better_and_answered_alike(width):
    found = fit(sampled(width, 4.0, 2000))
    test = sampled(width, 4.0, 20_000, seed=9)
    plain, calibrated = details(test, NAMES[width]), details(test, NAMES[width], found)
    assert plain["calibration_error_uncalibrated"] == plain["calibration_error"]
    assert calibrated["calibration_error_uncalibrated"] == plain["calibration_error"] > 0.1
    assert calibrated["calibration_error"] < 0.02
    assert calibrated["calibrated_loss"] < plain["calibrated_loss"]
    assert plain["calibrated_loss"] == measure(test, NAMES[width])["loss"]
    changed = {"calibration_error", "temperature", "calibrated_loss", "reliability"}
    assert {k for k in plain if plain[k] != calibrated[k]} == changed


def test_no_answer_changes_even_where_two_logits_differ_by_one_bit():
    logits = np.full((1000, 2), np.float32(1.1))
    logits[:, 1] = np.nextafter(logits[:, 0], np.float32(9))
    p = Predictions(logits, np.zeros(1000, np.int32), np.ones(1000, np.float32))
    for temperature in (0.3, 1.7, 3.0):
        found = Calibration(temperature).applied(p)
        assert (found.logits[:, 0] < found.logits[:, 1]).all()


def test_a_row_of_weight_0_is_as_if_it_were_not_there():
    weights = np.random.default_rng(3).integers(0, 2, 1000).astype(np.float32)
    p = sampled(2, 3.0, 1000, weights=weights)
    kept = weights > 0
    without = Predictions(p.logits[kept], p.labels[kept], p.weights[kept])
    assert fit(p).temperature == fit(without).temperature
    assert fit(p).examples == kept.sum()


def test_without_enough_examples_there_is_none_and_it_says_so():
    found = fit(sampled(2, 3.0, 99))
    assert found.temperature == 1.0
    assert found.line == (
        "no — 99 validation examples are too few (TemperatureScaling.min_examples)"
    )
    assert fit(sampled(2, 3.0, 99), min_examples=99).none_because is None
    weights = np.full(1000, 1e-6, np.float32)
    weights[:5] = 1.0  # as if there were five
    assert "too few" in fit(sampled(2, 3.0, 1000, weights=weights)).none_because
    assert "0 validation" in fit(sampled(2, 3.0, 9, weights=np.zeros(9))).none_because
    assert fit(None).of_results() == {
        "temperature": 1.0,
        "examples": 0,
        "none_because": "there is no validation split",
    }


def test_where_nothing_is_wrong_or_nothing_is_right_there_is_none():
    p = sampled(2, 3.0, 300)
    answers = p.logits.argmax(axis=1).astype(np.int32)
    all_right = Predictions(p.logits, answers, p.weights)
    assert "nearly all right, or the logits very small" in fit(all_right).none_because
    all_wrong = Predictions(p.logits, 1 - answers, p.weights)
    assert "say nothing" in fit(all_wrong).none_because
    assert fit(all_right).temperature == fit(all_wrong).temperature == 1.0


def test_the_setting_is_checked_and_none_is_as_the_logits_come():
    with pytest.raises(ConfigError, match=r"TemperatureScaling.min_examples = 0"):
        TemperatureScaling(min_examples=0)
    p = sampled(4, 2.0, 50)
    np.testing.assert_array_equal(UNCALIBRATED.applied(p).logits, p.logits)
