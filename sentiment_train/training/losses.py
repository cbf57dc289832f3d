"""What is predicted and how wrong it is: the classes of texts, or the tokens of a language model.

A loss gives sums, so that batches, replicas and workers can be added and divided once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import gin
import numpy as np

from sentiment_train.config import Part
from sentiment_train.evaluation import metrics
from sentiment_train.evaluation.metrics import Predictions
from sentiment_train.schema import Batch
from sentiment_train.training.adversarial import Adversarial, VirtualAdversarial


@runtime_checkable
class Loss(Protocol):
    """What a model is trained for. Any object with these members is one.

    This attribute is optional:

    * `regulariser`: with a method `gradients(rows, clean)`, which are added to those of the loss;
      see `training.adversarial`.
    """

    predicts: str  # "labels" or "tokens", as the model does

    def weights_of_classes(self, class_names: tuple[str, ...], labels: np.ndarray) -> np.ndarray:
        """`[num_classes] float32` factors of the examples' weights while training."""

    def sums(self, batch: Batch, outputs, class_weights) -> tuple[Any, Any, Any]:
        """Of a replica's rows: Σ weight · loss, Σ weight, Σ weight of what was right.

        Scalars float32. A row of weight 0 adds nothing.

        Args:
          outputs: of the model for `batch.features`.
          class_weights: `[num_classes] float32`.
        """

    def metric_names(self, class_names: tuple[str, ...]) -> list[str]:
        """The keys of `measure` that training can be steered by."""

    def measure(self, predictions: Predictions, class_names: tuple[str, ...]) -> dict[str, float]:
        """Metrics of a whole split: `examples`, `loss`, `accuracy` and what else there is."""


@gin.configurable
@dataclass(frozen=True)
class CrossEntropy(Part):
    """Of the class labels. Evaluation uses neither smoothing nor class weights."""

    label_smoothing: float = 0.0  # this share of the target is spread evenly over all classes
    class_weights: Literal["balanced"] | dict[str, float] | None = None  # by class name
    regulariser: Adversarial | VirtualAdversarial | None = None  # of word vectors
    predicts = "labels"

    def check(self):
        self.require(0 <= self.label_smoothing < 1, "label_smoothing", "from 0 to less than 1")
        if isinstance(self.class_weights, dict):
            weights = self.class_weights.values()
            fine = all(weight >= 0 for weight in weights) and any(weights)
            self.require(fine, "class_weights", "numbers of at least 0, not all of them 0")

    def weights_of_classes(self, class_names: tuple[str, ...], labels: np.ndarray) -> np.ndarray:
        """`[num_classes] float32` factors of the examples' weights.

        `balanced`: n / (num_classes * count), so that every class weighs the same in total.

        Args:
          labels: `[n]` of the training split.

        Raises:
          ConfigError: if a weight is missing or for a class that is not there.
        """
        if self.class_weights == "balanced":
            counts = np.bincount(labels, minlength=len(class_names))
            return (len(labels) / (len(class_names) * np.maximum(counts, 1))).astype(np.float32)
        if self.class_weights is None:
            return np.ones(len(class_names), np.float32)
        if set(self.class_weights) != set(class_names):
            self.refuse("class_weights", f"must name exactly the classes {list(class_names)}.")
        return np.array([self.class_weights[name] for name in class_names], np.float32)

    def sums(self, batch: Batch, outputs, class_weights):
        """outputs: logits `[rows, 1 or classes] float32`; the loss is in nats a text."""
        import tensorflow as tf

        weights = row_weights(batch, class_weights)
        hit = tf.cast(tf.equal(predicted_classes(outputs), batch.labels), tf.float32)
        loss = tf.reduce_sum(weights * self.per_example(batch.labels, outputs))
        return loss, tf.reduce_sum(weights), tf.reduce_sum(weights * hit)

    def per_example(self, labels, logits):
        """labels `[rows] int32`, logits `[rows, 1 or classes] float32` → `[rows] float32`."""
        import tensorflow as tf

        smoothing = self.label_smoothing
        if logits.shape[-1] == 1:
            targets = tf.cast(labels, logits.dtype) * (1.0 - smoothing) + smoothing / 2.0
            return tf.nn.sigmoid_cross_entropy_with_logits(targets, logits[:, 0])
        classes = logits.shape[-1]
        targets = tf.one_hot(labels, classes) * (1.0 - smoothing) + smoothing / classes
        return tf.nn.softmax_cross_entropy_with_logits(targets, logits)

    def metric_names(self, class_names: tuple[str, ...]) -> list[str]:
        """loss, accuracy and F1."""
        return metrics.metric_names(class_names)

    def measure(self, predictions: Predictions, class_names: tuple[str, ...]) -> dict[str, float]:
        """See `metrics.measure`."""
        return metrics.measure(predictions, class_names)


@gin.configurable
@dataclass(frozen=True)
class NextTokenLoss(Part):
    """Of the texts' own tokens; their labels are not looked at. For a `LanguageModel`.

    Such a model gives, of each text, the sums over its predictions (`layers/next_token.py`), so
    that all that is left to do is to weigh the texts.
    """

    predicts = "tokens"

    def weights_of_classes(self, class_names: tuple[str, ...], labels: np.ndarray) -> np.ndarray:
        """Ones."""
        return np.ones(len(class_names), np.float32)

    def sums(self, batch: Batch, outputs, class_weights):
        """outputs `[rows, 3] float32`: log-probability, predictions, right ones of each text.

        The loss is in nats a prediction; a text counts as its weight times its predictions.
        """
        import tensorflow as tf

        log_probability, count, correct = tf.unstack(
            tf.linalg.matvec(outputs, batch.weights, transpose_a=True)
        )
        return -log_probability, count, correct

    def metric_names(self, class_names: tuple[str, ...]) -> list[str]:
        """loss, perplexity and the accuracy of single tokens."""
        return ["loss", "perplexity", "accuracy"]

    def measure(self, predictions: Predictions, class_names: tuple[str, ...]) -> dict[str, float]:
        """See `metrics.measure_tokens`."""
        return metrics.measure_tokens(predictions)


def row_weights(batch: Batch, class_weights):
    """`[rows] float32`: those of the examples times those of their classes."""
    import tensorflow as tf

    return batch.weights * tf.gather(class_weights, batch.labels)


def predicted_classes(logits):
    """logits `[rows, 1 or classes]` → `[rows] int32`."""
    import tensorflow as tf

    if logits.shape[-1] == 1:
        return tf.cast(logits[:, 0] > 0, tf.int32)
    return tf.argmax(logits, axis=-1, output_type=tf.int32)
