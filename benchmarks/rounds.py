"""Contenders take turns: ours, theirs, ours, theirs, … What is compared are neighbours in time.

A machine is not equally fast all day. So a ratio is never that of two medians, but of the two
measurements of one round; told are the median of the ratios, the lowest and the highest.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Contender:
    """One who is measured.

    Args:
      name: in `results.json`; ours is called "ours" where there is one of ours.
      what: in the tables.
      measure: does it once; numbers by name.
      needs: a module of the extra `bench`.
      most_rounds: for what takes many minutes.
    """

    name: str
    what: str
    measure: Callable[[], dict]
    needs: str | None = None
    most_rounds: int | None = None

    @property
    def missing(self) -> str | None:
        """Why it cannot be measured here, in a sentence."""
        if self.needs is None or importlib.util.find_spec(self.needs) is not None:
            return None
        return f"{self.needs} is not installed: pip install 'sentiment_train[bench]'"


@dataclass(frozen=True)
class Case:
    """Contenders that do the same."""

    name: str
    contenders: Sequence[Contender]
    facts: dict = field(default_factory=dict)  # JSON values: what they have in common


def measured(case: Case, repeats: int, say: Callable[[str], None]) -> dict:
    """A case as `results.json` has it; see `results`."""
    missing = {c.name: c.missing for c in case.contenders if c.missing}
    for why in missing.values():
        say(f"{case.name}: {why}")
    rounds = []
    for number in range(1, repeats + 1):
        rounds.append({})
        for contender in case.contenders:
            if contender.name in missing or number > (contender.most_rounds or repeats):
                continue
            found = rounds[-1][contender.name] = contender.measure()
            shown = ", ".join(
                f"{k} {v:,.4g}" for k, v in found.items() if isinstance(v, int | float)
            )
            load = os.getloadavg()[0]
            say(f"{case.name} {number}/{repeats} {contender.name}: {shown} (load {load:.1f})")
    return {
        "facts": case.facts,
        "contenders": {contender.name: contender.what for contender in case.contenders},
        "missing": missing,
        "rounds": rounds,
    }


def values(case: dict, contender: str, measure: str) -> list[float]:
    """What was measured of a contender, in each round that has it."""
    found = [round_.get(contender, {}).get(measure) for round_ in case["rounds"]]
    return [value for value in found if value is not None]


def ratios(case: dict, over: tuple[str, str], under: tuple[str, str]) -> list[float]:
    """Of two (contender, measure), within each round that has both."""
    pairs = [
        (round_.get(over[0], {}).get(over[1]), round_.get(under[0], {}).get(under[1]))
        for round_ in case["rounds"]
    ]
    return [a / b for a, b in pairs if a is not None and b]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
