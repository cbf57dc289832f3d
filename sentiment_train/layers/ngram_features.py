"""A linear model over the n-grams of a text, fitted before the first step, beside another model."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from sentiment_train.layers.ngram_regression import Regression
from sentiment_train.schema import TrainingExamples


class NGramFeatures(keras.layers.Layer):
    """tokens `[batch, length, 1 + orders] int32` → logits `[batch, outputs] float32`.

    Of a token the first id is its word, and the others are n-grams from 1 to `buckets` - 1, or 0
    for none, as `data.ngrams.NGramEncoder` gives them; so padding has none. Its weights come from
    `start_from`; only the bias goes on learning, where there is a gradient.

    Args:
      outputs: 1 (the log-odds of class 1) or the number of classes, each against the rest.
    """

    def __init__(self, buckets: int, outputs: int, regression: Regression, **options):
        super().__init__(dtype="float32", **options)
        self.buckets, self.outputs, self.regression = buckets, outputs, regression

    def build(self, tokens_shape=None):
        self.table = self.add_weight(  # weights and squares of `Fitted` side by side
            name="table",
            shape=(self.buckets, 2 * self.outputs),
            initializer="zeros",
            trainable=False,
        )
        self.bias = self.add_weight(name="bias", shape=(self.outputs,), initializer="zeros")

    def call(self, tokens):
        ngrams = tokens[:, :, 1:]
        rows = tf.gather(self.table.value, ngrams)  # [batch, length, orders, 2 · outputs]
        there = tf.cast(ngrams > 0, tf.float32)[..., None]
        weights, squares = tf.split(tf.reduce_sum(rows * there, axis=[1, 2]), 2, axis=-1)
        return self.bias + tf.math.divide_no_nan(weights, tf.sqrt(squares))  # [batch, outputs]

    def compute_output_spec(self, tokens):
        return keras.KerasTensor([tokens.shape[0], self.outputs], "float32")

    def start_from(self, examples: TrainingExamples) -> bool:
        """Fits the regression to the training texts."""
        first = examples.num_classes - self.outputs
        classes = list(range(first, examples.num_classes))
        fitted = self.regression.fit(examples, self.buckets, classes)
        columns = [one.weights for one in fitted] + [one.squares for one in fitted]
        self.table.assign(np.stack(columns, axis=1))
        self.bias.assign([one.bias for one in fitted])
        return True


class AddedWhenAsked(keras.layers.Layer):
    """logits and further logits, both `[batch, outputs] float32` → while training the first ones
    alone, else their sum, in which the further ones count `strength` times."""

    def __init__(self, strength: float, **options):
        super().__init__(dtype="float32", **options)
        self.strength = strength

    def call(self, logits, further, training=False):
        return logits if training else logits + self.strength * further

    def compute_output_spec(self, logits, further, training=False):
        return keras.KerasTensor(logits.shape, "float32")
