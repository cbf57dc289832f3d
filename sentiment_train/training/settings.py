"""What gin may say about the loop: how long, how the updates are made, when to look and to save."""

from __future__ import annotations

from dataclasses import dataclass

import gin

from sentiment_train.config import Part
from sentiment_train.duration import check_duration


@gin.configurable
@dataclass(frozen=True)
class Training(Part):
    """The updates. Lengths of time read `3 epochs` or `500 steps`; a step is one update."""

    length: str = "3 epochs"
    clip_norm: float | None = 1.0  # of all gradients together, after the sum over replicas
    accumulate_batches: int = 1  # batches of one step
    steps_per_call: int = 1  # of batches of one bucket, which then come in blocks
    average_decay: float | None = None  # of a moving average of the weights, evaluated and kept
    log_every: str = "50 steps"

    def check(self):
        check_duration(self, "length")
        check_duration(self, "log_every")
        self.require(self.clip_norm is None or self.clip_norm > 0, "clip_norm", "above 0 or None")
        self.require(self.accumulate_batches >= 1, "accumulate_batches", "at least 1")
        self.require(self.steps_per_call >= 1, "steps_per_call", "at least 1")
        if self.steps_per_call > 1 and self.accumulate_batches > 1:
            self.refuse("steps_per_call", "does not go with accumulate_batches; leave one at 1.")
        fine = self.average_decay is None or 0 < self.average_decay < 1
        self.require(fine, "average_decay", "between 0 and 1, or None")


@gin.configurable
@dataclass(frozen=True)
class Validation(Part):
    """When the validation split is looked at, and what follows from it."""

    every: str = "1 epoch"
    best_by: str | None = "accuracy"  # the weights kept are the best by this; None: the last
    patience: int | None = None  # evaluations without a new best before training stops

    def check(self):
        check_duration(self, "every")
        self.require(self.patience is None or self.patience >= 1, "patience", "at least 1 or None")
        if self.patience is not None and self.best_by is None:
            self.refuse("patience", "needs a metric in Validation.best_by.")


@gin.configurable
@dataclass(frozen=True)
class Checkpointing(Part):
    """When the run is saved. A signal, the end and a new best save it, too."""

    every: str = "100 steps"
    keep: int = 3  # newest ones; the best is kept besides

    def check(self):
        check_duration(self, "every")
        self.require(self.keep >= 1, "keep", "at least 1")
