"""What a network reads of a word beside its vector."""

from __future__ import annotations

import keras
import tensorflow as tf

_SCALE = 10.0  # of a few hundred n-grams of a text each adds some hundredths, of few ones more
_NEAR = 30.0  # words


class Hints(keras.layers.Layer):
    """What each word adds to a logit `[batch, length, k] float32`, lengths `[batch] int32` →
    `[batch, length, units]`, to be added to the vectors of the words.

    A linear model of tanh(10 · what was added), and of how near word i is to the beginning of the
    text, e^(−i / 30), and likewise to its end, where reviews say what they come to.
    """

    def __init__(self, units: int, **options):
        super().__init__(autocast=False, **options)  # places and logits keep all their bits
        self.units = units

    def build(self, added_shape, lengths_shape=None):
        self.kernel = self.add_weight(
            name="kernel", shape=(added_shape[-1] + 2, self.units), initializer="glorot_uniform"
        )

    def call(self, added, lengths):
        place = tf.range(tf.shape(added)[1], dtype=tf.float32)[None]  # [1, length]
        left = tf.cast(lengths, tf.float32)[:, None] - 1.0 - place  # below 0 where there is padding
        near = [tf.exp(-place / _NEAR) * tf.ones_like(left), tf.exp(-tf.maximum(left, 0.0) / _NEAR)]
        added = tf.tanh(_SCALE * added)
        hints = tf.concat([added, tf.stack(near, axis=-1)], axis=-1)
        hints = tf.matmul(hints, tf.convert_to_tensor(self.kernel))
        return tf.cast(hints, self.compute_dtype)

    def compute_output_spec(self, added, lengths):
        return keras.KerasTensor([*added.shape[:-1], self.units], self.compute_dtype)
