"""The machine's limit as a contender, so that it is measured in between, as often as the others."""

from __future__ import annotations

from functools import partial

from benchmarks import processes
from benchmarks.bench import Bench
from benchmarks.rounds import Contender, ratios
from benchmarks.tables import Column

NAME = "limit"


def limit(bench: Bench) -> Contender:
    """GFLOP/s of large float32 products."""
    job = {"size": 256, "repeats": 1} if bench.quick else {}
    ask = partial(processes.ask, "benchmarks.ours.limit", job, bench.of(NAME))
    return Contender(NAME, "the limit: large matrix products", ask)


def share_of_limit(measure: str = "gflops", scale: float = 100) -> Column:
    """Of a contender's GFLOP/s, in percent of the limit of the same round."""

    def found(case: dict, contender: str) -> list[float]:
        if contender == NAME:
            return []
        return ratios(case, (contender, measure), (NAME, "gflops"))

    return Column("of the limit", found, scale=scale, unit=" %")
