"""How much of a number may be chance: intervals of shares, and a test of two classifiers."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

CONFIDENCE = 0.95


def wilson_interval(
    share: float, examples: float, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """The score interval of a share (Wilson 1927; equation 4 and method 3 of Newcombe 1998).

    Unlike share ± 2 standard errors it stays within [0, 1] and is not empty at a share of 0 or 1.

    Args:
      examples: that the share was counted over, above 0; see `effective_examples` for weights.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    centre = share + z * z / (2 * examples)
    spread = z * math.sqrt(share * (1 - share) / examples + z * z / (4 * examples**2))
    scale = 1 + z * z / examples
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def effective_examples(weights: np.ndarray) -> float:
    """How many examples of equal weight say as much: (Σ w)² / Σ w² (Kish 1965).

    With equal weights that is their number; examples of weight 0 count nothing.

    Args:
      weights: `[n]`, not all 0.
    """
    weights = np.asarray(weights, np.float64)
    return float(weights.sum() ** 2 / np.square(weights).sum())


def mcnemar(one_right: np.ndarray, other_right: np.ndarray) -> tuple[int, int, float]:
    """McNemar's test (1947) of two classifiers on the same examples, by the exact binomial.

    If both were equally good, an example that only one of them has right would be either's with
    probability 1/2.

    Args:
      one_right, other_right: `[n] bool`.

    Returns:
      The examples that only the one has right, those that only the other has, and the two-sided
      p-value.
    """
    from scipy.stats import binomtest

    one = int(np.count_nonzero(one_right & ~other_right))
    other = int(np.count_nonzero(other_right & ~one_right))
    if one + other == 0:
        return 0, 0, 1.0
    return one, other, float(binomtest(one, one + other, 0.5).pvalue)
