"""Word vectors: the table as a tensor, and looking up rows of it."""

from __future__ import annotations

import keras
import tensorflow as tf


class Embedding(keras.layers.Layer):
    """A learned table; called with tokens, which it ignores, it gives all of `[size, units]`.

    The next layer decides whether to look up first and compute then, or the other way round.
    """

    word_rows = ("embeddings",)  # the variables that have a row for each word

    def __init__(self, size: int, units: int, **options):
        super().__init__(**options)
        self.size, self.units = size, units

    def build(self, tokens_shape=None):
        self.embeddings = self.add_weight(
            name="embeddings", shape=(self.size, self.units), initializer="uniform"
        )

    def call(self, tokens):
        return tf.cast(tf.convert_to_tensor(self.embeddings), self.compute_dtype)

    def compute_output_spec(self, tokens):
        return keras.KerasTensor([self.size, self.units], self.compute_dtype)


class Lookup(keras.layers.Layer):
    """tokens `[batch, length] int32`, table `[size, units]` → `[batch, length, units]`."""

    def call(self, tokens, table):
        return tf.gather(table, tokens)

    def compute_output_spec(self, tokens, table):
        return keras.KerasTensor([*tokens.shape, table.shape[-1]], table.dtype)
