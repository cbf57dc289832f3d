import numpy as np
import pytest
from scipy.special import softmax
from sklearn import metrics as sk

from sentiment_train.evaluation.metrics import LOWER_IS_BETTER, Predictions, measure, metric_names

NAMES = {1: ("no", "yes"), 2: ("no", "yes"), 4: ("a", "b", "c", "d")}


def predictions(width, rows=200, seed=0, weights=None):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, max(width, 2), rows).astype(np.int32)
    weights = rng.uniform(0, 3, rows).astype(np.float32) if weights is None else weights
    return Predictions(rng.normal(0, 3, (rows, width)).astype(np.float32), labels, weights)


def probabilities(p):
    if p.logits.shape[1] == 1:
        yes = 1 / (1 + np.exp(-p.logits[:, 0].astype(np.float64)))
        return np.stack([1 - yes, yes], axis=1)
    return softmax(p.logits.astype(np.float64), axis=1)


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("width", [1, 2, 4])
def test_metrics_are_those_of_scikit_learn(width, weighted):
    p = predictions(width, weights=None if weighted else np.ones(200, np.float32))
    found = measure(p, NAMES[width])
    given, options = probabilities(p), {"sample_weight": p.weights}
    answer = given.argmax(axis=1)
    assert found["loss"] == pytest.approx(sk.log_loss(p.labels, given, **options), rel=1e-6)
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(p.labels, answer, **options))
    f1 = sk.f1_score(p.labels, answer, average="macro", **options)
    assert found["macro_f1"] == pytest.approx(f1)
    report = sk.classification_report(
        p.labels, answer, target_names=NAMES[width], output_dict=True, **options
    )
    for name in NAMES[width]:
        assert found[f"f1.{name}"] == pytest.approx(report[name]["f1-score"])
    assert found["examples"] == 200


@pytest.mark.parametrize("width", [1, 2, 4])
def test_an_integer_weight_counts_like_repeated_rows(width):
    weights = np.random.default_rng(1).integers(0, 4, 200)
    p = predictions(width, weights=weights.astype(np.float32))
    repeated = Predictions(
        *(np.repeat(array, weights, axis=0) for array in (p.logits, p.labels)),
        np.ones(weights.sum(), np.float32),
    )
    one, other = measure(p, NAMES[width]), measure(repeated, NAMES[width])
    assert (one.pop("examples"), other.pop("examples")) == (200, weights.sum())
    assert one == pytest.approx(other)


def test_probabilities_of_one_logit_are_its_log_odds_and_sum_to_1():
    p = predictions(1)
    np.testing.assert_allclose(np.exp(p.log_probabilities()), probabilities(p), rtol=1e-6)
    np.testing.assert_allclose(np.exp(p.log_probabilities()).sum(axis=1), 1.0)


def test_very_sure_logits_give_a_finite_loss():
    p = Predictions(np.array([[1e4], [-1e4]], np.float32), np.array([0, 1]), np.ones(2, np.float32))
    assert measure(p, NAMES[1])["loss"] == pytest.approx(1e4)


def test_a_class_that_never_occurs_has_f1_0():
    p = Predictions(np.array([[1.0, 0, 0]] * 2, np.float32), np.array([0, 1]), np.ones(2))
    found = measure(p, ("a", "b", "c"))
    assert [found[f"f1.{name}"] for name in "abc"] == pytest.approx([2 / 3, 0, 0])


def test_the_names_are_those_that_are_measured():
    assert {*metric_names(NAMES[4]), "examples"} == set(measure(predictions(4), NAMES[4]))
    assert set(metric_names(NAMES[4])) & LOWER_IS_BETTER == {"loss"}


def test_a_split_without_weight_is_an_error():
    with pytest.raises(ValueError, match="weight 0"):
        measure(predictions(2, weights=np.zeros(200, np.float32)), NAMES[2])
