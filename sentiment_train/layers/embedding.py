"""Word vectors: the table as a tensor, and looking up rows of it."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

_LEAST_VARIANCE = 1e-12  # is added, so that a unit that is the same for all words remains finite


class Embedding(keras.layers.Layer):
    """A learned table; called with tokens, which it ignores, it gives all of `[size, units]`.

    The next layer decides whether to look up first and compute then, or the other way round.

    Args:
      normalized: whether every unit is shifted and scaled to mean 0 and variance 1 over the words,
        each counted as often as the training texts have it (Miyato et al. 2017, equation 1). A
        model can then not make its vectors large and a perturbation of them small.
    """

    word_rows = ("embeddings", "frequencies")  # the variables that have a row for each word

    def __init__(self, size: int, units: int, normalized: bool = False, **options):
        super().__init__(**options)
        self.size, self.units, self.normalized = size, units, normalized

    def build(self, tokens_shape=None):
        self.embeddings = self.add_weight(
            name="embeddings",
            shape=(self.size, self.units),
            initializer="uniform",
            autocast=not self.normalized,
        )
        if self.normalized:
            self.frequencies = self.add_weight(
                name="frequencies",
                shape=(self.size,),
                initializer="ones",
                trainable=False,
                autocast=False,
            )

    def start_from(self, examples) -> bool:
        """Counts the words of the training texts (`schema.TrainingExamples`), if that is needed."""
        if not self.normalized:
            return False
        counts = np.zeros(self.size, np.int64)
        for tokens, _ in examples.by_token():
            words = tokens.reshape(len(tokens), -1)[:, 0]
            counts += np.bincount(words, minlength=self.size)
        self.frequencies.assign(counts.astype(np.float32))
        return True

    def call(self, tokens):
        table = tf.convert_to_tensor(self.embeddings)
        if self.normalized:
            table = _normalized(table, tf.convert_to_tensor(self.frequencies))
        return tf.cast(table, self.compute_dtype)

    def compute_output_spec(self, tokens):
        return keras.KerasTensor([self.size, self.units], self.compute_dtype)


def _normalized(table, frequencies):
    """`[size, units]` of `[size]` words that are seen in proportion to `frequencies`."""
    shares = (frequencies / tf.reduce_sum(frequencies))[None, :]
    centred = table - tf.matmul(shares, table)
    variance = tf.matmul(shares, tf.square(centred))
    return centred * tf.math.rsqrt(variance + _LEAST_VARIANCE)


class Lookup(keras.layers.Layer):
    """tokens `[batch, length] int32`, table `[size, units]` → `[batch, length, units]`."""

    def call(self, tokens, table):
        return tf.gather(table, tokens)

    def compute_output_spec(self, tokens, table):
        return keras.KerasTensor([*tokens.shape, table.shape[-1]], table.dtype)
