"""Index order → buckets → skip → gather and pad → this worker's rows.

The order is a pure function of (seed, epoch, position): it is computed on indices, so that going
on in the middle of an epoch costs nothing, and it does not know how many replicas or workers there
are. Only then are tokens touched, and only those of this worker's rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sentiment_train.data.bucketing import BatchShapes
from sentiment_train.data.store import EncodedSplit
from sentiment_train.schema import Batch

FILLER = -1  # the index of a row of weight 0


@dataclass(frozen=True)
class PlannedBatch:
    """One global batch before any token is read."""

    length: int  # that every row is padded to
    rows: np.ndarray  # [batch_size] int64 indices into the split, FILLER at the end
    tokens: int  # real tokens in it

    @property
    def examples(self) -> int:
        return int(np.count_nonzero(self.rows != FILLER))

    @property
    def places(self) -> int:
        """Token places, padding included."""
        return self.length * len(self.rows)


@dataclass(frozen=True)
class RowSlice:
    """Which rows of a global batch this worker gathers.

    The global batch is filled up to a multiple of `replicas`; a replica gets equally many rows.
    """

    replicas: int = 1  # of all workers
    first_replica: int = 0  # of this worker
    local_replicas: int = 1

    def of(self, rows: np.ndarray) -> np.ndarray:
        """`[batch_size]` → `[local_replicas * rows_per_replica]`."""
        per_replica = -(-len(rows) // self.replicas)
        filler = np.full(per_replica * self.replicas - len(rows), FILLER, rows.dtype)
        start = self.first_replica * per_replica
        return np.concatenate([rows, filler])[start : start + self.local_replicas * per_replica]


def epoch_order(
    lengths: np.ndarray,
    shapes: BatchShapes,
    seed: int,
    epoch: int,
    rows: np.ndarray | None = None,
) -> list[PlannedBatch]:
    """The batches of one training epoch: every example once, shuffled within and over buckets.

    Args:
      lengths: `[n] int64` tokens of each row.
      rows: `[m] int64` indices of the rows to be trained on; None: all.

    Returns:
      The same for the same arguments on every machine: the shuffle sorts by raw Philox output, a
      stream that NumPy promises not to change.
    """
    rows = np.arange(len(lengths)) if rows is None else rows
    stream = np.random.Philox(key=np.array([seed & (2**64 - 1), epoch], np.uint64))
    order = rows[np.argsort(stream.random_raw(len(rows)), kind="stable")]
    batches = _planned(order, lengths, shapes)
    shuffled = np.argsort(stream.random_raw(len(batches)), kind="stable")
    return [batches[i] for i in shuffled]


def stored_order(lengths: np.ndarray, shapes: BatchShapes) -> list[PlannedBatch]:
    """The batches of an evaluation pass: every example once, in the order of the store."""
    return _planned(np.arange(len(lengths)), lengths, shapes)


def _planned(order: np.ndarray, lengths: np.ndarray, shapes: BatchShapes) -> list[PlannedBatch]:
    batches = []
    for chosen, size, length in shapes.cut(order, lengths):
        rows = np.full(size, FILLER, np.int64)
        rows[: len(chosen)] = chosen
        batches.append(PlannedBatch(length, rows, int(lengths[chosen].sum())))
    return batches


def gather(split: EncodedSplit, rows: np.ndarray, length: int) -> tuple[np.ndarray, ...]:
    """Reads rows from the store and pads them on the right.

    Args:
      rows: `[rows] int64` indices; FILLER gives one padding token and weight 0.

    Returns:
      tokens `[rows, length] int32`, lengths `[rows] int32`, labels `[rows] int32`,
      weights `[rows] float32`.
    """
    tokens = np.zeros((len(rows), length), np.int32)
    lengths = np.ones(len(rows), np.int32)
    labels = np.zeros(len(rows), np.int32)
    weights = np.zeros(len(rows), np.float32)
    for place, row in enumerate(rows):
        if row != FILLER:
            start, end = split.offsets[row], split.offsets[row + 1]
            tokens[place, : end - start] = split.tokens[start:end]
            lengths[place] = end - start
    real = rows != FILLER
    labels[real] = split.labels[rows[real]]
    weights[real] = split.weights[rows[real]]
    return tokens, lengths, labels, weights


def batches(split: EncodedSplit, planned: list[PlannedBatch], rows: RowSlice):
    """A `tf.data.Dataset` of `Batch`, one for each planned batch, gathered ahead in parallel.

    To go on at a position, pass the rest of the plan: what is skipped is never read.
    """
    import tensorflow as tf

    def read(index):
        plan = planned[int(index)]
        return gather(split, rows.of(plan.rows), plan.length)

    def to_batch(index):
        types = [tf.int32, tf.int32, tf.int32, tf.float32]
        tokens, lengths, labels, weights = tf.numpy_function(read, [index], types, stateful=False)
        tokens.set_shape([None, None])
        for vector in (lengths, labels, weights):
            vector.set_shape([None])
        return Batch({"tokens": tokens, "lengths": lengths}, labels, weights)

    options = tf.data.Options()
    options.deterministic = True
    dataset = tf.data.Dataset.range(len(planned)).map(to_batch, num_parallel_calls=2)
    return dataset.prefetch(4).with_options(options)
