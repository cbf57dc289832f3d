"""Cross-entropy over one logit or k logits, with label smoothing and class weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import gin
import numpy as np

from sentiment_train.config import Part


@gin.configurable
@dataclass(frozen=True)
class CrossEntropy(Part):
    """The loss of a training step. Evaluation uses neither smoothing nor class weights."""

    label_smoothing: float = 0.0  # this share of the target is spread evenly over all classes
    class_weights: Literal["balanced"] | dict[str, float] | None = None  # by class name

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


def predicted_classes(logits):
    """logits `[rows, 1 or classes]` → `[rows] int32`."""
    import tensorflow as tf

    if logits.shape[-1] == 1:
        return tf.cast(logits[:, 0] > 0, tf.int32)
    return tf.argmax(logits, axis=-1, output_type=tf.int32)
