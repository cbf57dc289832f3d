"""Does the network beat the baseline? The same rows, one sentence, and what it rests on."""

from __future__ import annotations

import numpy as np

from sentiment_train.evaluation.baseline import DESCRIPTIONS, Baseline
from sentiment_train.evaluation.metrics import Predictions
from sentiment_train.evaluation.significance import CONFIDENCE, mcnemar


def compare(
    kind: str, baseline: Baseline, predictions: dict[str, Predictions], class_names: tuple[str, ...]
) -> dict:
    """What results.json says of the baseline.

    `accuracy` and `macro_f1` are of the split that is compared: test, or validation if there is
    no other. They are weighted; McNemar's test counts each row that has a weight once.

    Args:
      predictions: of the network, by split; at least one of validation and test.
    """
    from sklearn.metrics import accuracy_score

    split = "test" if "test" in predictions else "validation"
    scores = {
        name: _scores(network, baseline.answers[name], class_names)
        for name, network in predictions.items()
    }
    network = predictions[split]
    counted = network.weights > 0
    answers = network.log_probabilities().argmax(axis=1)
    right = (answers == network.labels)[counted]
    baseline_right = (baseline.answers[split] == network.labels)[counted]
    only_network, only_baseline, p_value = mcnemar(right, baseline_right)
    accuracy = accuracy_score(network.labels, answers, sample_weight=network.weights)
    difference = float(accuracy - scores[split]["accuracy"])
    direction = np.sign(only_network - only_baseline)
    certain = p_value < 1 - CONFIDENCE and direction == np.sign(difference)
    return {
        "kind": kind,
        "description": DESCRIPTIONS[kind],
        **baseline.facts,
        **scores,
        "split": split,
        "accuracy": scores[split]["accuracy"],
        "macro_f1": scores[split]["macro_f1"],
        "only_network_right": only_network,
        "only_baseline_right": only_baseline,
        "p_value": p_value,
        "sentence": _sentence(float(accuracy), difference, certain, p_value, split),
    }


def _scores(network: Predictions, answers: np.ndarray, class_names) -> dict[str, float]:
    from sklearn.metrics import accuracy_score, f1_score

    labels, weights = network.labels, network.weights
    f1 = f1_score(
        labels,
        answers,
        labels=range(len(class_names)),
        average="macro",
        sample_weight=weights,
        zero_division=0.0,
    )
    accuracy = accuracy_score(labels, answers, sample_weight=weights)
    return {"accuracy": float(accuracy), "macro_f1": float(f1)}


def _sentence(accuracy: float, difference: float, certain: bool, p: float, split: str) -> str:
    """One honest sentence; only a difference that is hardly chance counts as better."""
    numbers = (
        f"{accuracy:.2%} against {accuracy - difference:.2%} of the {split} split,"
        f" {'p < 0.0001' if p < 0.0001 else f'p = {p:.2g}'} (McNemar)"
    )
    if difference > 0 and certain:
        return f"The network beats the baseline: {numbers}."
    if difference > 0:
        return (
            f"The network is not shown to beat the baseline: {numbers}; the difference may be"
            " chance."
        )
    if certain:
        return f"The network does not beat the baseline, it is worse: {numbers}."
    return f"The network does not beat the baseline: {numbers}; the difference may be chance."
