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

_STEPS = 64, 8  # of the two sizes of a part: few calls, and little to fill up


class Loop(NamedTuple):
    """What the loops over time of a layer have in common.

    `compiled`: each of the two loops is compiled by XLA and the products around them are not: on a
    CPU, XLA is good at loops of small operations and uses one core for them, and TensorFlow is good
    at large products, on all cores. A program is made for a shape. `in_parts`: it does some steps
    and is called until all are done, so that there are two programs for all lengths of one batch
    size; else one for each length, which does all steps.
    """

    cell: str  # a name in `CELLS`
    returned: int = 1  # states that are returned, the hidden one first
    per_iteration: int = 4  # steps; an iteration costs TensorFlow as much as a small product
    compiled: bool = False
    in_parts: bool = False

    @property
    def multiple_of(self) -> int:
        """What the number of steps must be."""
        return _STEPS[-1] if self.in_parts else self.per_iteration


def states_through_time(loop: Loop, x, kernel, bias, initial, by_hand: bool):
    """The states after every step.

    Args:
      x: `[time, batch, units]` for each gate, what the inputs add to it, biases included; time is a
        multiple of `loop.multiple_of`.
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
        after, factors, _ = forward(x, kernel, bias, initial)

        def gradient(*d_after):
            zeros = [tf.zeros_like(state) for state in initial]
            d_past = tuple(zeros[state] for state in cell.past)
            d_x, d_scaled, d_product, d_past = backward(kernel, factors, d_after, zeros[0], d_past)
            d_initial = [d_product, *zeros[1:]]
            for state, d in zip(cell.past, d_past, strict=True):
                d_initial[state] += d
            d_u = list(d_x)
            for gate, d in zip(cell.scaled, d_scaled, strict=True):
                d_u[gate] = d
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
    if loop.in_parts:
        in_parts = (_forward_in_parts, _backward_in_parts)
        loops = [functools.partial(f, loop, each) for f, each in zip(in_parts, loops, strict=True)]
    return loops


def _forward(loop: Loop, keep: bool, x, kernel, bias, initial):
    """From the first step to the last.

    Returns:
      The states after every step `[time, batch, units]`, if they are kept the factors alike, and
      all states after the last step.
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
            kept = _written(kept, t, values)
            t += 1
        return t, states, kept

    count = loop.returned + keep * cell.factors
    kept = tuple(_array(time, x[0]) for _ in range(count))
    _, states, kept = tf.while_loop(
        lambda t, *_: t < time, body, (0, initial, kept), parallel_iterations=1
    )
    kept = tuple(array.stack() for array in kept)
    return kept[: loop.returned], kept[loop.returned :], states


def _backward(loop: Loop, kernel, factors, d_after, d_product, d_past):
    """From the last step to the first.

    Args:
      factors: `[time, batch, units]` each, what the steps forward have kept.
      d_after: `[time, batch, units]` for each returned state.
      d_product: `[batch, units]`, what reaches the hidden state after the last step through the
        recurrent kernel, from steps behind it.
      d_past: a tuple of the same for the states in `cell.past`, past the kernel.

    Returns:
      d_x, `[time, batch, units]` for each gate; d_u for those in `cell.scaled`, of the others it is
      the same; and d_product and d_past for the states before the first step.
    """
    time, cell = tf.shape(factors[0])[0], CELLS[loop.cell]()
    factors_at = [_array(time, factor).unstack(factor) for factor in factors]
    d_after_at = [_array(time, d).unstack(d) for d in d_after]
    transposed = tf.linalg.matrix_transpose(kernel)

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
            found = _written(found, t, (*d_x, *(d_u[gate] for gate in cell.scaled)))
        return t, d_product, d_past, found

    found = tuple(_array(time, factors[0]) for _ in range(cell.gates + len(cell.scaled)))
    _, d_product, d_past, found = tf.while_loop(
        lambda t, *_: t > 0, body, (time, d_product, d_past, found), parallel_iterations=1
    )
    found = tuple(array.stack() for array in found)
    return found[: cell.gates], found[cell.gates :], d_product, d_past


def _forward_in_parts(loop: Loop, program, x, kernel, bias, initial):
    """As `_forward`, by many calls of its program; the factors remain arrays of parts."""
    time, (long, short) = tf.shape(x[0])[0], _STEPS
    count = time // long + time % long // short

    def body(i, t, states, kept):
        end = t + tf.where(time - t >= long, long, short)
        x_part = tuple(gate[t:end] for gate in x)
        after, factors, states = program(x_part, kernel, bias, states)
        return i + 1, end, states, _written(kept, i, (*after, *factors))

    kept = _arrays_of_parts(loop.returned + CELLS[loop.cell].factors, count, x[0])
    *_, states, kept = tf.while_loop(
        lambda i, *_: i < count, body, (0, 0, initial, kept), parallel_iterations=1
    )
    after = tuple(array.concat() for array in kept[: loop.returned])
    return after, kept[loop.returned :], states


def _backward_in_parts(loop: Loop, program, kernel, factors, d_after, d_product, d_past):
    """As `_backward`, from the last part to the first."""
    count, cell = factors[0].size(), CELLS[loop.cell]

    def body(i, t, d_product, d_past, found):
        i -= 1
        of_part = tuple(array.read(i) for array in factors)
        start = t - tf.shape(of_part[0])[0]
        d_part = tuple(d[start:t] for d in d_after)
        *d_found, d_product, d_past = program(kernel, of_part, d_part, d_product, d_past)
        return i, start, d_product, d_past, _written(found, i, tf.nest.flatten(d_found))

    found = _arrays_of_parts(cell.gates + len(cell.scaled), count, d_after[0])
    begin = (count, tf.shape(d_after[0])[0], d_product, d_past, found)
    *_, d_product, d_past, found = tf.while_loop(
        lambda i, *_: i > 0, body, begin, parallel_iterations=1
    )
    found = tuple(array.concat() for array in found)
    return found[: cell.gates], found[cell.gates :], d_product, d_past


def _arrays_of_parts(number: int, count, like):
    """Room for `count` parts `[steps, batch, units]`, of different numbers of steps."""
    shape = [None, *like.shape[1:]]
    options = {"infer_shape": False, "element_shape": shape, "clear_after_read": False}
    return tuple(tf.TensorArray(like.dtype, count, **options) for _ in range(number))


def _written(arrays, place, values):
    return tuple(array.write(place, value) for array, value in zip(arrays, values, strict=True))


def _array(time, like):
    """Room for `time` tensors `[batch, units]`, as there are in `like`."""
    return tf.TensorArray(like.dtype, time, element_shape=like.shape[1:])


def _product(states, d_u):
    """`[…, units]` and `[…, units]` → `[units, units]`, summed over all rows."""
    flat = [tf.reshape(tensor, [-1, tensor.shape[-1]]) for tensor in (states, d_u)]
    return tf.matmul(*flat, transpose_a=True)
