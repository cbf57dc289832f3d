"""The loop over time and back-propagation through it (Werbos 1990), for any cell.

The state at a step depends on the one before, so a loop is needed; what does not is not in it: the
inputs are projected before, and the gradient of the recurrent kernel is a product afterwards. Left
in it are one product and a dozen small operations on `[batch, units]` a step.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import tensorflow as tf

from sentiment_train.layers.cells import CELLS


class Loop(NamedTuple):
    """What the loops over time of a layer have in common.

    `compiled`: each of the two loops is compiled by XLA, once for a shape, and the products around
    them are not: on a CPU, XLA is good at loops of small operations and uses one core for them, and
    TensorFlow is good at large products, on all cores.
    """

    cell: str  # a name in `CELLS`
    returned: int = 1  # states that are returned, the hidden one first
    per_iteration: int = 4  # steps; an iteration costs TensorFlow as much as a small product
    compiled: bool = False


def states_through_time(loop: Loop, x, kernel, bias, initial, by_hand: bool):
    """The states after every step.

    Args:
      x: `[time, batch, units]` for each gate, what the inputs add to it, biases included; time is a
        multiple of `loop.per_iteration`.
      kernel: `[units, gates · units]`, of the previous state.
      bias: `[gates · units]` of the same, or None if the cell has none.
      initial: a tuple of states `[batch, units]`.
      by_hand: whether derivatives are those below, from factors that the steps forward keep for
        them; else they are TensorFlow's, and nothing is kept.

    Returns:
      A tuple of `[time, batch, units]`, one for each returned state. Differentiable with respect
      to every tensor argument.
    """
    cell = CELLS[loop.cell]
    bias = () if bias is None else (bias,)
    if not by_hand:
        return _forward(loop, False, tuple(x), kernel, bias, tuple(initial))[0]

    @tf.custom_gradient
    def run(*arguments):
        # Else a tape has TensorFlow make derivatives of a compiled loop as well.
        kernel, *rest = map(tf.stop_gradient, arguments)
        ends = cell.gates, cell.gates + cell.states
        x, initial, bias = (
            tuple(part) for part in (rest[: ends[0]], rest[ends[0] : ends[1]], rest[ends[1] :])
        )
        forward, backward = _loops(loop)
        after, factors = forward(x, kernel, bias, initial)

        def gradient(*d_after):
            d_x, d_u, d_initial = backward(kernel, factors, initial, d_after)
            # Σ over steps of h_before ᵀ · d_u
            products = [_product(after[0][:-1], d[1:]) + _product(initial[0], d[0]) for d in d_u]
            d_bias = [tf.reduce_sum(d, axis=(0, 1)) for d in d_u] if bias else []
            d_kernel, *d_bias = [tf.concat(d, axis=-1) for d in (products, d_bias) if d]
            return [d_kernel, *d_x, *d_initial, *d_bias]

        return after, gradient

    return run(kernel, *x, *initial, *bias)


@functools.cache
def _loops(loop: Loop):
    """The loop forward that keeps factors and the loop backward; layers of one kind share them."""
    loops = [functools.partial(_forward, loop, True), functools.partial(_backward, loop)]
    if loop.compiled:
        loops = [tf.function(each, jit_compile=True, autograph=False) for each in loops]
    return loops


def _forward(loop: Loop, keep: bool, x, kernel, bias, initial):
    """From the first step to the last.

    Returns:
      The states after every step `[time, batch, units]`, and if they are kept the factors alike.
    """
    time, cell = tf.shape(x[0])[0], CELLS[loop.cell]()
    inputs = [_array(time, gate).unstack(gate) for gate in x]

    def step(t, states):
        product = tf.matmul(states[0], kernel)
        u = tf.nn.bias_add(product, bias[0]) if bias else product
        return cell.step([gate.read(t) for gate in inputs], u, states)

    def body(t, states, kept):
        for _ in range(loop.per_iteration):
            states, factors = step(t, states)
            values = (*states[: loop.returned], *(factors if keep else ()))
            kept = tuple(array.write(t, value) for array, value in zip(kept, values, strict=True))
            t += 1
        return t, states, kept

    count = loop.returned + keep * cell.factors
    kept = tuple(_array(time, x[0]) for _ in range(count))
    *_, kept = tf.while_loop(
        lambda t, *_: t < time, body, (0, initial, kept), parallel_iterations=1
    )
    kept = tuple(array.stack() for array in kept)
    return kept[: loop.returned], kept[loop.returned :]


def _backward(loop: Loop, kernel, factors, initial, d_after):
    """From the last step to the first.

    Args:
      factors: `[time, batch, units]` each, what the steps forward have kept.
      d_after: `[time, batch, units]` for each returned state.

    Returns:
      d_x and d_u, each `[time, batch, units]` for each gate, and the gradients of the initial
      states.
    """
    time, cell = tf.shape(factors[0])[0], CELLS[loop.cell]()
    factors_at = [_array(time, factor).unstack(factor) for factor in factors]
    d_after_at = [_array(time, d).unstack(d) for d in d_after]
    transposed = tf.linalg.matrix_transpose(kernel)
    two = cell.has_recurrent_bias  # only then d_u is not d_x

    def step(t, d_product, d_past):
        arriving = [array.read(t) for array in d_after_at]
        arriving += [None] * (cell.states - loop.returned)
        arriving[0] += d_product
        for state, d in zip(cell.past, d_past, strict=True):
            arriving[state] = d if arriving[state] is None else arriving[state] + d
        return cell.back([array.read(t) for array in factors_at], arriving)

    def body(t, d_product, d_past, found):
        for _ in range(loop.per_iteration):
            t -= 1
            d_x, d_u, d_past = step(t, d_product, d_past)
            d_product = tf.matmul(tf.concat(d_u, axis=-1), transposed)
            values = (*d_x, *d_u) if two else d_x
            found = tuple(array.write(t, d) for array, d in zip(found, values, strict=True))
        return t, d_product, d_past, found

    d_initial = [tf.zeros_like(state) for state in initial]
    past = tuple(d_initial[state] for state in cell.past)
    found = tuple(_array(time, factors[0]) for _ in range((1 + two) * cell.gates))
    _, d_product, d_past, found = tf.while_loop(
        lambda t, *_: t > 0, body, (time, d_initial[0], past, found), parallel_iterations=1
    )
    d_initial[0] = d_product
    for state, d in zip(cell.past, d_past, strict=True):
        d_initial[state] += d
    found = tuple(array.stack() for array in found)
    return found[: cell.gates], found[-cell.gates :], d_initial


def _array(time, like):
    """Room for `time` tensors `[batch, units]`, as there are in `like`."""
    return tf.TensorArray(like.dtype, time, element_shape=like.shape[1:])


def _product(states, d_u):
    """`[…, units]` and `[…, units]` → `[units, units]`, summed over all rows."""
    flat = [tf.reshape(tensor, [-1, tensor.shape[-1]]) for tensor in (states, d_u)]
    return tf.matmul(*flat, transpose_a=True)
