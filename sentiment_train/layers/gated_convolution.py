"""Convolutions over words, each with a gate that decides how much of it goes through."""

from __future__ import annotations

import keras
import tensorflow as tf


class GatedConvolution(keras.layers.Layer):
    """states `[batch, length, features]`, mask `[batch, length] bool` → `[batch, length, units]`.

    Dauphin et al. 2017, "Language Modeling with Gated Convolutional Networks", equation 1:

        h(X) = (X ∗ W + b) ⊗ σ(X ∗ V + c)

    but centred: of an even width one more word to the right is seen. Outside of a text there are
    zeros, so padding changes nothing. A layer with as many units as features adds its input, as
    their residual blocks do.
    """

    def __init__(self, units: int, width: int, **options):
        super().__init__(**options)
        self.units, self.width = units, width
        self.supports_masking = True

    def build(self, states_shape):
        features = states_shape[-1]
        self.residual = features == self.units
        self.kernel = self.add_weight(  # W and V side by side: one product for both
            name="kernel", shape=(self.width, features, 2 * self.units), initializer="he_normal"
        )
        self.bias = self.add_weight(name="bias", shape=(2 * self.units,), initializer="zeros")

    def call(self, states, mask):
        states = tf.where(mask[:, :, None], states, tf.zeros([], states.dtype))
        kernel, bias = map(tf.convert_to_tensor, (self.kernel, self.bias))
        linear, gate = tf.split(tf.nn.conv1d(states, kernel, 1, "SAME") + bias, 2, axis=-1)
        outputs = linear * tf.sigmoid(gate)  # [batch, length, units]
        return states + outputs if self.residual else outputs

    def compute_output_spec(self, states, mask):
        return keras.KerasTensor([*states.shape[:-1], self.units], states.dtype)
