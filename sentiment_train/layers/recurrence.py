"""Recurrent layers over rows of given lengths: our own loop over time, or Keras' layer for cuDNN.

Both are called with inputs, lengths and possibly a table of embeddings, have the same weights in
the same layout (that of Keras), and give the same numbers.

A step after the end of a row is computed, too, but changes nothing: padding is on the right, so in
the forward direction nothing that counts comes after it, and a backward layer turns each row
around by its own length first. What leaves the layer is what a state that is carried unchanged
through the padding would be: the last one forward, the initial one backward.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from sentiment_train.layers.cells import CELLS
from sentiment_train.layers.fused_lstm import MOST_ROWS, lstm_states
from sentiment_train.layers.projection import projected
from sentiment_train.layers.through_time import Loop, states_through_time

_LEAST_ROWS = 8  # of a batch in a piece of it


class _Recurrent(keras.layers.Layer):
    """What both kinds share: inputs turned around and looked up before, states chosen after.

    Args:
      cell: a name in `CELLS`.
      units: size of a state.
      backward: whether rows are read from their last token to their first.
      return_sequences: whether the state after every step is returned, or the last one of each row.
      return_state: whether the final states are returned as well, as Keras does: `(output, h)`,
        for an LSTM `(output, h, c)`.
      initial_state: zero, or learned as weights.
      one_hot_size: of the vocabulary, if inputs are token ids without a table.
    """

    def __init__(
        self,
        cell: str,
        units: int,
        backward: bool = False,
        return_sequences: bool = False,
        return_state: bool = False,
        initial_state: str = "zero",
        one_hot_size: int | None = None,
        **options,
    ):
        super().__init__(**options)
        self.cell, self.units, self.backward = CELLS[cell](), units, backward
        self.kind, self.one_hot_size = cell, one_hot_size
        self.return_sequences, self.return_state = return_sequences, return_state
        self.learned_start = initial_state == "learned"
        self.start = None

    def _build_start(self):
        if self.learned_start:
            self.start = _LearnedStart(self.cell.states, self.units, dtype=self.dtype_policy)
            self.start.build()

    @property
    def word_rows(self) -> tuple[str, ...]:
        """Names of the variables that have a row for each word."""
        return ("kernel",) if self.one_hot_size is not None else ()

    def call(self, inputs, lengths, table=None, training=False):
        """inputs `[batch, length, features]`, or `[batch, length] int32` ids of rows of `table`
        `[vocabulary, features]` (without a table: one-hot vectors), lengths `[batch] int32` ≥ 1 →
        `[batch, length, units]` or, of the last step, `[batch, units]`."""
        if self.backward:
            inputs = tf.reverse_sequence(inputs, lengths, seq_axis=1)
        states, last = self._run(inputs, lengths, table, training)
        output = self._in_order(states, last[0], lengths) if self.return_sequences else last[0]
        return (output, *last) if self.return_state else output

    def _in_order(self, states, last, lengths):
        """`[batch, length, units]` states in the order of the text, carried through the padding."""
        mask = tf.sequence_mask(lengths, tf.shape(states)[1])[:, :, None]
        if not self.backward:
            return tf.where(mask, states, last[:, None, :])
        states = tf.reverse_sequence(states, lengths, seq_axis=1)
        return tf.where(mask, states, self.initial_states(states)[0][:, None, :])

    def initial_states(self, inputs):
        """The states before the first step, a tuple of `[batch, units]`; of inputs only the number
        of rows counts."""
        if self.start is not None:
            return self.start(inputs)
        zeros = tf.zeros([tf.shape(inputs)[0], self.units], self.compute_dtype)
        return (zeros,) * self.cell.states

    def compute_output_spec(self, inputs, lengths, table=None, training=False):
        last = keras.KerasTensor([inputs.shape[0], self.units], self.compute_dtype)
        output = last
        if self.return_sequences:
            shape = [inputs.shape[0], inputs.shape[1], self.units]
            output = keras.KerasTensor(shape, self.compute_dtype)
        return (output, *[last] * self.cell.states) if self.return_state else output


class _LearnedStart(keras.layers.Layer):
    """The states before the first token as weights `[1, units]`, the same for every row."""

    def __init__(self, states: int, units: int, **options):
        super().__init__(name="start", **options)
        self.names, self.units = ("hidden", "cell")[:states], units

    def build(self, inputs_shape=None):
        shape = (1, self.units)
        self.starts = [
            self.add_weight(name=n, shape=shape, initializer="zeros") for n in self.names
        ]

    def call(self, inputs):
        starts = [tf.cast(tf.convert_to_tensor(s), self.compute_dtype) for s in self.starts]
        return tuple(tf.tile(start, [tf.shape(inputs)[0], 1]) for start in starts)


class Recurrence(_Recurrent):
    """A recurrent layer from low-level operations only; in training, differentiated by hand.

    Args:
      loops: how those over time are executed. plain: operation by operation; xla: by the XLA
        program that all of the step is in; compiled: in training, each by an XLA program of its
        own, one for each core; compiled_parts: the same by two programs for all lengths; served:
        plain, and of a few rows by one op, which has no gradient.
      pieces: into which a batch is cut for compiled loops, to be computed side by side.
    """

    def __init__(self, cell: str, units: int, loops: str = "plain", pieces: int = 1, **options):
        super().__init__(cell, units, **options)
        self.loops, self.pieces = loops, pieces

    def build(self, inputs_shape, lengths_shape=None, table_shape=None):
        features = self.one_hot_size or (table_shape or inputs_shape)[-1]
        gates = self.cell.gates * self.units
        self.kernel = self.add_weight(
            name="kernel", shape=(features, gates), initializer="glorot_uniform"
        )
        self.recurrent_kernel = self.add_weight(
            name="recurrent_kernel", shape=(self.units, gates), initializer="orthogonal"
        )
        shape = (2, gates) if self.cell.has_recurrent_bias else (gates,)
        self.bias = self.add_weight(name="bias", shape=shape, initializer=self._initial_bias)
        self._build_start()

    def _initial_bias(self, shape, dtype=None):
        """Zeros; ones for the forget gate (Jozefowicz et al. 2015, section 2.2)."""
        zeros = tf.zeros(shape, dtype)
        if self.kind != "lstm":
            return zeros
        return tf.concat([zeros[: self.units], zeros[: self.units] + 1, zeros[2 * self.units :]], 0)

    def _run(self, inputs, lengths, table, training):
        """The hidden states `[batch, length, units]`, and final states `[batch, units]`: the hidden
        one, and the others if they are returned."""
        compiled = bool(training) and self.loops in ("compiled", "compiled_parts")
        loop = Loop(
            self.kind,
            returned=self.cell.states if self.return_state else 1,
            per_iteration=1 if compiled or self.loops == "xla" else 4,
            compiled=compiled,
            in_parts=compiled and self.loops == "compiled_parts",
        )
        weights = self._weights()
        few = inputs.shape[0] is not None and inputs.shape[0] < self.pieces * _LEAST_ROWS
        pieces = self.pieces if compiled and not few else 1
        found = [
            self._run_piece(loop, weights, ids, n, table, bool(training))
            for ids, n in zip(_cut(inputs, pieces), _cut(lengths, pieces), strict=True)
        ]
        states, *last = (tf.concat(part, axis=0) for part in zip(*found, strict=True))
        return states, last

    def _run_piece(self, loop: Loop, weights, inputs, lengths, table, training: bool):
        kernel, recurrent_kernel, input_bias, recurrent_bias = weights
        in_time_order = tf.transpose(inputs, [1, 0, *range(2, len(inputs.shape))])
        in_time_order = _filled_up(in_time_order, loop.multiple_of)
        initial = self.initial_states(inputs)

        def by_loop():
            gates, sort = self.cell.gates, loop.compiled  # that is, on a CPU
            x = projected(in_time_order, table, kernel, input_bias, gates, sort)
            return states_through_time(loop, x, recurrent_kernel, recurrent_bias, initial, training)

        def fused():
            vectors = in_time_order
            if table is not None:
                vectors = tf.gather(tf.cast(table, self.compute_dtype), vectors)
            states = lstm_states(vectors, kernel, recurrent_kernel, input_bias, initial)
            return states[: loop.returned]

        if self._may_be_fused():
            states = tf.cond(tf.shape(inputs)[0] <= MOST_ROWS, fused, by_loop)
        else:
            states = by_loop()
        states = [tf.transpose(sequence, [1, 0, 2]) for sequence in states]
        last = [_at_the_end(sequence, lengths) for sequence in states]
        return states[0][:, : tf.shape(inputs)[1]], *last

    def _may_be_fused(self) -> bool:
        """Whether one op may do all steps for a few rows; see `fused_lstm`."""
        fits = self.kind == "lstm" and self.one_hot_size is None
        return fits and self.loops == "served" and self.compute_dtype == "float32"

    def step(self, inputs, states, table=None):
        """One step alone: inputs as in `call` without the axis of time, states a tuple of
        `[batch, units]` → the states after it."""
        if table is not None:
            inputs = tf.gather(tf.cast(table, self.compute_dtype), inputs)
        kernel, recurrent_kernel, input_bias, recurrent_bias = self._weights()
        u = tf.matmul(states[0], recurrent_kernel)
        if recurrent_bias is not None:
            u += recurrent_bias
        x = projected(inputs, None, kernel, input_bias, self.cell.gates)
        return self.cell.step(x, u, states)[0]

    def _weights(self):
        """Kernel, recurrent kernel and the bias of each, or None."""
        kernel, recurrent_kernel, bias = (
            tf.cast(tf.convert_to_tensor(weight), self.compute_dtype)
            for weight in (self.kernel, self.recurrent_kernel, self.bias)
        )
        biases = tf.unstack(bias) if self.cell.has_recurrent_bias else (bias, None)
        return kernel, recurrent_kernel, *biases


class KerasRecurrence(_Recurrent):
    """The Keras layer behind the same call; cuDNN computes it where there is a GPU.

    cuDNN wants padding on the right and no row that is padding only: a backward row is turned
    around by its length before the layer and not by the layer, so both hold in both directions.
    """

    def __init__(self, cell: str, units: int, use_cudnn: bool = False, **options):
        super().__init__(cell, units, **options)
        kinds = {"simple": "SimpleRNN", "gru": "GRU", "lstm": "LSTM"}
        # Left alone, Keras takes cuDNN on every GPU: also under XLA, and in what is exported.
        cudnn = {} if cell == "simple" else {"use_cudnn": "auto" if use_cudnn else False}
        self.layer = getattr(keras.layers, kinds[cell])(
            units,
            return_sequences=True,
            return_state=True,
            name="layer",
            dtype=self.dtype_policy,
            **cudnn,
        )

    def build(self, inputs_shape, lengths_shape=None, table_shape=None):
        features = self.one_hot_size or (table_shape or inputs_shape)[-1]
        self.layer.build((*inputs_shape[:2], features))
        self._build_start()

    @property
    def variables(self):
        """Without the seed that Keras keeps for a dropout that is never used here."""
        return self.weights

    def _run(self, inputs, lengths, table, training):
        if table is not None:
            inputs = tf.gather(tf.cast(table, self.compute_dtype), inputs)
        mask = tf.sequence_mask(lengths, tf.shape(inputs)[1])
        initial = list(self.initial_states(inputs))
        states, *last = self.layer(inputs, mask=mask, initial_state=initial)
        return states, last

    def step(self, inputs, states, table=None):
        """As that of `Recurrence`."""
        if table is not None:
            inputs = tf.gather(tf.cast(table, self.compute_dtype), inputs)
        return tuple(self.layer.cell(inputs, list(states))[1])


def _cut(rows, pieces: int):
    """`[batch, …]` → a list of `pieces` tensors of about as many rows; the last may have none."""
    if pieces == 1:
        return [rows]
    count = tf.shape(rows)[0] if rows.shape[0] is None else rows.shape[0]
    size = (count + pieces - 1) // pieces
    return [rows[size * piece : size * (piece + 1)] for piece in range(pieces)]


def _filled_up(inputs, multiple_of: int):
    """Inputs `[length, batch, …]` → with zeros at the end; they change nothing before them."""
    length = inputs.shape[0]
    if multiple_of == 1 or (length is not None and length % multiple_of == 0):
        return inputs
    missing = -tf.shape(inputs)[0] % multiple_of
    return tf.pad(inputs, [[0, missing], *[[0, 0]] * (len(inputs.shape) - 1)])


def _at_the_end(states, lengths):
    """`[batch, length, units]` → `[batch, units]`, the state after the last token of each row."""
    return tf.gather(states, lengths - 1, axis=1, batch_dims=1)
