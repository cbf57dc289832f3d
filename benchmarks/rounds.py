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
      rounds: another number of them than the others have.
    """

    name: str
    what: str
    measure: Callable[[], dict]
    needs: str | None = None
    rounds: int | None = None

    @property
    def missing(self) -> str | None:
        """Why it cannot be measured here, in a sentence."""
        if self.needs is None or importlib.util.find_spec(self.needs) is not None:
            return None
        return f"{self.needs} is not installed: pip install -c constraints.txt -e '.[bench]'"


@dataclass(frozen=True)
class Case:
    """Contenders that do the same."""

    name: str
    contenders: Sequence[Contender]
    facts: dict = field(default_factory=dict)  # JSON values: what they have in common


def measured(case: Case, repeats: int, say: Callable[[str], None]) -> dict:
    """A case as `results.json` has it; see `results`.

    Who fails is not asked again; the others go on.

    Args:
      repeats: rounds of those who have no number of their own; 1: of everyone.
    """
    missing = {c.name: c.missing for c in case.contenders if c.missing}
    for why in missing.values():
        say(f"{case.name}: {why}")
    wanted = {c.name: c.rounds if c.rounds and repeats > 1 else repeats for c in case.contenders}
    rounds, failed = [], {}
    for number in range(1, max(wanted.values()) + 1):
        rounds.append({})
        for contender in case.contenders:
            name = contender.name
            if name in missing or name in failed or number > wanted[name]:
                continue
            turn = f"{case.name} {number}/{wanted[name]} {name}"
            try:
                rounds[-1][name] = contender.measure()
            except (Exception, SystemExit) as error:
                failed[name] = sentence(error)
                say(f"{turn} FAILED: {error}")
            else:
                say(f"{turn}: {_shown(rounds[-1][name])}")
    return {
        "facts": case.facts,
        "contenders": {contender.name: contender.what for contender in case.contenders},
        "missing": missing,
        "failed": failed,
        "rounds": rounds,
    }


def sentence(error: BaseException) -> str:
    """The last line of what went wrong; a process that failed tells all that it printed."""
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__


def _shown(found: dict) -> str:
    """Numbers for the screen, with what else the machine does."""
    numbers = (f"{k} {v:,.4g}" for k, v in found.items() if isinstance(v, int | float))
    return f"{', '.join(numbers)} (load {os.getloadavg()[0]:.1f})"


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
