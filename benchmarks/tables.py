"""Markdown tables of a case: a row for each contender, every number with its spread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.rounds import ratios, values
from benchmarks.spread import spread


@dataclass(frozen=True)
class Column:
    """Of a table.

    Args:
      measure: its name, or a function of case and contender that gives a number for each round.
      scale: numbers are multiplied by it; `unit` stands behind them.
    """

    head: str
    measure: str | Callable[[dict, str], Sequence[float]]
    digits: int = 0
    scale: float = 1.0
    unit: str = ""

    def cell(self, case: dict, contender: str) -> str:
        if callable(self.measure):
            found = self.measure(case, contender)
        else:
            found = values(case, contender, self.measure)
        return spread([v * self.scale for v in found], self.digits) + self.unit if found else ""


def times(rate: str) -> Column:
    """How often the rate of another goes into that of ours in the same round."""

    def found(case: dict, contender: str) -> list[float]:
        return ratios(case, ("ours", rate), (contender, rate)) if contender != "ours" else []

    return Column("ours, times faster", found, digits=1, unit=" ×")


def table(cases: dict[str, dict], columns: Sequence[Column], first: str = "") -> str:
    """One table of several cases.

    Args:
      first: head of the column that names the case; without one the case is not named.
    """
    heads = [*([first] if first else []), "", *(column.head for column in columns)]
    texts = len(heads) - len(columns)
    lines = [_line(heads), _line(["---"] * texts + ["---:"] * len(columns))]
    for name, case in cases.items():
        for contender, what in case["contenders"].items():
            cells = [column.cell(case, contender) for column in columns]
            if contender in case["missing"]:
                cells = [case["missing"][contender], *[""] * (len(columns) - 1)]
            lines.append(_line([*([name] if first else []), what, *cells]))
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


MEMORY = Column("peak memory, GB", "peak_memory_bytes", 2, 1e-9)
PROCESS = Column("whole process, s", "process_seconds", 1)
