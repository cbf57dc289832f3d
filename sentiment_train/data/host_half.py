"""The host half of a cut model, ahead of the device half: texts of a batch → features.

Tokens are kept in the store and only gathered. What a cut model takes of a batch depends on all its
texts together, so its host half runs again for every batch: in a few threads, which it leaves to
TensorFlow's C++ for most of the time, while the training step is busy.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from sentiment_train.data.batches import FILLER, PlannedBatch, RowSlice, labels_and_weights
from sentiment_train.data.store import EncodedSplit
from sentiment_train.data.stored_texts import as_bytes
from sentiment_train.schema import Batch, FittedEncoder

_AHEAD = 4  # batches that are begun and not yet asked for
_THREADS = 2  # more of them would only wait for Python, which the training step needs as well
# The batches of an evaluation are the same in every epoch, and those of the training never are. So
# only the former are kept, as many as fit into this memory; the rest are made again.
_KEPT_BYTES = 256 << 20


class HostHalf:
    """Makes the batches of a cut model.

    Args:
      encoder: with a method `batch_features`.
      kept_bytes: the memory for batches that are asked for again.
    """

    def __init__(self, encoder: FittedEncoder, kept_bytes: int = _KEPT_BYTES):
        self._encoder, self._free = encoder, kept_bytes
        self._kept: dict[tuple[str, int], Batch] = {}

    def batches(
        self,
        split: EncodedSplit,
        planned: Sequence[PlannedBatch],
        rows: RowSlice,
        keep: str | None = None,
    ) -> Iterator[Batch]:
        """The values of each planned batch, in this order, as tensors in the memory of the host.

        Args:
          keep: a name for this split and plan, if they are going to be asked for again.
        """

        def batch_of(number: int) -> Batch:
            if (kept := self._kept.get((keep, number))) is not None:
                return kept
            return self._batch(split, planned[number], rows)

        for number, batch in enumerate(ahead(batch_of, range(len(planned)), _THREADS, _AHEAD)):
            if keep is not None:
                self._keep((keep, number), batch)
            yield batch

    def _keep(self, name: tuple[str, int], batch: Batch) -> None:
        size = sum(feature.dtype.size * int(np.prod(feature.shape)) for feature in _flat(batch))
        if name not in self._kept and size <= self._free:
            self._kept[name] = batch
            self._free -= size

    def _batch(self, split: EncodedSplit, plan: PlannedBatch, rows: RowSlice) -> Batch:
        import tensorflow as tf

        mine = rows.of(plan.rows)
        parts = [
            self._encoder.batch_features(
                [None if row == FILLER else as_bytes(split.texts[row]) for row in of_replica],
                plan.length,
                plan.shortest,
                _lengths_of(split, of_replica, plan.shortest),
            )
            for of_replica in np.split(mine, rows.local_replicas)
        ]
        labels, weights = labels_and_weights(split, mine)
        with tf.device("/cpu:0"):
            features = {name: _joined([part[name] for part in parts]) for name in parts[0]}
            return Batch(features, tf.constant(labels), tf.constant(weights))


def _lengths_of(split: EncodedSplit, rows: np.ndarray, of_filler: int) -> np.ndarray:
    """`[rows] int64`: the tokens of each row."""
    chosen = np.where(rows != FILLER, rows, 0)
    lengths = split.offsets[chosen + 1] - split.offsets[chosen]
    return np.where(rows != FILLER, lengths, of_filler)


def _joined(parts: list):
    """One feature of all local replicas, one after the other on the first axis."""
    import tensorflow as tf

    parts = [tf.convert_to_tensor(part) for part in parts]
    if len({tuple(part.shape) for part in parts}) > 1:
        raise ValueError(f"replicas need equal shapes, found {[part.shape for part in parts]}")
    return tf.concat(parts, axis=0) if len(parts) > 1 else parts[0]


def _flat(batch: Batch) -> list:
    return [*batch.features.values(), batch.labels, batch.weights]


def ahead(function: Callable, items: Iterable, threads: int, most: int) -> Iterator:
    """`map(function, items)` in threads: the results in order, at most `most` of them waiting."""
    waiting: deque = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > most:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:  # also when nobody asks any more
            for result in waiting:
                result.cancel()
