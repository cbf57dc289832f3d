"""A moving average of the weights, evaluated and exported in place of the last ones."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import tensorflow as tf


class MovingAverage:
    """`average ← d · average + (1 - d) · weight` after each step (Polyak & Juditsky 1992).

    `d = min(decay, (1 + step) / (10 + step))`, so that the first weights are soon forgotten.
    Created inside the strategy's scope; `update` is called by every replica.
    """

    def __init__(self, weights: list[tf.Variable], decay: float):
        self.weights, self.decay = weights, decay
        self.averages = [
            tf.Variable(
                weight,
                trainable=False,
                aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
                name="average",
            )
            for weight in weights
        ]

    def update(self, step, moved: Iterable[int]) -> None:
        """Moves the averages towards the weights with the indices `moved`; `step` is from 1 on."""
        step = tf.cast(step, tf.float32)
        decay = tf.minimum(self.decay, (1.0 + step) / (10.0 + step))
        for i in moved:
            average, weight = self.averages[i], self.weights[i]
            average.assign(decay * average + (1.0 - decay) * weight)

    def restart(self) -> None:
        """Makes the averages equal to the weights, which were not made by steps."""
        for average, weight in zip(self.averages, self.weights, strict=True):
            average.assign(weight.numpy())

    @contextlib.contextmanager
    def in_place_of_weights(self):
        """Inside the block the model has the averaged weights; afterwards its own again."""
        own = [weight.numpy() for weight in self.weights]
        for weight, average in zip(self.weights, self.averages, strict=True):
            weight.assign(average.numpy())
        try:
            yield
        finally:
            for weight, value in zip(self.weights, own, strict=True):
                weight.assign(value)
