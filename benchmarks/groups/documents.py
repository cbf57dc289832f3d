"""The scripts of the founding documents against the gin files that are named after them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from benchmarks import processes
from benchmarks.bench import Bench
from benchmarks.rounds import Case, Contender
from benchmarks.tables import MEMORY, PROCESS, Column, table, times
from benchmarks.training_runs import EPOCHS, TrainingRun, nothing_else

TITLE = "The documents' scripts"
STORY = """\
The same training reviews, whole. Compared are epochs after the first: their training steps with the
reading of their batches. The first one also has the building of all graphs and programs in it, and
stands beside it. The scripts do two epochs over the first so many texts, as the table says: their
batches are random, so that more of them would not be faster. Ours does two over all of them
(`airline`: six, and the median of five, because one takes less than a second): fewer would be
unfair to batches of similar length. The whole process has everything: imports, the vocabulary,
saving. Of ours one thing is not in it: the texts are encoded once, before the first run, and kept;
what that costs is under *Data*. The scripts split and look up in every step, as the documents have
it. Validation is left out on both sides.

Document 003 runs Keras on PyTorch, a tweet at a time. The target is held against the faster of two
ways: that loop on TensorFlow, where the training step is a compiled graph."""

ROUNDS = 3
MEASUREMENTS = 21
MINUTES = 11


@dataclass(frozen=True)
class Script:
    """One of `peers/document_scripts.py`, on the first `examples` of the training split."""

    name: str
    what: str
    examples: int
    backend: str = "tensorflow"  # of Keras


@dataclass(frozen=True)
class System:
    """A gin file and the scripts of its document."""

    gin: str
    scripts: tuple[Script, ...]
    epochs: int = EPOCHS


_PADDED = "{} random reviews, padded to the longest"
SYSTEMS = (
    System("gru", (Script("gru", f"document 000: {_PADDED.format(32)}", 640),)),
    System(
        "bilstm_tutorial",
        (Script("bilstm_tutorial", f"document 001: {_PADDED.format(64)}", 960),),
    ),
    System(
        "airline",
        (
            Script("airline", "document 003's loop over 16 tweets, on TensorFlow", 1600),
            Script("airline_torch", "document 003 as it stands, on PyTorch", 640, "torch"),
        ),
        epochs=6,
    ),
)


def cases(bench: Bench) -> Iterator[Case]:
    for system in SYSTEMS:
        bindings = (*nothing_else(system.epochs), *bench.examples(None))
        run = bench.run(system.gin, system.gin, *bindings)
        examples, counts = bench.texts_of(run)
        theirs = [
            Contender(
                script.name,
                script.what,
                partial(_script, run, script, str(examples), counts["train"]),
                needs="torch" if script.backend == "torch" else None,
            )
            for script in system.scripts
        ]
        ours = Contender("ours", f"`gin/{system.gin}.gin`", run.measure)
        yield Case(system.gin, [ours, *theirs], {"examples": counts["train"]})


def _script(run: TrainingRun, script: Script, examples: str, count: int) -> dict:
    """A document's script; the same names as of a `TrainingRun`."""
    count = min(count, script.examples)
    job = {"script": script.name, "examples": examples, "most": count}
    module = "benchmarks.peers.document_scripts"
    found = processes.ask(module, job, run.folder, KERAS_BACKEND=script.backend)
    first, *_, last = found.pop("epoch_seconds")
    of_epochs = {"first_epoch_seconds": first, "epoch_seconds": last, "examples": count}
    return {**of_epochs, "examples_per_second": count / last, **found}


COLUMNS = (
    Column("examples/s", "examples_per_second"),
    times("examples_per_second"),
    Column("examples", "examples"),
    Column("an epoch of them, s", "epoch_seconds", 2),
    Column("the first epoch, s", "first_epoch_seconds", 1),
    PROCESS,
    MEMORY,
)


def tables(cases: dict[str, dict]) -> str:
    return table(cases, COLUMNS, "system")
