"""Where the word vectors of a model may be moved from outside, and their gradient be asked for."""

from __future__ import annotations

import contextlib
import threading

import keras
import tensorflow as tf

from sentiment_train.errors import ConfigError

_current = threading.local()  # MirroredStrategy traces each replica in a thread of its own
# Between two neighbouring numbers from 1 to 2.
_SPACING = {"bfloat16": 2.0**-7, "float16": 2.0**-10, "float32": 2.0**-23}


class WordVectors:
    """Those of one call of a model.

    Attributes:
      vectors: `[batch, length, units]`, as the model went on with them; None if it shows none.
      lengths: `[batch] int32`.
    """

    def __init__(self, tape: tf.GradientTape, move=None):
        self.tape, self.move = tape, move
        self.vectors = self.lengths = None

    def moved(self, vectors, lengths):
        """Moves and notes them; they are watched from there on."""
        if self.move is not None:
            vectors += tf.cast(self.move, vectors.dtype)
        self.tape.watch(vectors)
        self.vectors, self.lengths = vectors, lengths
        return vectors

    def seen(self):
        """The vectors.

        Raises:
          ConfigError: if the model that was called shows none.
        """
        if self.vectors is None:
            raise ConfigError(
                "CrossEntropy.regulariser moves word vectors, and no layer of this model shows any:"
                " let a layers.perturbation.Perturbable have them."
            )
        return self.vectors

    def of_real_tokens(self, values):
        """`[batch, length, units]` → the same in float32, 0 where there is only padding."""
        mask = tf.sequence_mask(self.lengths, tf.shape(values)[1], tf.float32)
        return tf.cast(values, tf.float32) * mask[:, :, None]

    def rounding(self):
        """`[batch, 1, 1] float32`: the norm that a move needs to count as much as the rounding of
        what is moved; a random one that is shorter mostly vanishes."""
        vectors = self.of_real_tokens(self.seen())
        return _SPACING[self.vectors.dtype.name] * l2_norms(vectors)


def l2_norms(values):
    """`[batch, length, units] float32` → `[batch, 1, 1]`."""
    return tf.sqrt(tf.reduce_sum(tf.square(values), axis=[1, 2], keepdims=True))


@contextlib.contextmanager
def word_vectors(tape: tf.GradientTape, move=None):
    """Inside the block, a model that is called moves its word vectors; gives its `WordVectors`.

    Args:
      tape: will know the gradient by the moved vectors.
      move: `[batch, length, units] float32` to be added to them; None: nothing.
    """
    _current.words = WordVectors(tape, move)
    try:
        yield _current.words
    finally:
        _current.words = None


class Perturbable(keras.layers.Layer):
    """vectors `[batch, length, units]`, lengths `[batch] int32` → the vectors, as they are outside
    of a `word_vectors` block. A model has one such layer at most."""

    def call(self, vectors, lengths):
        words = getattr(_current, "words", None)
        return vectors if words is None else words.moved(vectors, lengths)

    def compute_output_spec(self, vectors, lengths):
        return keras.KerasTensor(vectors.shape, vectors.dtype)
