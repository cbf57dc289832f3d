"""Padding that counts: on the other side, or up to a fixed length, for models without a mask.

A batch is always padded on the right. Turned around by its length and then as a whole, a row stands
at the other end: its padding is in front.
"""

from __future__ import annotations

import keras
import tensorflow as tf


class Padded(keras.layers.Layer):
    """tokens `[batch, length] int32`, lengths `[batch] int32` → `[batch, width] int32`.

    Args:
      side: of the padding, `right` or `left`; every padding place gets id 0.
      width: to pad to, at least `length`; None for the length of the batch.
    """

    def __init__(self, side: str, width: int | None = None, **options):
        super().__init__(**options)
        self.side, self.width = side, width

    def call(self, tokens, lengths):
        if self.width is not None:
            missing = tf.maximum(self.width - tf.shape(tokens)[1], 0)
            tokens = tf.pad(tokens, [[0, 0], [0, missing]])[:, : self.width]
            tokens = tf.ensure_shape(tokens, [None, self.width])
        mask = tf.sequence_mask(lengths, tf.shape(tokens)[1], tokens.dtype)
        tokens *= mask
        if self.side == "left":
            tokens = tf.reverse(tf.reverse_sequence(tokens, lengths, seq_axis=1), [1])
        return tokens

    def compute_output_spec(self, tokens, lengths):
        return keras.KerasTensor([tokens.shape[0], self.width or tokens.shape[1]], "int32")


class FullLengths(keras.layers.Layer):
    """tokens `[batch, length]` → `[batch] int32`, each `length`: every place counts as a token.

    With these no row has padding at all, which is what cuDNN, XLA and the CPU agree on.
    """

    def call(self, tokens):
        shape = tf.shape(tokens)
        return tf.fill(shape[:1], shape[1])

    def compute_output_spec(self, tokens):
        return keras.KerasTensor(tokens.shape[:1], "int32")
