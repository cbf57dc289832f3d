"""Bucket arithmetic: which lengths rows are padded to, and how many rows a batch has.

Only numbers here, no TensorFlow: the table is known before the first step and is what XLA will be
asked to compile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import gin
import numpy as np

from sentiment_train.config import Part

_MOST_CANDIDATES = 2048  # lengths to choose from: 2048² places are a second and 100 MB


class BatchShapes(Protocol):
    """How an order of rows is cut into batches; `lengths` are those of the whole split."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many rows a batch may have."""

    def cut(self, order: np.ndarray, lengths: np.ndarray) -> Iterator[tuple[np.ndarray, int, int]]:
        """Yields each batch: its rows `[<= size]` as indices, its size, the length it is padded to.

        Args:
          order: `[m] int64` indices of the rows to be batched.
          lengths: `[n] int64`.
        """

    def batches_per_epoch(self, lengths: np.ndarray) -> int:
        """How many batches `cut` gives for rows of these lengths, in whatever order."""

    def padding_share(self, lengths: np.ndarray) -> float:
        """Share of all token places of an epoch that hold no token, filler rows included."""


@dataclass(frozen=True)
class BucketTable:
    """The static shapes `[batch_sizes[i], lengths[i]]` of all batches, shortest first.

    A row of length n goes into the first bucket with `n <= lengths[i]` (inclusive).
    """

    lengths: tuple[int, ...]
    batch_sizes: tuple[int, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        return self.batch_sizes

    def bucket_of(self, lengths: np.ndarray) -> np.ndarray:
        """`[n]` lengths → `[n]` index of the bucket."""
        return np.searchsorted(self.lengths, lengths, side="left")

    def cut(self, order: np.ndarray, lengths: np.ndarray) -> Iterator[tuple[np.ndarray, int, int]]:
        """The batches of the shortest bucket, then those of the next; see `BatchShapes`."""
        bucket_of = self.bucket_of(lengths[order])
        if (bucket_of == len(self.lengths)).any():
            raise ValueError(f"a row is longer than the last bucket ({self.lengths[-1]} tokens)")
        for bucket, (length, size) in enumerate(zip(self.lengths, self.batch_sizes, strict=True)):
            for rows in _pieces(order[bucket_of == bucket], size):
                yield rows, size, length

    def batches_per_bucket(self, lengths: np.ndarray) -> np.ndarray:
        """`[buckets]` number of batches, the last short one of each bucket included."""
        rows = np.bincount(self.bucket_of(lengths), minlength=len(self.lengths))
        return -(-rows // np.array(self.batch_sizes))

    def batches_per_epoch(self, lengths: np.ndarray) -> int:
        return int(self.batches_per_bucket(lengths).sum())

    def padding_share(self, lengths: np.ndarray) -> float:
        places = self.batches_per_bucket(lengths) * np.array(self.batch_sizes) * self.lengths
        return 1.0 - float(lengths.sum()) / float(places.sum())


@dataclass(frozen=True)
class LongestInBatch:
    """Batches of `batch_size` rows as they come, each padded to its longest row.

    What most tutorials do. Their shapes are not known beforehand, and padding is several times that
    of a bucket table.
    """

    batch_size: int

    @property
    def sizes(self) -> tuple[int, ...]:
        return (self.batch_size,)

    def cut(self, order: np.ndarray, lengths: np.ndarray) -> Iterator[tuple[np.ndarray, int, int]]:
        """The rows in their order; see `BatchShapes`."""
        for rows in _pieces(order, self.batch_size):
            yield rows, self.batch_size, int(lengths[rows].max())

    def batches_per_epoch(self, lengths: np.ndarray) -> int:
        return -(-len(lengths) // self.batch_size)

    def padding_share(self, lengths: np.ndarray) -> float:
        """Of the mean epoch: the exact expectation of the places over all orders."""
        full, rest = divmod(len(lengths), self.batch_size)
        places = sum(
            batches * self.batch_size * _mean_longest(lengths, rows)
            for batches, rows in ((full, self.batch_size), (1, rest))
            if batches and rows
        )
        return 1.0 - float(lengths.sum()) / places


def _pieces(rows: np.ndarray, size: int) -> Iterator[np.ndarray]:
    return (rows[start : start + size] for start in range(0, len(rows), size))


def _mean_longest(lengths: np.ndarray, rows: int) -> float:
    """The mean over all choices of `rows` rows of the longest length among them."""
    # All of them are among the i shortest with probability C(i, rows) / C(n, rows).
    log_factorials = np.cumsum(np.log(np.maximum(np.arange(len(lengths) + 1), 1)))
    i = np.arange(rows, len(lengths) + 1)
    log_choices = log_factorials[i] - log_factorials[i - rows]  # log(C(i, rows) · rows!)
    among_shortest = np.exp(log_choices - log_choices[-1])
    return float(np.diff(among_shortest, prepend=0.0) @ np.sort(lengths)[rows - 1 :])


@gin.configurable
@dataclass(frozen=True)
class Buckets(Part):
    """How rows become batches: into buckets with a few static shapes, unless told otherwise."""

    pad_to: Literal["bucket", "longest_in_batch"] = "bucket"
    lengths: tuple[int, ...] | None = None  # None: `count` lengths with the least padding
    count: int = 10
    multiple_of: int = 8  # lengths (when chosen) and batch sizes are rounded to it
    tokens_per_batch: int = 8192  # rows = tokens_per_batch // length …
    max_batch_size: int = 256  # … but not more than this
    batch_size: int | None = None  # the same number of rows in every batch instead
    leave_out_above: int | None = None  # tokens; longer rows are evaluated but not trained on

    def check(self):
        for name in ("count", "multiple_of", "tokens_per_batch", "max_batch_size"):
            self.require(getattr(self, name) >= 1, name, "at least 1")
        for name in ("batch_size", "leave_out_above"):
            value = getattr(self, name)
            self.require(value is None or value >= 1, name, "at least 1")
        if self.lengths is not None:
            rising = all(a < b for a, b in zip((0, *self.lengths), self.lengths, strict=False))
            self.require(bool(self.lengths) and rising, "lengths", "rising numbers above 0")
        if self.pad_to == "longest_in_batch":
            if self.batch_size is None:
                self.refuse("pad_to", "needs a number of rows; set Buckets.batch_size as well.")
            if self.lengths is not None:
                self.refuse("lengths", "cannot be combined with pad_to = 'longest_in_batch'.")

    def table(self, train_lengths: np.ndarray, longest: int) -> BatchShapes:
        """Decides the shapes.

        Args:
          train_lengths: `[n]` lengths of the training split, from which lengths are chosen; also of
            rows that are left out, because the other splits have such rows too.
          longest: the longest row of any split; the last bucket holds it.
        """
        if self.pad_to == "longest_in_batch":
            return LongestInBatch(self.batch_size)
        if self.lengths is None:
            lengths = least_padding(train_lengths, longest, self.count, self.multiple_of, self.rows)
        else:
            lengths = tuple(int(length) for length in self.lengths)
            if lengths[-1] < longest:
                self.refuse(
                    "lengths",
                    f"has no bucket for the longest text of {longest} tokens; end it with"
                    f" {longest} or set WordEncoder.max_length = {lengths[-1]}.",
                )
        return BucketTable(lengths, tuple(self.rows(length) for length in lengths))

    def trained_rows(self, lengths: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """`[m] int64` the rows of the training split that are trained on, rising.

        Args:
          lengths: `[n]` tokens of each row.
          labels: `[n] int32`.

        Raises:
          ConfigError: if `leave_out_above` takes all rows of a class.
        """
        if self.leave_out_above is None:
            return np.arange(len(lengths))
        kept = np.flatnonzero(lengths <= self.leave_out_above)
        if len(set(labels[kept].tolist())) < len(set(labels.tolist())):
            self.refuse(
                "leave_out_above",
                f"leaves no training example of some class; the median has"
                f" {int(np.median(lengths))} tokens.",
            )
        return kept

    def rows(self, length: int) -> int:
        """The global batch size of the bucket of `length` tokens."""
        if self.batch_size is not None:
            return self.batch_size
        rows = min(self.tokens_per_batch // length, self.max_batch_size)
        if rows >= self.multiple_of:
            rows -= rows % self.multiple_of
        return max(rows, 1)


def least_padding(
    lengths: np.ndarray, longest: int, count: int, multiple_of: int, rows_of: Callable[[int], int]
) -> tuple[int, ...]:
    """At most `count` bucket lengths, the last `longest`, with the fewest token places an epoch.

    Exact, by dynamic programming over the multiples of `multiple_of` (of a multiple of it if they
    are too many); the filler rows of each bucket's last short batch count as places too.

    Args:
      lengths: `[n]` lengths of the rows.
      rows_of: the batch size of a bucket length.
    """
    multiple_of *= max(-(-longest // (multiple_of * _MOST_CANDIDATES)), 1)
    candidates = np.arange(multiple_of, longest + multiple_of, multiple_of)
    candidates = np.concatenate([[0], candidates[candidates < longest], [longest]])
    rows_up_to = np.searchsorted(np.sort(lengths), candidates, side="right")
    sizes = np.array([1, *(rows_of(int(length)) for length in candidates[1:])])
    # places[i, j]: when one bucket holds the rows longer than candidate i, up to candidate j.
    rows = rows_up_to[None, :] - rows_up_to[:, None]
    places = -(-rows // sizes) * sizes * candidates
    places = np.where(candidates[:, None] < candidates, places, np.inf)
    places[0, 0] = 0.0  # a bucket that is not needed
    cost = np.where(candidates == 0, 0.0, np.inf)  # of the rows up to each candidate, so far
    last_cuts = []
    for _ in range(min(count, len(candidates) - 1)):
        total = cost[:, None] + places
        last_cuts.append(total.argmin(axis=0))
        cost = total.min(axis=0)
    chosen, place = set(), len(candidates) - 1
    for last_cut in reversed(last_cuts):
        chosen.add(int(candidates[place]))
        place = last_cut[place]
    return tuple(sorted(chosen - {0}))
