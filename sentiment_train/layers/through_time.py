"""The loop over time and back-propagation through it (Werbos 1990), for any cell.

The state at a step depends on the one before, so a loop is needed; everything else is not in it:
the inputs are projected before, and on the way back the derivatives of the cells and the gradient
of the recurrent kernel are computed for all steps at once, from the stored states.
"""

from __future__ import annotations

import tensorflow as tf

_STEPS_PER_ITERATION = 4  # of the loop: an iteration costs about as much as a small product


def states_through_time(cell, x, recurrent_kernel, recurrent_bias, initial):
    """The states after every step.

    Args:
      cell: one of `cells.CELLS`.
      x: `[time, batch, gates · units]` what the inputs add to the gates, biases included.
      recurrent_kernel: `[units, gates · units]`.
      recurrent_bias: `[gates · units]`, or None if the cell has none.
      initial: a tuple of states `[batch, units]`.

    Returns:
      A tuple of `[time, batch, units]`, one for each state of the cell. Differentiable with
      respect to every tensor argument.
    """
    steps = tf.shape(x)[0]
    missing = -steps % _STEPS_PER_ITERATION
    # Steps after the end change nothing before it.
    x = tf.pad(x, [[0, missing], [0, 0], [0, 0]])
    biases = () if recurrent_bias is None else (recurrent_bias,)

    @tf.custom_gradient
    def run(x, kernel, *rest):
        initial, bias = rest[: cell.states], rest[cell.states :]
        after = _forward(cell, x, kernel, bias, initial)

        def gradient(*d_after):
            return _backward(cell, x, kernel, bias, initial, after, d_after)

        return after, gradient

    return tuple(states[:steps] for states in run(x, recurrent_kernel, *initial, *biases))


def _from_previous(state, kernel, bias):
    """What the previous hidden state adds to the gates."""
    u = tf.matmul(state, kernel)
    return tf.nn.bias_add(u, bias[0]) if bias else u


def _forward(cell, x, kernel, bias, initial):
    time = tf.shape(x)[0]
    inputs = [
        tf.TensorArray(x.dtype, time, element_shape=part.shape[1:]).unstack(part)
        for part in cell.parts(x)
    ]
    kept = tuple(tf.TensorArray(x.dtype, time, element_shape=s.shape) for s in initial)

    def body(t, states, kept):
        for _ in range(_STEPS_PER_ITERATION):
            u = _from_previous(states[0], kernel, bias)
            states = cell.step([array.read(t) for array in inputs], u, states)
            kept = tuple(array.write(t, state) for array, state in zip(kept, states, strict=True))
            t += 1
        return t, states, kept

    *_, kept = tf.while_loop(
        lambda t, *_: t < time, body, (0, tuple(initial), kept), parallel_iterations=1
    )
    return tuple(array.stack() for array in kept)


def _backward(cell, x, kernel, bias, initial, after, d_after):
    """Gradients of x, kernel, the initial states, and the recurrent bias if there is one."""
    before = [
        tf.concat([first[None], states[:-1]], axis=0)
        for first, states in zip(initial, after, strict=True)
    ]
    factors = cell.factors(cell.parts(x), _from_previous(before[0], kernel, bias), before, after)
    d_states, d_initial = _loop_back(cell, kernel, factors, d_after)
    d_u = cell.d_u(factors, d_states)  # of all steps
    # Σ over steps of h_before ᵀ · d_u, as one large product.
    flat = [tf.reshape(tensor, [-1, tensor.shape[-1]]) for tensor in (before[0], d_u)]
    d_kernel = tf.matmul(*flat, transpose_a=True)
    d_bias = [tf.reduce_sum(flat[1], axis=0)] if bias else []
    return [cell.d_x(factors, d_states), d_kernel, *d_initial, *d_bias]


def _loop_back(cell, kernel, factors, d_after):
    """From the last step to the first: the gradients of the states after each step, of all paths.

    Returns:
      (a list of `[time, batch, units]`, a list of the gradients of the initial states).
    """
    time = tf.shape(d_after[0])[0]
    dtype = d_after[0].dtype

    def sequence(tensor):
        return tf.TensorArray(dtype, time, element_shape=tensor.shape[1:]).unstack(tensor)

    factors_at = [sequence(factor) for factor in factors]
    d_after_at = [sequence(d) for d in d_after]
    found = tuple(tf.TensorArray(dtype, time, element_shape=d.shape[1:]) for d in d_after)
    transposed = tf.linalg.matrix_transpose(kernel)

    def body(t, d_next, found):
        for _ in range(_STEPS_PER_ITERATION):
            t -= 1
            at = type(factors)(*(array.read(t) for array in factors_at))
            arriving = [d + array.read(t) for d, array in zip(d_next, d_after_at, strict=True)]
            d_states = cell.settled(at, arriving)
            found = tuple(a.write(t, d) for a, d in zip(found, d_states, strict=True))
            past_gates, *others = cell.d_direct(at, d_states)
            d_h = tf.matmul(cell.d_u(at, d_states), transposed)
            d_next = (d_h if past_gates is None else d_h + past_gates, *others)
        return t, d_next, found

    zeros = tuple(tf.zeros_like(d[0]) for d in d_after)
    _, d_initial, found = tf.while_loop(
        lambda t, *_: t > 0, body, (time, zeros, found), parallel_iterations=1
    )
    return [array.stack() for array in found], list(d_initial)
