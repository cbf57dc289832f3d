"""A batch of texts in portions of similar length: what one text costs does not depend on others.

Padded to the longest, a batch of 64 reviews is three quarters padding. So the rows are sorted by
length and cut into portions of about as many places each, which a device computes side by side. Few
texts, or short ones, are one portion.
"""

from __future__ import annotations

import tensorflow as tf

from sentiment_train.data.encoders import padded

_PLACES = 8192  # of tokens in a portion, padding included; a longer text is one by itself
_SIDE_BY_SIDE = 4  # portions at a time


def outputs_of(model, rows):
    """The outputs of a model that answers each row by itself, whatever its padding.

    Args:
      model: features, as `padded` makes them, → `[n, width] float32`.
      rows: `[n, (tokens), *inner]` ragged, any n.

    Returns:
      `[n, width] float32` in the order of the rows.
    """
    lengths = tf.cast(rows.row_lengths(), tf.int32)
    order = tf.argsort(lengths, direction="DESCENDING", stable=True)
    sorted_lengths, count = tf.gather(lengths, order), tf.size(order)

    def portion(i, start, found):
        size = tf.maximum(_PLACES // sorted_lengths[start], 1)
        features = padded(tf.gather(rows, order[start : start + size]))
        outputs = tf.cast(model(features, training=False), tf.float32)
        return i + 1, start + size, found.write(i, outputs)

    width = model.output_shape[-1]
    found = tf.TensorArray(
        tf.float32, 0, dynamic_size=True, infer_shape=False, element_shape=[None, width]
    )
    *_, found = tf.while_loop(
        lambda i, start, _: start < count,
        portion,
        (0, 0, found),
        parallel_iterations=_SIDE_BY_SIDE,
    )
    return tf.gather(found.concat(), tf.math.invert_permutation(order))
