"""Time and cost to a validation accuracy, for networks that need many minutes."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks import processes
from benchmarks.bench import Bench
from benchmarks.groups.instead import LEVELS, network
from benchmarks.rounds import Case, Contender
from benchmarks.tables import MEMORY, PROCESS, Column, table

TITLE = "To a given accuracy"
STORY = """\
The recurrent networks, and document 000's script, on all of the packaged reviews, from the start of
the process to the first validation that shows the accuracy; each once. The script trains until it
has 86 %, at most as long as the document did, five epochs; it is validated after each epoch, as in
the document. CPU seconds are those of the whole process. Faster systems stand under *What a user
would pick instead*. This group takes 22 minutes, most of them the script's, so it is measured only
when it is asked for."""

ROUNDS = 1
MEASUREMENTS = 4
MINUTES = 22
_LIMIT_SECONDS = 5400
_GIN_FILES = ("gru", "bilstm_tutorial", "bilstm")


def cases(bench: Bench) -> Iterator[Case]:
    no_files = ("Experiment.export = False", "Experiment.report = None")
    quick = ("Training.length = '2 epochs'",) if bench.quick else ()
    runs = {
        gin: bench.run(gin, f"accuracy_{gin}", *no_files, *bench.examples(None), *quick)
        for gin in _GIN_FILES
    }
    contenders = [
        Contender(gin, f"`gin/{gin}.gin`", lambda run=run: network(run, 0, _LIMIT_SECONDS))
        for gin, run in runs.items()
    ]
    examples, counts = bench.texts_of(runs["gru"])
    job = {"examples": str(examples), "level": LEVELS[0], "most_epochs": 2 if bench.quick else 5}

    def script() -> dict:
        module = "benchmarks.peers.document_until"
        found = processes.ask(module, job, bench.of("accuracy_gru"), _LIMIT_SECONDS)
        if found["validation"] >= LEVELS[0]:  # it has stopped there
            found[f"seconds_to_{LEVELS[0]}"] = found["process_seconds"]
        return found

    contenders.append(Contender("document_000", "document 000's script", script))
    yield Case("imdb", contenders, counts)


COLUMNS = (
    Column("validation accuracy", "validation", 2, 100, " %"),
    *(Column(f"to {level:.0%}, s", f"seconds_to_{level}", 0) for level in LEVELS),
    PROCESS,
    Column("CPU seconds", "cpu_seconds"),
    MEMORY,
)


def tables(cases: dict[str, dict]) -> str:
    return table(cases, COLUMNS)
