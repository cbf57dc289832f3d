"""Index order → buckets → skip → gather and pad → this worker's rows.

The order is a pure function of (seed, epoch, position): it is computed on indices, so that going
on in the middle of an epoch costs nothing, and it does not know how many replicas or workers there
are. Only then are tokens touched, and only those of this worker's rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

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
    shortest: int = 1  # row that may be in such a batch

    @property
    def examples(self) -> int:
        return int(np.count_nonzero(self.rows != FILLER))

    @property
    def places(self) -> int:
        """Token places, padding included."""
        return self.length * len(self.rows)


class Fed(NamedTuple):
    """What one call of the training step gets."""

    # Of one planned batch, distributed over the replicas; or, for calls of several steps, this
    # worker's rows, leaves `[steps per call, rows, …]`, of which the first ones are planned.
    batch: Batch
    planned: tuple[PlannedBatch, ...]  # or others that know examples, tokens, places, length
    ends_epoch: bool
    stream_position: int = 0  # where a stream of shards would go on; see `data.streaming`


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
    in_a_row: int = 1,
) -> list[PlannedBatch]:
    """The batches of one training epoch: every example once, shuffled within and over buckets.

    Args:
      lengths: `[n] int64` tokens of each row.
      rows: `[m] int64` indices of the rows to be trained on; None: all.
      in_a_row: so many batches of one shape stay together, because one call takes them all.

    Returns:
      The same for the same arguments on every machine: the shuffle sorts by raw Philox output, a
      stream that NumPy promises not to change.
    """
    rows = np.arange(len(lengths)) if rows is None else rows
    stream = np.random.Philox(key=np.array([seed & (2**64 - 1), epoch], np.uint64))
    order = rows[np.argsort(stream.random_raw(len(rows)), kind="stable")]
    blocks, batches = [], _planned(order, lengths, shapes)
    start = 0
    while start < len(batches):
        end = start + of_one_shape(batches[start : start + in_a_row])
        blocks.append(batches[start:end])
        start = end
    shuffled = np.argsort(stream.random_raw(len(blocks)), kind="stable")
    return [batch for i in shuffled for batch in blocks[i]]


def of_one_shape(planned: Sequence[PlannedBatch]) -> int:
    """How many batches there are before the first one of another shape."""
    shapes = [(batch.length, len(batch.rows)) for batch in planned]
    return next((i for i, shape in enumerate(shapes) if shape != shapes[0]), len(shapes))


def stored_order(lengths: np.ndarray, shapes: BatchShapes) -> list[PlannedBatch]:
    """The batches of an evaluation pass: every example once, in the order of the store."""
    return _planned(np.arange(len(lengths)), lengths, shapes)


def _planned(order: np.ndarray, lengths: np.ndarray, shapes: BatchShapes) -> list[PlannedBatch]:
    bounds = getattr(shapes, "lengths", ())  # of buckets
    shortest = {length: before + 1 for before, length in zip((0, *bounds), bounds, strict=False)}
    batches = []
    for chosen, size, length in shapes.cut(order, lengths):
        rows = np.full(size, FILLER, np.int64)
        rows[: len(chosen)] = chosen
        tokens = int(lengths[chosen].sum())
        batches.append(PlannedBatch(length, rows, tokens, shortest.get(length, 1)))
    return batches


def gather(split: EncodedSplit, rows: np.ndarray, length: int) -> tuple[np.ndarray, ...]:
    """Reads rows from the store and pads them on the right.

    Args:
      rows: `[rows] int64` indices; FILLER gives one padding token and weight 0.

    Returns:
      tokens `[rows, length, *inner]` of the store's type, lengths `[rows] int32`,
      labels `[rows] int32`, weights `[rows] float32`.
    """
    # As plain arrays: every operation on a memory map costs as much as a whole row.
    flat, offsets = np.asarray(split.tokens), np.asarray(split.offsets)
    real = rows != FILLER
    chosen = np.where(real, rows, 0)
    starts = offsets[chosen]
    counts = (offsets[chosen + 1] - starts) * real
    places = np.arange(length)
    # One look-up for all places; those behind the end of a row hold others' tokens, or beyond the
    # last row the last token, until they are emptied.
    tokens = flat.take(starts[:, None] + places, axis=0, mode="clip")
    tokens[places >= counts[:, None]] = 0
    lengths = np.maximum(counts, 1).astype(np.int32)
    return tokens, lengths, *labels_and_weights(split, rows)


def labels_and_weights(split: EncodedSplit, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`[rows] int64` → labels `[rows] int32`, weights `[rows] float32`; of FILLER 0 and 0."""
    real = rows != FILLER
    chosen = np.where(real, rows, 0)
    labels, weights = np.asarray(split.labels)[chosen], np.asarray(split.weights)[chosen]
    return np.where(real, labels, np.int32(0)), np.where(real, weights, np.float32(0))


def batches(
    split: EncodedSplit, planned: Sequence[PlannedBatch], rows: RowSlice
) -> Iterator[Batch]:
    """The values of each planned batch, as numpy arrays.

    Gathered when they are asked for: a batch takes some 40 µs, and a pipeline that did it in the
    background would hold up the training step for longer, because both need Python.
    To go on at a position, pass the rest of the plan: what is skipped is never read.
    """
    for plan in planned:
        tokens, lengths, labels, weights = gather(split, rows.of(plan.rows), plan.length)
        yield Batch({"tokens": tokens, "lengths": lengths}, labels, weights)


def in_tensors(batch: Batch) -> Batch:
    """The same as tensors in the memory of the host, if it is not yet."""
    import tensorflow as tf

    def tensor(array):
        return tf.constant(array) if isinstance(array, np.ndarray) else array

    with tf.device("/cpu:0"):
        features = {name: tensor(array) for name, array in batch.features.items()}
        return Batch(features, tensor(batch.labels), tensor(batch.weights))


def together(
    split: EncodedSplit, planned: Sequence[PlannedBatch], rows: RowSlice, count: int
) -> Batch:
    """The values of several batches of one shape, leaves `[count, rows, …]`; what is not planned is
    filler. All are gathered at once, in the time of two or three of them."""
    of_each = [rows.of(plan.rows) for plan in planned]
    of_each += [np.full_like(of_each[0], FILLER)] * (count - len(planned))
    arrays = gather(split, np.concatenate(of_each), planned[0].length)
    tokens, lengths, labels, weights = (a.reshape(count, -1, *a.shape[1:]) for a in arrays)
    return Batch({"tokens": tokens, "lengths": lengths}, labels, weights)


def stacked(batches: Sequence[Batch], count: int) -> Batch:
    """Batches of one shape as one with leaves `[count, rows, …]`; the last one fills it up."""
    import tensorflow as tf

    batches = [*batches, *batches[-1:] * (count - len(batches))]
    return tf.nest.map_structure(lambda *leaves: tf.stack(leaves), *batches)


def fed(
    read: Callable[[tuple[PlannedBatch, ...]], Batch],
    planned: Sequence[PlannedBatch],
    most: Callable[[], int],
) -> Iterator[Fed]:
    """Batches in the portions that the training step takes them.

    Args:
      read: the values of such a portion.
      planned: the rest of an epoch.
      most: how many batches of one shape the next call may take.
    """
    start = 0
    while start < len(planned):
        count = of_one_shape(planned[start : start + most()])
        used, start = tuple(planned[start : start + count]), start + count
        yield Fed(read(used), used, ends_epoch=start == len(planned))
