"""The equations of the recurrent cells, and their derivatives, for one step.

A cell knows nothing of time. It is given what the inputs add to its gates, `x`, one tensor
`[batch, units]` for each gate, and what the previous state adds, `u` `[batch, gates · units]`, with
the gates in the order of Keras. Besides the new states, a step gives *factors*, a tuple of
`[batch, units]`: what the derivatives are multiplied by on the way back. They need only what the
step knows, so back-propagation through time is left with a handful of products a step.

In `back`, `d` stands for the derivative of the loss: `d_states` come in for the states after the
step; `d_x` and `d_u`, a tensor for each gate, go on to the inputs and through the recurrent kernel,
and one more for each state in `past` goes past the kernel to that state before. d_u is d_x but for
the gates in `scaled`, to which u is not just added.
"""

from __future__ import annotations

import tensorflow as tf


class SimpleCell:
    """h′ = tanh(x + u). Elman 1990, equation (1) of most introductions."""

    gates, states, past, factors = 1, 1, (), 1
    has_recurrent_bias, scaled = False, ()

    def step(self, x, u, states):
        h = tf.tanh(x[0] + u)
        return (h,), (1 - tf.square(h),)

    def back(self, factors, d_states):
        d_gate = (d_states[0] * factors[0],)
        return d_gate, d_gate, ()


class GruCell:
    """A gated recurrent unit, in the form of cuDNN and Keras (`reset_after=True`).

    Cho et al. 2014, equations (5)–(8), with the reset gate after the product:

        z = σ(x_z + u_z)    r = σ(x_r + u_r)    c = tanh(x_c + r ∘ u_c)    h′ = z ∘ h + (1 − z) ∘ c
    """

    gates, states, past, factors = 3, 1, (0,), 5
    has_recurrent_bias = True  # inside the product with r, so it cannot be added to x
    scaled = (2,)

    def step(self, x, u, states):
        x_z, x_r, x_c = x
        u_z, u_r, u_c = tf.split(u, 3, axis=-1)
        z, r = tf.sigmoid(x_z + u_z), tf.sigmoid(x_r + u_r)
        c = tf.tanh(x_c + r * u_c)
        h = c + z * (states[0] - c)
        by_c = (1 - z) * (1 - tf.square(c))  # ∂h′/∂x_c
        by_z, by_r = (states[0] - c) * z * (1 - z), by_c * u_c * r * (1 - r)
        return (h,), (by_z, by_r, by_c, r, z)

    def back(self, factors, d_states):
        by_z, by_r, by_c, r, z = factors
        d_z, d_r, d_c = (d_states[0] * by for by in (by_z, by_r, by_c))
        return (d_z, d_r, d_c), (d_z, d_r, d_c * r), (d_states[0] * z,)


class LstmCell:
    """Long short-term memory with a forget gate; no peepholes.

    Hochreiter & Schmidhuber 1997; Gers et al. 2000, with a = x + u:

        i, f, o = σ(a_i), σ(a_f), σ(a_o)    g = tanh(a_g)    c′ = f ∘ c + i ∘ g    h′ = o ∘ tanh(c′)
    """

    gates, states, past, factors = 4, 2, (1,), 6
    has_recurrent_bias, scaled = False, ()

    def step(self, x, u, states):
        a = [x_gate + u_gate for x_gate, u_gate in zip(x, tf.split(u, 4, axis=-1), strict=True)]
        i, f, g, o = tf.sigmoid(a[0]), tf.sigmoid(a[1]), tf.tanh(a[2]), tf.sigmoid(a[3])
        c = f * states[1] + i * g
        tanh_c = tf.tanh(c)
        by_i, by_f, by_g = g * i * (1 - i), states[1] * f * (1 - f), i * (1 - tf.square(g))
        by_o, h_to_c = tanh_c * o * (1 - o), o * (1 - tf.square(tanh_c))  # ∂h′/∂a_o, ∂h′/∂c′
        return (o * tanh_c, c), (by_i, by_f, by_g, by_o, h_to_c, f)

    def back(self, factors, d_states):
        by_i, by_f, by_g, by_o, h_to_c, f = factors
        d_h, d_c = d_states
        d_c += d_h * h_to_c  # what reaches the cell state through the output of the same step
        d_a = (d_c * by_i, d_c * by_f, d_c * by_g, d_h * by_o)
        return d_a, d_a, (d_c * f,)


CELLS = {"simple": SimpleCell, "gru": GruCell, "lstm": LstmCell}
