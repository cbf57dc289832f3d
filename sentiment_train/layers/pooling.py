"""From the states of all steps to one vector per text, over the real steps only.

A pooling layer is called with states `[batch, length, units]` and mask `[batch, length] bool`, and
returns `[batch, features]` of the same dtype.
"""

from __future__ import annotations

import keras
import tensorflow as tf


class Pooling(keras.layers.Layer):
    """Base of the layers that end the time axis; takes the mask as an argument and passes none."""

    def __init__(self, **options):
        super().__init__(**options)
        self.supports_masking = True

    def compute_mask(self, inputs, previous_mask=None):
        return None


class MeanPooling(Pooling):
    """The mean of the states; summed in float32 whatever the precision."""

    def call(self, states, mask):
        mask = tf.cast(mask, tf.float32)[:, :, None]
        total = tf.reduce_sum(tf.cast(states, tf.float32) * mask, axis=1)
        return tf.cast(total / tf.reduce_sum(mask, axis=1), states.dtype)  # [batch, units]


class MaxPooling(Pooling):
    """The largest value of each unit."""

    def call(self, states, mask):
        lowest = tf.constant(states.dtype.min, states.dtype)
        return tf.reduce_max(tf.where(mask[:, :, None], states, lowest), axis=1)  # [batch, units]


class MeanMaxPooling(Pooling):
    """Mean and maximum side by side."""

    def __init__(self, **options):
        super().__init__(**options)
        self.mean, self.max = MeanPooling(name="mean"), MaxPooling(name="max")

    def call(self, states, mask):
        return tf.concat([self.mean(states, mask), self.max(states, mask)], axis=-1)


class MeanProbabilities(Pooling):
    """Logits of every step → the logits of the mean of the steps' probabilities.

    `[batch, length, 1 or classes] float32` → `[batch, 1 or classes]`; in logarithms throughout.
    """

    def call(self, logits, mask):
        mask = mask[:, :, None]
        if logits.shape[-1] == 1:
            return _mean(tf.math.log_sigmoid(logits), mask) - _mean(
                tf.math.log_sigmoid(-logits), mask
            )
        return _mean(tf.nn.log_softmax(logits), mask)


def _mean(logarithms, mask):
    """log Σ exp over the real steps, up to a constant that is the same for all classes."""
    lowest = tf.constant(logarithms.dtype.min, logarithms.dtype)
    return tf.reduce_logsumexp(tf.where(mask, logarithms, lowest), axis=1)


POOLINGS = {"mean": MeanPooling, "max": MaxPooling, "mean+max": MeanMaxPooling}
