"""Encoding from nothing, and how much of the batches is padding."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from benchmarks import processes
from benchmarks.bench import Bench
from benchmarks.rounds import Case, Contender
from benchmarks.tables import MEMORY, Column, table

TITLE = "Data"
STORY = """\
Encoding from nothing: reading the packaged reviews, removing duplicates, splitting, counting words,
looking them up, writing the store; after TensorFlow's import, with an empty cache. A later run with
the same data and encoder opens the store instead. Padding is arithmetic: of all places for tokens
in the batches of an epoch, the share that holds none; rows that only fill the last batch count."""

ROUNDS = 2
MEASUREMENTS = 7
MINUTES = 1

ENCODED = "bilstm"
PADDED = ("gru", "bilstm_tutorial", "airline", "bilstm", "flagship")


def cases(bench: Bench) -> Iterator[Case]:
    run = bench.run(ENCODED, "encoding", *bench.examples(None))
    job = {"gin_file": run.gin_file, "bindings": list(run.bindings)}
    ask = partial(processes.ask, "benchmarks.ours.encode", job, run.folder)
    yield Case("encoding", [Contender("ours", "25,000 IMDb reviews", ask)])
    yield Case("padding", [_padding(bench, gin) for gin in PADDED])


def _padding(bench: Bench, gin: str) -> Contender:
    run = bench.run(gin, "padding", *bench.examples(None))
    job = {"gin_file": run.gin_file, "bindings": list(run.bindings), "cache": bench.cache}
    ask = partial(processes.ask, "benchmarks.ours.shapes", job, run.folder)
    return Contender(gin, f"`gin/{gin}.gin`", ask, rounds=1)  # it is always the same


OF_ENCODING = (Column("seconds", "encode_seconds", 1), Column("texts", "texts"), MEMORY)
OF_PADDING = (
    Column("padding", "padding", 1, 100, " %"),
    Column("shapes", "shapes"),
    Column("batches", "batches"),
    Column("mean length", "mean_length"),
    Column("longest", "longest"),
)


def tables(cases: dict[str, dict]) -> str:
    found = [
        table({name: cases[name]}, columns)
        for name, columns in (("encoding", OF_ENCODING), ("padding", OF_PADDING))
        if name in cases
    ]
    return "\n\n".join(found)
