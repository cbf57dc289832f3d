"""Several runs that differ in their seed alone, as one accuracy with an interval."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from sentiment_train.evaluation.significance import CONFIDENCE, wilson_interval


def accuracy_interval(
    accuracies: Sequence[float], examples: float, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """An interval for the mean accuracy of runs that were tested on the same examples.

    One run: the Wilson interval of its accuracy, which says how much depends on the choice of the
    test examples. Several runs share these examples, so their number does not make that smaller,
    and what depends on the seed comes on top: Student's interval of the mean over the runs. The two
    are joined as squared distances from the mean (MOVER; Zou and Donner 2008). Where
    all runs agree that is the Wilson interval again.

    Args:
      accuracies: one for each run, at least one.
      examples: of the test split; see `significance.effective_examples` for weights.
    """
    from scipy.stats import t

    mean, runs, by_seed = statistics.fmean(accuracies), len(accuracies), 0.0
    low, high = wilson_interval(mean, examples, confidence)
    if runs > 1:
        quantile = float(t.ppf((1 + confidence) / 2, runs - 1))
        by_seed = quantile * statistics.stdev(accuracies) / math.sqrt(runs)
    return (
        max(0.0, mean - math.hypot(mean - low, by_seed)),
        min(1.0, mean + math.hypot(high - mean, by_seed)),
    )
