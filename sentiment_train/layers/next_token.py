"""The output of a language model: how probable the tokens of a text are, each given those before.

The logits of a batch of 8,000 tokens over 20,000 words would take 640 MB, and their gradient as
much again. So they are never there all at once: they are made in pieces, and a second time for
the gradient, and only sums leave the layer.
"""

from __future__ import annotations

import keras
import tensorflow as tf

_LOGITS_AT_ONCE = 2**23  # 32 MB


class NextToken(keras.layers.Layer):
    """Softmax over the vocabulary after every state, for one direction of reading or for two.

    Called with forward states `[batch, length, units]`, tokens `[batch, length] int32` and lengths
    `[batch] int32`; gives `[batch, 3] float32`: the log-probability of each text in nats, the
    number of its predictions, and how many of them put the right token first.

    A forward state at t has read the tokens up to t and predicts the token at t + 1; a backward
    one has read from t to the end and predicts that at t - 1. The two are language models of
    their own that share embedding and softmax (Peters et al. 2018, section 3.1), and each counts
    as a prediction. The first token that a direction meets is predicted from a learned vector
    `start`. That a text ends is not predicted.

    Optional inputs are the backward states `[batch, length, units]`, and a table
    `[vocabulary, units]` of embeddings that is the kernel of the softmax as well (Press & Wolf
    2017; Inan et al. 2017).
    """

    word_rows = ("kernel", "bias")  # the variables that have a row for each word

    def __init__(self, vocabulary_size: int, **options):
        super().__init__(**{"dtype": "float32", **options})
        self.vocabulary_size = vocabulary_size

    def build(
        self, forward_shape, tokens_shape, lengths_shape, backward_shape=None, table_shape=None
    ):
        units = forward_shape[-1]
        self.directions = 1 if backward_shape is None else 2
        self.tied = table_shape is not None
        self.start = self.add_weight(
            name="start", shape=(self.directions, units), initializer="glorot_uniform"
        )
        self.bias = self.add_weight(name="bias", shape=(self.vocabulary_size,), initializer="zeros")
        if not self.tied:
            self.kernel = self.add_weight(
                name="kernel", shape=(self.vocabulary_size, units), initializer="glorot_uniform"
            )

    def compute_output_spec(self, forward, tokens, lengths, backward=None, table=None):
        return keras.KerasTensor((tokens.shape[0], 3), "float32")

    def call(self, forward, tokens, lengths, backward=None, table=None):
        scores = self.per_token(forward, tokens, lengths, backward, table)
        real = tf.sequence_mask(lengths, tf.shape(tokens)[1], tf.float32)[:, :, None]
        log_probability, correct = (tf.reduce_sum(s * real, axis=(1, 2)) for s in scores)
        count = tf.cast(lengths * self.directions, tf.float32)
        return tf.stack([log_probability, count, correct], axis=1)

    def per_token(self, forward, tokens, lengths, backward=None, table=None):
        """Log-probability and correctness of every token, each `[batch, length, directions]`.

        What stands at places of padding means nothing.
        """
        before = self._before(forward, backward, lengths)  # [batch, length, directions, units]
        targets = tf.repeat(tokens[:, :, None], self.directions, axis=2)
        scores = scores_of_tokens(
            tf.reshape(before, [-1, before.shape[-1]]),
            tf.convert_to_tensor(self.kernel) if table is None else table,
            tf.convert_to_tensor(self.bias),
            tf.reshape(targets, [-1]),
        )
        return tuple(tf.reshape(score, tf.shape(targets)) for score in scores)

    def logits(self, states, table=None):
        """`[n, units]` states of one direction → `[n, vocabulary]` logits of the next token."""
        kernel = tf.convert_to_tensor(self.kernel) if table is None else table
        states, kernel = tf.cast(states, tf.float32), tf.cast(kernel, tf.float32)
        return tf.nn.bias_add(tf.matmul(states, kernel, transpose_b=True), self.bias)

    def _before(self, forward, backward, lengths):
        """At every place the states of those directions that have not read its token yet."""
        places = tf.range(tf.shape(forward)[1])[None, :, None]
        start = tf.convert_to_tensor(self.start)
        shifted = [tf.where(places == 0, start[0], tf.roll(forward, 1, axis=1))]
        if backward is not None:
            last = lengths[:, None, None] - 1
            shifted.append(tf.where(places == last, start[1], tf.roll(backward, -1, axis=1)))
        return tf.stack(shifted, axis=2)


