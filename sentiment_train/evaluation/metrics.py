"""Metrics of a whole split from its logits: everything is divided once, at the end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LOWER_IS_BETTER = frozenset({"loss", "perplexity"})


@dataclass(frozen=True)
class Predictions:
    """What a model says of every example of a split."""

    logits: np.ndarray  # [n, 1 or classes] float32 or float64; of a language model its [n, 3] sums
    labels: np.ndarray  # [n] int32
    weights: np.ndarray  # [n] float32

    def with_weight(self) -> Predictions:
        """Those that have one."""
        kept = self.weights > 0
        return Predictions(self.logits[kept], self.labels[kept], self.weights[kept])

    def finite(self) -> np.ndarray:
        """`[n] bool`: whether all logits of an example are numbers."""
        return np.isfinite(self.logits).all(axis=1)

    def log_probabilities(self) -> np.ndarray:
        """`[n, classes] float64`; one logit is the log-odds of class 1."""
        from scipy.special import log_softmax

        logits = self.logits.astype(np.float64)
        if logits.shape[1] == 1:
            logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
        return log_softmax(logits, axis=1)

    def cross_entropy(self) -> float:
        """Of the labels, in nats: the mean by weight."""
        return self.mean_loss(self.log_probabilities())

    def mean_loss(self, log_probabilities: np.ndarray) -> float:
        """The same of log-probabilities `[n, classes]` that were computed before."""
        losses = -log_probabilities[np.arange(len(self.labels)), self.labels]
        return float(np.average(losses, weights=self.weights.astype(np.float64)))


def metric_names(class_names: tuple[str, ...]) -> list[str]:
    """The keys of `measure` that training can be steered by."""
    return ["loss", "accuracy", "macro_f1", *(f"f1.{name}" for name in class_names)]


def measure(predictions: Predictions, class_names: tuple[str, ...]) -> dict[str, float]:
    """Weighted metrics: loss (cross-entropy in nats), accuracy, F1 of each class and its mean.

    Raises:
      ValueError: if all weights are 0.
    """
    from sklearn.metrics import accuracy_score, f1_score

    weights = predictions.weights.astype(np.float64)
    if not weights.sum() > 0:
        raise ValueError("all examples of the split have weight 0")
    labels, log_probabilities = predictions.labels, predictions.log_probabilities()
    predicted = log_probabilities.argmax(axis=1)
    classes = range(len(class_names))
    f1 = f1_score(
        labels, predicted, labels=classes, average=None, sample_weight=weights, zero_division=0.0
    )
    return {
        "loss": predictions.mean_loss(log_probabilities),
        "accuracy": float(accuracy_score(labels, predicted, sample_weight=weights)),
        "macro_f1": float(np.mean(f1)),
        **{f"f1.{name}": float(value) for name, value in zip(class_names, f1, strict=True)},
        "examples": len(labels),
    }


def measure_tokens(predictions: Predictions) -> dict[str, float]:
    """Of a language model: loss (nats a token), perplexity = exp(loss), accuracy of single tokens.

    Args:
      predictions: with the outputs of `layers.next_token.NextToken` in place of logits.

    Raises:
      ValueError: if all weights are 0.
    """
    weights = predictions.weights.astype(np.float64)
    if not weights.sum() > 0:
        raise ValueError("all examples of the split have weight 0")
    log_probability, count, correct = weights @ predictions.logits.astype(np.float64)
    return {
        "loss": float(-log_probability / count),
        "perplexity": float(np.exp(-log_probability / count)),
        "accuracy": float(correct / count),
        "tokens": int(predictions.logits[:, 1].astype(np.float64).sum()),
        "examples": len(weights),
    }
