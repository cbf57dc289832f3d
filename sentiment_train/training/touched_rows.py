"""Updates of the rows of a large table that a batch has touched, and of no others.

A gradient of looked-up rows is a `tf.IndexedSlices`: row numbers and a gradient for each. Made
dense, it is as large as the table, and Adam moves every row in every step, because moments fade
without a gradient, too. Here the rows stay rows, and moments and weights of the others stay as they
are ("lazy" or sparse Adam, as `torch.optim.SparseAdam`). That is another training: a word that is
seen rarely keeps its momentum until it is seen again, and is not moved by it in between.

A row is touched if its gradient, summed over the batch and all replicas, is not 0; so padding and
the rows that fill up a batch touch nothing, however many replicas there are.

How many rows a batch touches is not known beforehand, and a TPU, which compiles the whole step,
wants to know. There the gradient keeps as many places as the batch has look-ups; those that are
left over have row 0 and a gradient of 0, and add 0 to it.
"""

from __future__ import annotations

import keras
import tensorflow as tf


class _TouchedRows:
    """Mixed into a Keras optimizer that has the moments of Adam."""

    takes_rows = True  # `TrainStep` then leaves gradients of rows as they are

    def update_step(self, gradient, variable, learning_rate):
        if not isinstance(gradient, tf.IndexedSlices):
            super().update_step(gradient, variable, learning_rate)
            return
        place, rows, g = self._get_variable_index(variable), gradient.indices, gradient.values
        momentum, velocity = self._momentums[place], self._velocities[place]
        m, v = tf.gather(momentum.value, rows), tf.gather(velocity.value, rows)
        touched = _touched(g)  # all, but for the places that are left over
        to_m = tf.where(touched, (g - m) * (1.0 - self.beta_1), 0.0)
        to_v = tf.where(touched, (tf.square(g) - v) * (1.0 - self.beta_2), 0.0)
        self.assign_add(momentum, tf.IndexedSlices(to_m, rows))
        self.assign_add(velocity, tf.IndexedSlices(to_v, rows))
        m, v = m + to_m, v + to_v
        step = tf.cast(self.iterations, tf.float32) + 1.0
        v_hat = v / (1.0 - tf.pow(self.beta_2, step))
        move = learning_rate * self._mean(g, m, step) / (tf.sqrt(v_hat) + self._floor(step))
        self.assign_sub(variable, tf.IndexedSlices(tf.where(touched, move, 0.0), rows))


class AdamOfTouchedRows(_TouchedRows, keras.optimizers.Adam):
    """Adam; of a table only the rows with a gradient."""

    def _mean(self, g, m, step):
        return m / (1.0 - tf.pow(self.beta_1, step))

    def _floor(self, step):
        """Keras adds epsilon before the bias of the velocity is corrected."""
        return self.epsilon / tf.sqrt(1.0 - tf.pow(self.beta_2, step))


class NadamOfTouchedRows(_TouchedRows, keras.optimizers.Nadam):
    """Nadam; of a table only the rows with a gradient."""

    def _mean(self, g, m, step):
        now, after = (self.beta_1 * (1.0 - 0.5 * tf.pow(0.96, s)) for s in (step, step + 1.0))
        product = tf.cast(self._u_product, tf.float32)
        return after * m / (1.0 - product * after) + (1.0 - now) * g / (1.0 - product)

    def _floor(self, step):
        return self.epsilon


def in_float32(gradient, keep_rows: bool):
    """A gradient as a dense tensor, or, if it is of rows and they are to be kept, as it is."""
    if not keep_rows or not isinstance(gradient, tf.IndexedSlices):
        return tf.cast(tf.convert_to_tensor(gradient), tf.float32)
    return map_values(lambda values: tf.cast(values, tf.float32), gradient)


def added(gradient, other):
    """The sum of two gradients by the same weight; of rows it stays one of rows."""
    if not isinstance(gradient, tf.IndexedSlices) or not isinstance(other, tf.IndexedSlices):
        return tf.convert_to_tensor(gradient) + tf.convert_to_tensor(other)
    values = tf.concat([gradient.values, other.values], axis=0)
    rows = tf.concat([gradient.indices, other.indices], axis=0)
    return tf.IndexedSlices(values, rows, gradient.dense_shape)


def summed(gradient: tf.IndexedSlices, replica, static: bool = False) -> tf.IndexedSlices:
    """In a replica: the sum over all replicas, each touched row once.

    Args:
      static: whether the shapes must be known when the step is traced: the rows in rising order,
        then places that are left over. Otherwise in the order of their first use.
    """
    rows, values = gradient.indices, gradient.values
    if static:
        rows = tf.cast(rows, tf.int32)  # a TPU does not sum int64 over its cores
    if replica.num_replicas_in_sync > 1:
        rows, values = replica.all_gather(rows, axis=0), replica.all_gather(values, axis=0)
    if static:
        return tf.IndexedSlices(*_sum_of_equal_rows(values, rows), gradient.dense_shape)
    rows, place = tf.unique(rows)
    values = tf.math.unsorted_segment_sum(values, place, tf.size(rows))
    touched = tf.reshape(_touched(values), [-1])
    return tf.IndexedSlices(
        tf.boolean_mask(values, touched), tf.boolean_mask(rows, touched), gradient.dense_shape
    )


def _sum_of_equal_rows(values, rows):
    """`[n, d]` values of `[n]` rows, summed by row, with n places again: the rows that there are,
    then zeros of row 0."""
    order = tf.argsort(rows, stable=True)
    rows = tf.gather(rows, order)
    begins = tf.concat([[True], rows[1:] != rows[:-1]], axis=0)
    place = tf.cumsum(tf.cast(begins, tf.int32)) - 1  # of each, among the rows that there are
    places = tf.size(rows)  # in a graph that was imported a shape may be known to XLA alone
    values = tf.math.unsorted_segment_sum(tf.gather(values, order), place, places)
    rows = tf.math.unsorted_segment_max(rows, place, places)  # of none: the least number
    return values, tf.maximum(rows, 0)


def _touched(values):
    """`[n, d]` → `[n, 1]` bool."""
    return tf.reduce_any(values != 0.0, axis=tf.range(1, tf.rank(values)), keepdims=True)


def map_values(function, gradient):
    """Applies a function of tensors to a gradient, dense or of rows."""
    if isinstance(gradient, tf.IndexedSlices):
        values = function(gradient.values)
        return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
    return function(gradient)
