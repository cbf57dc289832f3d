"""Masks come from lengths, never from `id != 0`: valid for cuDNN, XLA and the CPU alike."""

from __future__ import annotations

import keras
import tensorflow as tf


class SequenceMask(keras.layers.Layer):
    """lengths `[batch]`, tokens `[batch, length]` → `[batch, length] bool`, True on tokens."""

    def call(self, lengths, tokens):
        return tf.sequence_mask(lengths, tf.shape(tokens)[1])

    def compute_output_spec(self, lengths, tokens):
        return keras.KerasTensor(tokens.shape, "bool")
