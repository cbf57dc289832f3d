"""What a target is, and the table of all of them; `promises` has them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.spread import spread

AT_LEAST, AT_MOST = "≥", "≤"
Found = Callable[[dict], list[float]]  # cases of a group → a number for each round


@dataclass(frozen=True)
class Target:
    """One promise, judged by what is in `results.json`.

    Args:
      key: name of the profile that explains why it is missed: `profiles/<key>.md`.
      group: of `groups`, whose cases `found` looks at.
      found: the numbers that are judged; none where it was not measured.
      scale: from these numbers to those of `bound`.
      middle: of these numbers, what is judged.
      beside: other numbers that belong to it, in the same unit, but are not judged.
    """

    key: str
    what: str
    group: str
    sense: str
    bound: float
    found: Found
    unit: str = ""
    digits: int = 1
    scale: float = 1.0
    middle: Callable[[Sequence[float]], float] = statistics.median
    beside: tuple[tuple[str, Found], ...] = ()  # what they are, how they are found

    def measured(self, results: dict, found: Found | None = None) -> list[float]:
        """In the unit of the bound, one for each round: of the target, or other ones."""
        part = results["groups"].get(self.group)
        return (
            [value * self.scale for value in (found or self.found)(part["cases"])] if part else []
        )

    def reached(self, results: dict) -> bool | None:
        """None if it was not measured."""
        found = self.measured(results)
        if not found:
            return None
        middle = self.middle(found)
        return middle >= self.bound if self.sense == AT_LEAST else middle <= self.bound

    def row(self, results: dict) -> tuple[str, ...]:
        """What, the bound, what was found, whether it is reached, and what stands beside."""
        words = {True: "reached", False: "**missed**", None: "not measured"}
        beside = [
            f"{what} {self._shown(numbers)}"
            for what, found in self.beside
            if (numbers := self.measured(results, found))
        ]
        return (
            self.what,
            f"{self.sense} {self.bound:g}{self.unit}",
            self._shown(self.measured(results)),
            words[self.reached(results)],
            "; ".join(beside),
        )

    def _shown(self, numbers: Sequence[float]) -> str:
        return spread(numbers, self.digits, self.middle) + self.unit if numbers else ""


def table(results: dict, targets: Sequence[Target]) -> str:
    """Markdown: every target, what was found, whether it is reached, and what is not judged."""
    lines = ["| what | target | found | | beside, not judged |", "|---|---:|---:|---|---|"]
    lines += [f"| {' | '.join(target.row(results))} |" for target in targets]
    return "\n".join(lines)
