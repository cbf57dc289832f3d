"""A linear model over the n-grams of a text, fitted before the first step, beside another model."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from sentiment_train.layers.ngram_regression import FOLD_PRIME, Regression
from sentiment_train.schema import TrainingExamples


class NGramFeatures(keras.layers.Layer):
    """tokens `[batch, length, 1 + orders] int32` → logits `[batch, outputs] float32`, and what each
    n-gram adds to them `[batch, length, orders · outputs] float32`.

    Of a token the first id is its word, and the others are n-grams from 1 to `size` - 1, or 0 for
    none, as `data.ngrams.NGramEncoder` gives them; so padding has none. Its weights come from
    `start_from`; only the bias goes on learning. While training, a text is answered by the model
    that was fitted without its fold, so what learns beside this layer sees errors nearly as they
    will be (the length by which a text is divided knows the labels of all).

    Args:
      outputs: 1 (the log-odds of class 1) or the number of classes, each against the rest.
      served: whether it will never be trained; the models without a fold are left out then.
    """

    def __init__(
        self, size: int, outputs: int, regression: Regression, served: bool = False, **options
    ):
        super().__init__(dtype="float32", **options)
        self.size, self.outputs, self.regression = size, outputs, regression
        self.folds = 0 if served else regression.folds

    def build(self, tokens_shape=None):
        def constant(name, rows, columns=self.outputs):
            return self.add_weight(
                name=name, shape=(rows, columns), initializer="zeros", trainable=False
            )

        self.squares = constant("squares", self.size)
        self.kernel = constant("kernel", self.size)
        self.bias = self.add_weight(name="bias", shape=(self.outputs,), initializer="zeros")
        if self.folds:  # one fold below the other
            self.held_out = constant("held_out", self.folds * self.size)
            self.held_out_bias = constant("held_out_bias", self.folds)

    @property
    def only_in_training(self) -> list:
        """Weights that a model which is only asked does not have."""
        return [self.held_out, self.held_out_bias] if self.folds else []

    @property
    def made_by(self) -> str:
        """What `start_from` does, which takes a while."""
        return f"fitting {(1 + self.folds) * self.outputs} logistic regressions over n-grams"

    def call(self, tokens, training=False):
        ngrams = tokens[:, :, 1:]
        kernel, bias, places = self.kernel, self.bias, ngrams
        if training and self.folds:
            # As `folds_of`, with numbers that stay small.
            parts = ngrams % FOLD_PRIME % self.folds
            fold = tf.reduce_sum(parts, axis=[1, 2]) % self.folds  # [batch]
            kernel, bias = self.held_out, bias + tf.gather(self.held_out_bias.value, fold)
            places += fold[:, None, None] * self.size
        there = tf.cast(ngrams > 0, tf.float32)[..., None]

        def looked_up(table, places):
            """`[batch, length, orders, outputs]`."""
            return tf.gather(table.value, places) * there

        squares = tf.reduce_sum(looked_up(self.squares, ngrams), axis=[1, 2], keepdims=True)
        added = tf.math.divide_no_nan(looked_up(kernel, places), tf.sqrt(squares))
        logits = bias + tf.reduce_sum(added, axis=[1, 2])
        batch, length, orders = tf.unstack(tf.shape(ngrams))
        return logits, tf.reshape(added, [batch, length, orders * self.outputs])

    def compute_output_spec(self, tokens, training=False):
        batch, length, ids = tokens.shape
        logits = keras.KerasTensor([batch, self.outputs], "float32")
        return logits, keras.KerasTensor([batch, length, (ids - 1) * self.outputs], "float32")

    def start_from(self, examples: TrainingExamples) -> bool:
        """Fits the regressions to the training texts."""
        first = examples.num_classes - self.outputs
        classes = list(range(first, examples.num_classes))
        fitted = self.regression.fit(examples, self.size, classes)

        def side_by_side(models):
            """Kernel `[size, outputs]` and bias `[outputs]`."""
            kernel = np.stack([model.weights for model in models], axis=1)
            return kernel, np.array([model.bias for model in models])

        kernel, bias = side_by_side([one.of_all for one in fitted])
        self.squares.assign(np.stack([one.squares for one in fitted], axis=1))
        self.kernel.assign(kernel)
        self.bias.assign(bias)
        held_out = [
            side_by_side([one.without_fold[fold] for one in fitted]) for fold in range(self.folds)
        ]
        self.held_out.assign(np.concatenate([kernel for kernel, _ in held_out]))
        # Added to the bias, which moves while training.
        self.held_out_bias.assign(np.stack([of_fold - bias for _, of_fold in held_out]))
        return True