def scores_of_tokens(states, kernel, bias, targets):
    """Log-probability of the targets, and 1 where a target is the likeliest, each `[n] float32`.

    Args:
      states: `[n, units] float32`.
      kernel: `[vocabulary, units] float32`.
      bias: `[vocabulary] float32`.
      targets: `[n] int32`.
    """
    n = states.shape[0]
    if n is not None and n * kernel.shape[0] <= _LOGITS_AT_ONCE:
        return _scores(states, kernel, bias, targets)
    return _scores_in_pieces(states, kernel, bias, targets)


def _scores(states, kernel, bias, targets):
    logits = tf.nn.bias_add(tf.matmul(states, kernel, transpose_b=True), bias)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
    hits = tf.equal(tf.argmax(logits, axis=-1, output_type=tf.int32), targets)
    return -losses, tf.cast(hits, tf.float32)


@tf.custom_gradient
def _scores_in_pieces(states, kernel, bias, targets):
    n = states.shape[0] if states.shape[0] is not None else tf.shape(states)[0]
    count = n // max(_LOGITS_AT_ONCE // kernel.shape[0], 1) + 1
    pieces = _Pieces(n, count)
    states, targets = pieces.of(states), pieces.of(targets)

    def forward(i, scores):
        found = _scores(states[i], kernel, bias, targets[i])
        return i + 1, [array.write(i, score) for array, score in zip(scores, found, strict=True)]

    _, scores = pieces.loop(forward, [pieces.array([]), pieces.array([])])

    def gradient(d_log_probability, _):
        d = pieces.of(d_log_probability)

        def backward(i, d_states, d_kernel, d_bias):
            logits = tf.nn.bias_add(tf.matmul(states[i], kernel, transpose_b=True), bias)
            wanted = tf.one_hot(targets[i], kernel.shape[0])
            d_logits = d[i][:, None] * (wanted - tf.nn.softmax(logits))
            d_states = d_states.write(i, tf.matmul(d_logits, kernel))
            d_kernel += tf.matmul(d_logits, states[i], transpose_a=True)
            return i + 1, d_states, d_kernel, d_bias + tf.reduce_sum(d_logits, axis=0)

        _, d_states, d_kernel, d_bias = pieces.loop(
            backward, pieces.array([kernel.shape[1]]), tf.zeros_like(kernel), tf.zeros_like(bias)
        )
        return pieces.joined(d_states), d_kernel, d_bias, None

    return [pieces.joined(score) for score in scores], gradient


class _Pieces:
    """n rows cut into `count` pieces of one size; n and count may be tensors."""

    def __init__(self, n, count):
        self.n, self.count, self.size = n, count, n // count + 1

    def of(self, rows):
        """`[n, …]` → `[count, size, …]`, with zeros at the end."""
        missing = [[0, self.count * self.size - self.n]]
        rows = tf.pad(rows, missing + [[0, 0]] * (len(rows.shape) - 1))
        return tf.reshape(rows, [self.count, self.size, *rows.shape[1:]])

    def array(self, shape):
        """Room for a result of every piece, `[size, *shape]` each."""
        size = self.size if isinstance(self.size, int) else None
        return tf.TensorArray(tf.float32, self.count, element_shape=[size, *shape])

    def joined(self, array):
        """The results of all pieces as `[n, …]`."""
        return array.concat()[: self.n]

    def loop(self, body, *values):
        """One piece after the other, so that the memory of only one is needed."""
        return tf.while_loop(
            lambda i, *_: i < self.count, body, (0, *values), parallel_iterations=1
        )
