"""A linear model over the n-grams of a text, fitted before the first step, beside another model."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from sentiment_train.layers.ngram_regression import FOLD_PRIME, Regression
from sentiment_train.schema import TrainingExamples


class NGramFeatures(keras.layers.Layer):
    """tokens `[batch, length, 1 + orders] int32` → logits `[batch, outputs] float32`.

    Of a token the first id is its word, and the others are n-grams from 1 to `buckets` - 1, or 0
    for none, as `data.ngrams.NGramEncoder` gives them; so padding has none. Its weights come from
    `start_from`; only the bias goes on learning. While training, a text is answered by the model
    that was fitted without its fold, so what learns beside this layer sees errors as they will be.

    Args:
      outputs: 1 (the log-odds of class 1) or the number of classes, each against the rest.
      served: whether it will never be trained; the models without a fold are left out then.
    """

    def __init__(
        self, buckets: int, outputs: int, regression: Regression, served: bool = False, **options
    ):
        super().__init__(dtype="float32", **options)
        self.buckets, self.outputs, self.regression = buckets, outputs, regression
        self.folds = 0 if served else regression.folds

    def build(self, tokens_shape=None):
        def constant(name, *shape):
            return self.add_weight(name=name, shape=shape, initializer="zeros", trainable=False)

        # Weights and squares of `Fitted` side by side.
        self.table = constant("table", self.buckets, 2 * self.outputs)
        self.bias = self.add_weight(name="bias", shape=(self.outputs,), initializer="zeros")
        if self.folds:
            self.held_out = constant("held_out", self.buckets, self.folds * self.outputs)
            self.held_out_bias = constant("held_out_bias", self.folds, self.outputs)

    @property
    def only_in_training(self) -> list:
        """Weights that a model which is only asked does not have."""
        return [self.held_out, self.held_out_bias] if self.folds else []

    def call(self, tokens, training=False):
        ngrams = tokens[:, :, 1:]
        there = tf.cast(ngrams > 0, tf.float32)[..., None]

        def summed(table):
            """`[batch, columns]` over the n-grams of each text."""
            return tf.reduce_sum(tf.gather(table.value, ngrams) * there, axis=[1, 2])

        weights, squares = tf.split(summed(self.table), 2, axis=-1)
        bias = self.bias
        if training and self.folds:
            fold = tf.reduce_sum(ngrams % FOLD_PRIME, axis=[1, 2]) % self.folds  # [batch]
            of_folds = tf.reshape(summed(self.held_out), [-1, self.folds, self.outputs])
            weights = tf.gather(of_folds, fold, batch_dims=1)
            bias += tf.gather(self.held_out_bias.value, fold)
        return bias + tf.math.divide_no_nan(weights, tf.sqrt(squares))  # [batch, outputs]

    def compute_output_spec(self, tokens, training=False):
        return keras.KerasTensor([tokens.shape[0], self.outputs], "float32")

    def start_from(self, examples: TrainingExamples) -> bool:
        """Fits the regressions to the training texts."""
        first = examples.num_classes - self.outputs
        fitted = self.regression.fit(
            examples, self.buckets, list(range(first, examples.num_classes))
        )
        # Two classes with a logit each tell the same twice; the difference is to be the log-odds.
        share = 0.5 if self.outputs == examples.num_classes == 2 else 1.0
        weights = [share * one.of_all.weights for one in fitted]
        self.table.assign(np.stack(weights + [one.squares for one in fitted], axis=1))
        biases = share * np.array([one.of_all.bias for one in fitted])
        self.bias.assign(biases)
        by_fold = [[one.without_fold[fold] for one in fitted] for fold in range(self.folds)]
        weights = [share * model.weights for models in by_fold for model in models]
        self.held_out.assign(np.stack(weights, axis=1))
        # Added to the bias, which moves while training.
        held_out = share * np.array([[model.bias for model in models] for models in by_fold])
        self.held_out_bias.assign(held_out - biases)
        return True
