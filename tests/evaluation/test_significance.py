import numpy as np
import pytest
from scipy.stats import binomtest

from sentiment_train.evaluation.significance import effective_examples, mcnemar, wilson_interval


@pytest.mark.parametrize(
    "right, of, low, high",  # Newcombe (1998), table I, method 3
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_is_the_published_one(right, of, low, high):
    assert wilson_interval(right / of, of) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("right", [0, 1, 40, 99, 100])
def test_the_interval_is_that_of_scipy_at_any_confidence(right):
    for confidence in (0.5, 0.95, 0.999):
        theirs = binomtest(right, 100).proportion_ci(confidence, method="wilson")
        found = wilson_interval(right / 100, 100, confidence)
        assert found == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_equal_weights_count_every_example_and_unequal_ones_fewer():
    assert effective_examples(np.full(7, 0.3)) == pytest.approx(7)
    assert effective_examples(np.array([1.0, 0, 1, 0])) == pytest.approx(2)
    assert effective_examples(np.array([3.0, 1.0])) == pytest.approx(16 / 10)


def test_mcnemar_counts_the_rows_that_only_one_has_right():
    one = np.array([True] * 14 + [False] * 16)
    other = np.array([True] * 5 + [False] * 9 + [True] * 3 + [False] * 13)
    assert mcnemar(one, other)[:2] == (9, 3)
    assert mcnemar(other, one)[:2] == (3, 9)
    # 2 · Σ_{k ≤ 3} C(12, k) / 2¹²
    assert mcnemar(one, other)[2] == pytest.approx(2 * (1 + 12 + 66 + 220) / 4096)


def test_two_that_never_differ_are_not_told_apart():
    same = np.array([True, False])
    assert mcnemar(same, same) == (0, 0, 1.0)
