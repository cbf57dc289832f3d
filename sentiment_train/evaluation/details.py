"""What a report says of a classified split besides its metrics: by class, and how sure it is."""

from __future__ import annotations

import numpy as np

from sentiment_train.evaluation.calibration import UNCALIBRATED, Calibration
from sentiment_train.evaluation.metrics import Predictions
from sentiment_train.evaluation.significance import effective_examples, wilson_interval

_BINS = 15  # of the calibration error, as in Guo et al. (2017)


def details(
    predictions: Predictions, class_names: tuple[str, ...], calibration: Calibration = UNCALIBRATED
) -> dict:
    """JSON values. Everything is weighted; a support or a cell of the matrix is a sum of weights.

    effective_examples: how many examples of equal weight say as much (`significance`).
    accuracy_interval: the lowest and highest accuracy, 95 % (`significance`).
    per_class: precision, recall, f1 and support of each class; a division by 0 gives 0.
    confusion: `[classes, classes]`, a row for each true class, a column for each answer.
    auc: area under the ROC curve, for two classes that both occur; else None.
    calibration_error: see `calibration_error`; of the probabilities with the temperature.
    calibration_error_uncalibrated: without it.
    temperature: that the logits are divided by; 1 if there is none.
    calibrated_loss: cross-entropy with it, in nats.
    reliability, reliability_uncalibrated: see `reliability`; with the temperature and without.

    Args:
      predictions: with the logits of the model, all finite.

    Raises:
      ValueError: if all weights are 0.
    """
    from sklearn.metrics import accuracy_score, confusion_matrix, roc_auc_score

    weights, labels = predictions.weights.astype(np.float64), predictions.labels
    if not weights.sum() > 0:
        raise ValueError("all examples of the split have weight 0")
    log_probabilities = calibrated = predictions.log_probabilities()
    if calibration.temperature != 1.0:
        calibrated = calibration.applied(predictions).log_probabilities()
    probabilities = np.exp(log_probabilities)
    answers = probabilities.argmax(axis=1)
    examples = effective_examples(weights)
    accuracy = accuracy_score(labels, answers, sample_weight=weights)
    classes = range(len(class_names))
    matrix = confusion_matrix(labels, answers, labels=classes, sample_weight=weights)
    auc = None
    if len(class_names) == 2 and len(np.unique(labels[weights > 0])) == 2:
        auc = float(roc_auc_score(labels, probabilities[:, 1], sample_weight=weights))
    # The answers are those of the undivided logits: no temperature changes one.
    right, sure = answers == labels, np.exp(calibrated.max(axis=1))
    plainly_sure = probabilities.max(axis=1)
    return {
        "effective_examples": _number(examples),
        "accuracy_interval": list(wilson_interval(accuracy, examples)),
        "per_class": _per_class(labels, answers, weights, class_names),
        "confusion": [[_number(cell) for cell in row] for row in matrix],
        "auc": auc,
        "calibration_error": calibration_error(sure, right, weights),
        "calibration_error_uncalibrated": calibration_error(plainly_sure, right, weights),
        "temperature": calibration.temperature,
        "calibrated_loss": predictions.mean_loss(calibrated),
        "reliability": reliability(sure, right, weights),
        "reliability_uncalibrated": reliability(plainly_sure, right, weights),
    }


def _per_class(labels, answers, weights, class_names) -> dict[str, dict[str, float]]:
    from sklearn.metrics import precision_recall_fscore_support

    columns = precision_recall_fscore_support(
        labels,
        answers,
        labels=range(len(class_names)),
        sample_weight=weights,
        zero_division=0.0,
    )
    keys = ("precision", "recall", "f1", "support")
    return {
        name: dict(zip(keys, map(_number, values), strict=True))
        for name, values in zip(class_names, np.transpose(columns), strict=True)
    }


def reliability(
    confidences: np.ndarray, right: np.ndarray, weights: np.ndarray
) -> list[dict[str, float]]:
    """The examples in 15 equal intervals by the probability of their answer, without empty ones.

    Of each interval the mean `probability`, the share of `right` answers and the `weight` of its
    examples: the points of a reliability diagram (figure 1 of Guo et al. 2017).

    Args:
      confidences: `[n]` probability of the answer.
      right: `[n] bool`.
      weights: `[n]`, not all 0.
    """
    bins = np.minimum((confidences * _BINS).astype(int), _BINS - 1)
    sums = [np.bincount(bins, weights * of, _BINS) for of in (confidences, right, 1.0)]
    return [
        {"probability": float(p / weight), "right": float(r / weight), "weight": _number(weight)}
        for p, r, weight in zip(*sums, strict=True)
        if weight > 0
    ]


def calibration_error(confidences: np.ndarray, right: np.ndarray, weights: np.ndarray) -> float:
    """Expected calibration error (Naeini et al. 2015; equation 3 of Guo et al. 2017).

    The mean, by weight, of |share of right answers − mean probability| over the intervals of
    `reliability`, whose arguments it has. 0 is perfect.
    """
    intervals = reliability(confidences, right, weights)
    gaps = [of["weight"] * abs(of["right"] - of["probability"]) for of in intervals]
    return float(sum(gaps) / weights.sum())


def _number(value: float) -> float | int:
    """An int where that is the same, for people who read the file."""
    return int(value) if float(value).is_integer() else float(value)
