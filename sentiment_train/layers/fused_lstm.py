"""All steps of an LSTM in one op of TensorFlow: for answers to a few texts, on a CPU.

A step of our loop over time is two dozen ops, and with a few rows each costs more to start than to
compute. With 64 units [1 × 200] took 1.2 ms of CPU time in place of 2.8, and [16 × 400] 9.6 ms in
place of 17.8; of 64 rows it took more. XLA cannot compile it, and its gradient in TensorFlow 2.21
differed from that of Keras' layer and of ours: so it is for served models only.
"""

from __future__ import annotations

import tensorflow as tf

MOST_ROWS = 32  # of a batch for which it is the faster one


def lstm_states(inputs, kernel, recurrent_kernel, bias, initial):
    """The states after every step, of the equations of `cells.LstmCell`; without a gradient.

    Args:
      inputs: `[time, batch, features] float32`.
      kernel: `[features, 4 · units]`, gates in the order of Keras, which is that of the op.
      recurrent_kernel: `[units, 4 · units]`.
      bias: `[4 · units]`.
      initial: hidden state and cell state, `[batch, units]` each.

    Returns:
      Hidden states and cell states, `[time, batch, units]` each.
    """
    hidden, cell = initial
    peephole = tf.zeros([recurrent_kernel.shape[0]])  # not used, but asked for
    found = tf.raw_ops.BlockLSTMV2(
        seq_len_max=tf.shape(inputs, tf.int64)[0],
        x=inputs,
        cs_prev=cell,
        h_prev=hidden,
        w=tf.concat([kernel, recurrent_kernel], axis=0),
        wci=peephole,
        wcf=peephole,
        wco=peephole,
        b=bias,
        cell_clip=0.0,
        use_peephole=False,
    )
    why = "A served LSTM has no gradient; train one with sentiment_train.main."
    return tuple(tf.raw_ops.PreventGradient(input=s, message=why) for s in (found.h, found.cs))
