"""The largest batch that fits: a line through the memory of two sizes, then the size itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

_MOST_ROWS = 2**20  # of a core; more would be no batch any more
_COMPILES = 4  # of sizes near the largest
_MULTIPLE = 8  # rows lie in memory in eights
_TELLING = 0.05  # of the memory: of a smaller program it is the code that counts, not the rows


@dataclass(frozen=True)
class Largest:
    """Rows of one core."""

    rows: int
    compiled: bool  # at this size; otherwise it is estimated
    by: str = ""  # from what it was estimated


def find_largest(
    needed_at: Callable[[int], int | None], rows: int, memory: int, verify: bool
) -> Largest | None:
    """Where the memory that is needed reaches what there is.

    Args:
      needed_at: rows of a core → bytes; None if that cannot be compiled for another reason. A
        program that does not fit needs more than `memory`.
      rows: the size of the bucket.
      memory: of a core, in bytes.
      verify: whether the size is compiled, and bettered by what that shows.

    Returns:
      None if not even one row fits, or nothing can be said.
    """
    points = _two_sizes(needed_at, rows, memory)
    if points is None:
        return None
    estimate = _crossing(points, memory)
    if not verify:
        sizes = " and ".join(f"{size:,}" for size, _ in points)
        return Largest(estimate, False, f"from {sizes} rows")
    best = max((size for size, needed in points if needed <= memory), default=0)
    for _ in range(_COMPILES):
        needed = needed_at(estimate)
        if needed is None:
            break
        points = [points[-1], (estimate, needed)]
        if needed <= memory:
            best = max(best, estimate)
            if needed > 0.93 * memory or estimate == _MOST_ROWS:
                break
        # What does not fit is told roughly: a little less than the line says.
        estimate = min(_crossing(points, memory), estimate * 4)
        if estimate <= best:
            break
    return Largest(best, True) if best else None


def _two_sizes(needed_at, rows: int, memory: int) -> list[tuple[int, int]] | None:
    """`(rows, bytes)` of two sizes that differ in both; the first fits."""
    first = (rows, needed_at(rows))
    while first[1] is not None and first[1] > memory:
        if first[0] == 1:
            return None
        first = (first[0] // 2, needed_at(first[0] // 2))
    if first[1] is None:
        return None
    size = max(first[0], _MULTIPLE)
    while size < _MOST_ROWS:
        size = min(size * 4, _MOST_ROWS)
        second = (size, needed_at(size))
        if second[1] is None:
            return None
        if second[1] > first[1] * 1.05 and second[1] >= _TELLING * memory:
            return [first, second]
    return [first, (_MOST_ROWS, memory)]


def _crossing(points: list[tuple[int, int]], memory: int) -> int:
    (fewer, less), (more, most) = sorted(points)
    slope = max((most - less) / max(more - fewer, 1), 1e-9)
    rows = int(fewer + (memory * 0.98 - less) / slope)
    rounded = rows // _MULTIPLE * _MULTIPLE or rows
    return max(min(rounded, _MOST_ROWS), 1)
