"""What gin may say about the report of a finished run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import gin

from sentiment_train.config import Part


@gin.configurable
@dataclass(frozen=True)
class Report(Part):
    """`report.md` and `report.html` in the run directory; it changes nothing of the training."""

    baseline: Literal["tfidf", "nb", "none"] = "tfidf"  # the linear model that stands beside it
    baseline_rows: int | None = 100_000  # it is fitted on at most so many training texts
    examples: int = 5  # texts in each group of examples

    def check(self):
        fine = self.baseline_rows is None or self.baseline_rows >= 2
        self.require(fine, "baseline_rows", "at least 2, or None for all")
        self.require(self.examples >= 0, "examples", "at least 0")
