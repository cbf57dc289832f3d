"""Dropout whose mask is a pure function of (seed, step, replica, layer).

Keras keeps a counter in a variable, which is the same on every replica and has to be updated
inside the compiled step. Here the step number comes in as a number and nothing is kept: replicas
drop different units, and a resumed run drops the same ones.
"""

from __future__ import annotations

import contextlib
import threading
import zlib

import keras
import tensorflow as tf

_current = threading.local()  # MirroredStrategy traces each replica in a thread of its own


@contextlib.contextmanager
def random_key(key):
    """Inside the block, layers called with `training=True` draw from `key` (`[2] int32`)."""
    _current.key = key
    try:
        yield
    finally:
        _current.key = None


def key_for(layer: keras.layers.Layer):
    """The current key folded with a layer's name: `[2] int32`.

    Raises:
      ValueError: outside of a `random_key` block.
    """
    key = getattr(_current, "key", None)
    if key is None:
        raise ValueError(f"{layer.name}: training=True needs `with random_key(key):` around it")
    return tf.random.experimental.stateless_fold_in(key, zlib.crc32(layer.name.encode()) >> 1)


class Dropout(keras.layers.Layer):
    """Sets a share `rate` of the inputs to 0 and scales the others by `1 / (1 - rate)`.

    Srivastava et al. 2014. With `whole_vectors`, `[batch, length, units]` inputs lose whole units
    for all steps of a text (Gal & Ghahramani 2016; `SpatialDropout1D` in Keras).
    """

    def __init__(self, rate: float, whole_vectors: bool = False, **options):
        super().__init__(**options)
        self.rate, self.whole_vectors = rate, whole_vectors

    def call(self, inputs, training=False):
        if not training or self.rate == 0:
            return inputs
        shape = tf.shape(inputs)
        if self.whole_vectors:
            shape = tf.stack([shape[0], 1, shape[2]])
        kept = tf.random.stateless_uniform(shape, key_for(self)) >= self.rate
        return inputs * tf.cast(kept, inputs.dtype) / (1.0 - self.rate)

    def compute_output_spec(self, inputs, training=False):
        return keras.KerasTensor(inputs.shape, inputs.dtype)
