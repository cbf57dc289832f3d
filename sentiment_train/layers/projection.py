"""What inputs add to the gates of a recurrent cell, before the loop over time."""

from __future__ import annotations

import tensorflow as tf

_SMALL_VOCABULARY = 4096  # words whose projections are cheaper made once than for every token


def projected(ids_or_vectors, table, kernel, bias, gates: int, sort: bool = False):
    """What the inputs add to each gate, a list of `[…, units]`.

    Args:
      ids_or_vectors: `[…, features]`, or `[…] int32` ids of rows of `table`.
      table: `[vocabulary, features]`; None with ids: these stand for one-hot vectors.
      kernel: `[features or vocabulary, gates · units]`.
      bias: `[gates · units]`.
      sort: whether gradients of looked-up projections are added up in the order of the ids. On a
        CPU that takes half the time; XLA cannot compile it.

    A one-hot vector times the kernel is a row of the kernel: the vectors are never made. Likewise
    the projection of a small table is made once, and its rows are looked up.
    """
    vectors = ids_or_vectors
    if ids_or_vectors.dtype.is_integer:
        table = kernel if table is None else table
        if table.shape[0] <= _SMALL_VOCABULARY or table is kernel:
            rows = kernel if table is kernel else tf.matmul(tf.cast(table, kernel.dtype), kernel)
            places = _places_by_id(ids_or_vectors) if sort else None
            of_gates = tf.split(rows + bias, gates, axis=-1)
            return [_rows(gate, ids_or_vectors, places) for gate in of_gates]
        vectors = tf.gather(tf.cast(table, kernel.dtype), ids_or_vectors)
    of_gates = zip(tf.split(kernel, gates, axis=-1), tf.split(bias, gates), strict=True)
    return [tf.tensordot(vectors, k, axes=1) + b for k, b in of_gates]


def _places_by_id(ids):
    """(places, sorted): `[n] int32` each, `flat[places] = sorted` of the n ids in a row."""
    flat = tf.reshape(ids, [-1])
    places = tf.argsort(flat, stable=True)
    return places, tf.gather(flat, places)


def _rows(table, ids, places=None):
    """Rows of a table `[size, units]`. The gradient of a common word has thousands of terms: it is
    summed in float32, for in half precision a sum of so many stops growing."""
    size, units = table.shape

    @tf.custom_gradient
    def run(table):
        def gradient(d_rows):
            d_rows = tf.cast(tf.reshape(d_rows, [-1, units]), tf.float32)
            if places is None:
                d_table = tf.math.unsorted_segment_sum(d_rows, tf.reshape(ids, [-1]), size)
            else:
                d_table = tf.sparse.segment_sum(d_rows, *places, num_segments=size)
            return tf.cast(d_table, table.dtype)

        return tf.gather(table, ids), gradient

    return run(table)
