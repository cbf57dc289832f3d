import json

import numpy as np
import pytest
from sklearn import metrics as sk

from sentiment_train.evaluation.calibration import Calibration
from sentiment_train.evaluation.details import calibration_error, details, reliability
from sentiment_train.evaluation.metrics import Predictions
from sentiment_train.evaluation.significance import wilson_interval

NAMES = {1: ("no", "yes"), 2: ("no", "yes"), 4: ("a", "b", "c", "d")}


def predictions(width, weights=None, rows=300):
    rng = np.random.default_rng(width)
    labels = rng.integers(0, max(width, 2), rows).astype(np.int32)
    weights = rng.uniform(0, 3, rows) if weights is None else weights
    logits = rng.normal(0, 2, (rows, width))
    return Predictions(logits.astype(np.float32), labels, weights.astype(np.float32))


@pytest.mark.parametrize("width", [1, 2, 4])
def test_classes_and_matrix_are_those_of_scikit_learn(width):
    p = predictions(width)
    found = details(p, NAMES[width])
    given = np.exp(p.log_probabilities())
    answers, weights = given.argmax(axis=1), p.weights.astype(np.float64)
    report = sk.classification_report(
        p.labels, answers, target_names=NAMES[width], output_dict=True, sample_weight=weights
    )
    for name in NAMES[width]:
        theirs = {key.replace("f1-score", "f1"): v for key, v in report[name].items()}
        assert found["per_class"][name] == pytest.approx(theirs)
    matrix = sk.confusion_matrix(p.labels, answers, sample_weight=weights)
    np.testing.assert_allclose(found["confusion"], matrix)
    if width == 4:
        assert found["auc"] is None
    else:
        assert found["auc"] == pytest.approx(
            sk.roc_auc_score(p.labels, given[:, 1], sample_weight=weights)
        )


def test_a_row_of_weight_0_is_as_if_it_were_not_there():
    weights = np.random.default_rng(3).integers(0, 2, 300)
    p = predictions(4, weights)
    kept = weights > 0
    without = Predictions(p.logits[kept], p.labels[kept], p.weights[kept])
    assert details(p, NAMES[4]) == details(without, NAMES[4])


def test_counts_are_integers_and_everything_can_be_written_as_json():
    p = predictions(4, np.ones(300))
    found = json.loads(json.dumps(details(p, NAMES[4])))
    assert sum(of["support"] for of in found["per_class"].values()) == 300
    assert all(isinstance(cell, int) for row in found["confusion"] for cell in row)
    assert np.sum(found["confusion"], axis=1).tolist() == [
        of["support"] for of in found["per_class"].values()
    ]
    right = np.trace(found["confusion"])
    assert found["effective_examples"] == 300
    assert found["accuracy_interval"] == pytest.approx(wilson_interval(right / 300, 300))


def test_a_class_that_never_occurs_has_zeros_and_no_auc():
    p = Predictions(np.array([[2.0], [1.0]], np.float32), np.array([1, 1]), np.ones(2))
    found = details(p, NAMES[1])
    assert found["per_class"]["no"] == {"precision": 0, "recall": 0, "f1": 0, "support": 0}
    assert found["confusion"] == [[0, 0], [0, 2]]
    assert found["auc"] is None


def test_a_split_without_weight_is_an_error():
    with pytest.raises(ValueError, match="weight 0"):
        details(predictions(2, np.zeros(300)), NAMES[2])


def test_the_calibration_error_is_0_where_the_probabilities_are_true():
    confidences = np.repeat([0.75, 0.9], [4, 10])
    right = np.array([True] * 3 + [False] + [True] * 9 + [False])
    assert calibration_error(confidences, right, np.ones(14)) == pytest.approx(0, abs=1e-12)
    sure = np.ones(4)  # always certain, half of the time right
    right = np.array([True, False, True, False])
    assert calibration_error(sure, right, np.ones(4)) == pytest.approx(0.5)
    assert calibration_error(sure, right, np.array([3.0, 1, 0, 0])) == pytest.approx(0.25)


def test_the_intervals_hold_every_example_once_and_make_up_the_error():
    confidences = np.array([0.51, 0.52, 0.95, 0.97, 1.0])
    right = np.array([True, False, True, True, False])
    weights = np.array([1.0, 3.0, 2.0, 1.0, 1.0])
    low, high = reliability(confidences, right, weights)
    assert low == pytest.approx({"probability": (0.51 + 3 * 0.52) / 4, "right": 0.25, "weight": 4})
    assert high == pytest.approx({"probability": 3.87 / 4, "right": 0.75, "weight": 4})
    gaps = [abs(of["right"] - of["probability"]) for of in (low, high)]
    assert calibration_error(confidences, right, weights) == pytest.approx(np.mean(gaps))


def test_a_temperature_moves_the_probabilities_of_the_intervals_and_no_answer():
    p = predictions(4)
    plain, warm = details(p, NAMES[4]), details(p, NAMES[4], Calibration(3.0))
    assert plain["reliability"] == plain["reliability_uncalibrated"]
    assert warm["reliability_uncalibrated"] == plain["reliability"]

    def of_all(found, key):
        return sum(of["weight"] * of[key] for of in found["reliability"])

    assert of_all(warm, "right") == pytest.approx(of_all(plain, "right"))
    assert of_all(warm, "probability") < of_all(plain, "probability")
