"""The equations of the recurrent cells, and their derivatives, on one step or on all steps at once.

A cell knows nothing of time. It is given `x`, what the inputs add to its gates, and `u`, what the
previous state adds, both `[…, gates · units]`, and works along the last axis only: the same method
serves one step, `[batch, gates · units]`, and a sequence, `[time, batch, gates · units]`. What it
would cut `x` into at every step is cut once for all of them, by `parts`.

For back-propagation through time, all that depends on the forward pass alone is computed for every
step at once (`factors`); a step back is then a handful of products. With `d` for the derivative of
the loss: `d_states` come in for the states after a step; `d_u` and `d_direct` are what goes on to
the states before it, through the recurrent kernel and past it (None: nothing goes past it).
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf


class SimpleCell:
    """h′ = tanh(x + u). Elman 1990, equation (1) of most introductions."""

    gates, states = 1, 1
    has_recurrent_bias = False
    keras_order = (0,)

    class Factors(NamedTuple):
        slope: tf.Tensor  # 1 − h′²

    def parts(self, x):
        return [x]

    def step(self, x, u, states):
        return (tf.tanh(x[0] + u),)

    def factors(self, x, u, before, after):
        return self.Factors(1 - tf.square(after[0]))

    def settled(self, factors, d_states):
        return d_states

    def d_u(self, factors, d_states):
        return d_states[0] * factors.slope

    def d_x(self, factors, d_states):
        return self.d_u(factors, d_states)

    def d_direct(self, factors, d_states):
        return (None,)


class GruCell:
    """A gated recurrent unit, in the form of cuDNN and Keras (`reset_after=True`).

    Cho et al. 2014, equations (5)–(8), with the reset gate after the product:

        z = σ(x_z + u_z)    r = σ(x_r + u_r)    c = tanh(x_c + r ∘ u_c)    h′ = z ∘ h + (1 − z) ∘ c
    """

    gates, states = 3, 1
    has_recurrent_bias = True  # inside the product with r, so it cannot be added to x
    keras_order = (0, 1, 2)  # z, r, c

    class Factors(NamedTuple):
        d_u: tf.Tensor  # […, 3 units] what d_h is multiplied by, for each gate
        keep: tf.Tensor  # z
        candidate: tf.Tensor  # (1 − z)(1 − c²), for x_c

    def parts(self, x):
        units = x.shape[-1] // 3
        return tf.split(x, [2 * units, units], axis=-1)

    def _gates(self, x, u):
        x_zr, x_c = x
        units = x_c.shape[-1]
        u_zr, u_c = tf.split(u, [2 * units, units], axis=-1)
        z, r = tf.split(tf.sigmoid(x_zr + u_zr), 2, axis=-1)
        return z, r, u_c, tf.tanh(x_c + r * u_c)

    def step(self, x, u, states):
        z, _, _, c = self._gates(x, u)
        return (c + z * (states[0] - c),)

    def factors(self, x, u, before, after):
        z, r, u_c, c = self._gates(x, u)
        candidate = (1 - z) * (1 - tf.square(c))
        d_u = [(before[0] - c) * z * (1 - z), candidate * u_c * r * (1 - r), candidate * r]
        return self.Factors(tf.concat(d_u, axis=-1), z, candidate)

    def settled(self, factors, d_states):
        return d_states

    def d_u(self, factors, d_states):
        return tf.concat([d_states[0]] * 3, axis=-1) * factors.d_u

    def d_x(self, factors, d_states):
        units = factors.keep.shape[-1]
        d_gates = self.d_u(factors, d_states)[..., : 2 * units]
        return tf.concat([d_gates, d_states[0] * factors.candidate], axis=-1)

    def d_direct(self, factors, d_states):
        return (d_states[0] * factors.keep,)


class LstmCell:
    """Long short-term memory with a forget gate; no peepholes.

    Hochreiter & Schmidhuber 1997; Gers et al. 2000, with a = x + u:

        i, f, o = σ(a_i), σ(a_f), σ(a_o)    g = tanh(a_g)    c′ = f ∘ c + i ∘ g    h′ = o ∘ tanh(c′)
    """

    gates, states = 4, 2
    has_recurrent_bias = False
    keras_order = (0, 1, 3, 2)  # Keras has i, f, g, o; here the three sigmoids stand together

    class Factors(NamedTuple):
        by_c: tf.Tensor  # […, 3 units] what d_c is multiplied by, for i, f and g
        by_h: tf.Tensor  # what d_h is multiplied by, for o
        h_to_c: tf.Tensor  # ∂h′/∂c′
        forget: tf.Tensor  # f

    def parts(self, x):
        return [x]

    def _gates(self, x, u):
        a = x[0] + u
        units = a.shape[-1] // 4
        a_ifo, a_g = tf.split(a, [3 * units, units], axis=-1)
        i, f, o = tf.split(tf.sigmoid(a_ifo), 3, axis=-1)
        return i, f, o, tf.tanh(a_g)

    def step(self, x, u, states):
        i, f, o, g = self._gates(x, u)
        c = f * states[1] + i * g
        return o * tf.tanh(c), c

    def factors(self, x, u, before, after):
        i, f, o, g = self._gates(x, u)
        tanh_c = tf.tanh(after[1])
        by_c = [g * i * (1 - i), before[1] * f * (1 - f), i * (1 - tf.square(g))]
        return self.Factors(
            tf.concat(by_c, axis=-1), tanh_c * o * (1 - o), o * (1 - tf.square(tanh_c)), f
        )

    def settled(self, factors, d_states):
        """d_c also has what reaches the cell state through the output of the same step."""
        d_h, d_c = d_states
        return d_h, d_c + d_h * factors.h_to_c

    def d_u(self, factors, d_states):
        d_h, d_c = d_states
        units = d_c.shape[-1]
        d_ifg = tf.concat([d_c] * 3, axis=-1) * factors.by_c
        parts = [d_ifg[..., : 2 * units], d_h * factors.by_h, d_ifg[..., 2 * units :]]
        return tf.concat(parts, axis=-1)

    def d_x(self, factors, d_states):
        return self.d_u(factors, d_states)

    def d_direct(self, factors, d_states):
        return None, d_states[1] * factors.forget


CELLS = {"simple": SimpleCell, "gru": GruCell, "lstm": LstmCell}
