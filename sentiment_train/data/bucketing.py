"""Bucket arithmetic: which lengths rows are padded to, and how many rows a batch has.

Only numbers here, no TensorFlow: the table is known before the first step and is what XLA will be
asked to compile.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import gin
import numpy as np

from sentiment_train.config import Part

_MOST_CANDIDATES = 2048  # lengths to choose from: 2048² places are a second and 100 MB


@dataclass(frozen=True)
class BucketTable:
    """The static shapes `[batch_sizes[i], lengths[i]]` of all batches, shortest first.

    A row of length n goes into the first bucket with `n <= lengths[i]` (inclusive).
    """

    lengths: tuple[int, ...]
    batch_sizes: tuple[int, ...]

    def bucket_of(self, lengths: np.ndarray) -> np.ndarray:
        """`[n]` lengths → `[n]` index of the bucket."""
        return np.searchsorted(self.lengths, lengths, side="left")

    def batches_per_epoch(self, lengths: np.ndarray) -> np.ndarray:
        """`[buckets]` number of batches, the last short one of each bucket included."""
        rows = np.bincount(self.bucket_of(lengths), minlength=len(self.lengths))
        return -(-rows // np.array(self.batch_sizes))

    def padding_share(self, lengths: np.ndarray) -> float:
        """Share of all token places of an epoch that hold no token, filler rows included."""
        places = self.batches_per_epoch(lengths) * np.array(self.batch_sizes) * self.lengths
        return 1.0 - float(lengths.sum()) / float(places.sum())


@gin.configurable
@dataclass(frozen=True)
class Buckets(Part):
    """How the bucket table is made from the lengths of the training split."""

    lengths: tuple[int, ...] | None = None  # None: `count` lengths with the least padding
    count: int = 10
    multiple_of: int = 8  # lengths (when chosen) and batch sizes are rounded to it
    tokens_per_batch: int = 8192  # rows = tokens_per_batch // length …
    max_batch_size: int = 256  # … but not more than this
    batch_size: int | None = None  # the same number of rows in every bucket instead

    def check(self):
        for name in ("count", "multiple_of", "tokens_per_batch", "max_batch_size"):
            self.require(getattr(self, name) >= 1, name, "at least 1")
        self.require(self.batch_size is None or self.batch_size >= 1, "batch_size", "at least 1")
        if self.lengths is not None:
            rising = all(a < b for a, b in zip((0, *self.lengths), self.lengths, strict=False))
            self.require(bool(self.lengths) and rising, "lengths", "rising numbers above 0")

    def table(self, train_lengths: np.ndarray, longest: int) -> BucketTable:
        """Decides the shapes.

        Args:
          train_lengths: `[n]` lengths of the training rows, from which lengths are chosen.
          longest: the longest row of any split; the last bucket holds it.
        """
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
