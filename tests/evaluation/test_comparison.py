import numpy as np
import pytest

from sentiment_train.evaluation.baseline import Baseline
from sentiment_train.evaluation.comparison import compare
from sentiment_train.evaluation.metrics import Predictions

NAMES = ("no", "yes")


def compared(network_right, baseline_right, weights=None, split="test"):
    """Of rows whose true class is 1; the answers follow from what is right."""
    n = len(network_right)
    logits = np.where(network_right, 1.0, -1.0)[:, None].astype(np.float32)
    weights = np.ones(n, np.float32) if weights is None else weights
    network = Predictions(logits, np.ones(n, np.int32), weights)
    baseline = Baseline({split: np.asarray(baseline_right, np.int32)}, {"seconds": 1.0})
    return compare("tfidf", baseline, {split: network}, NAMES)


def rights(both, only_network, only_baseline, neither=0):
    counts = [both, only_network, only_baseline, neither]
    network = np.repeat([True, True, False, False], counts)
    return network, np.repeat([True, False, True, False], counts)


@pytest.mark.parametrize(
    "counts, begins, ends",
    [
        ((50, 40, 10), "The network beats the baseline: 90.00% against 60.00%", "(McNemar)."),
        ((80, 11, 9), "The network is not shown to beat the baseline: 91.00%", "may be chance."),
        ((80, 9, 11), "The network does not beat the baseline: 89.00%", "may be chance."),
        ((100, 0, 0), "The network does not beat the baseline: 100.00%", "may be chance."),
        ((50, 10, 40), "The network does not beat the baseline, it is worse:", "(McNemar)."),
    ],
)
def test_one_honest_sentence(counts, begins, ends):
    found = compared(*rights(*counts))
    assert found["sentence"].startswith(begins)
    assert found["sentence"].endswith(ends)
    assert found["sentence"].count("test split") == 1
    assert (found["only_network_right"], found["only_baseline_right"]) == counts[1:3]
    assert found["accuracy"] == pytest.approx((counts[0] + counts[2]) / 100)
    assert found["seconds"] == 1.0


def test_rows_of_weight_0_do_not_count():
    network, baseline = rights(60, 30, 10, 50)
    weights = np.ones(150, np.float32)
    weights[60:90] = 0  # all that only the network has right
    found = compared(network, baseline, weights)
    assert (found["only_network_right"], found["only_baseline_right"]) == (0, 10)
    assert found["accuracy"] == pytest.approx(70 / 120)


def test_without_a_test_split_validation_is_compared():
    found = compared(*rights(8, 1, 1), split="validation")
    assert found["split"] == "validation"
    assert "of the validation split" in found["sentence"]
    assert found["validation"] == {"accuracy": found["accuracy"], "macro_f1": found["macro_f1"]}


def test_where_weights_say_otherwise_than_the_counts_nothing_is_certain():
    network, baseline = rights(10, 30, 5)
    weights = np.where(network, 0.1, 50.0).astype(np.float32)
    found = compared(network, baseline, weights)
    assert found["p_value"] < 0.001
    assert found["sentence"].startswith("The network does not beat the baseline: ")
    assert found["sentence"].endswith("may be chance.")
