"""A number that was measured several times: its middle, with the lowest and the highest."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence


def spread(
    values: Sequence[float],
    digits: int = 0,
    middle: Callable[[Sequence[float]], float] = statistics.median,
) -> str:
    """`5.2 (4.9–6.0)`; of one value only the value."""
    low, central, high = (f"{f(values):,.{digits}f}" for f in (min, middle, max))
    return central if len(values) == 1 else f"{central} ({low}–{high})"
