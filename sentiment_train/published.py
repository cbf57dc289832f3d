"""What somebody else reported for the same system: shown beside our results, never used in them."""

from __future__ import annotations

from dataclasses import dataclass

import gin

from sentiment_train.config import Part


@gin.configurable
@dataclass(frozen=True)
class Published(Part):
    """A result from elsewhere. It shapes no run: changing it does not make a run another one."""

    source: str = gin.REQUIRED  # where it is written, e.g. 'document 004'
    accuracy: float | None = None  # on their test split, 0 to 1
    seconds_per_epoch: float | None = None  # on their machine
    note: str = ""  # what the reader must know to compare: their split, their machine, their epoch

    def check(self):
        fine = self.accuracy is None or 0 <= self.accuracy <= 1
        self.require(fine, "accuracy", "0 to 1, or None")
        fine = self.seconds_per_epoch is None or self.seconds_per_epoch > 0
        self.require(fine, "seconds_per_epoch", "above 0, or None")
