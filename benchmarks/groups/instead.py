"""What a user would pick instead: accuracy, and the time from texts to answers."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from benchmarks import processes
from benchmarks.bench import Bench
from benchmarks.groups.configurations import FLAGSHIP, gin_files
from benchmarks.rounds import Case, Contender
from benchmarks.tables import MEMORY, PROCESS, Column, table
from benchmarks.training_runs import TrainingRun, results_of, validations_of

TITLE = "What a user would pick instead"
STORY = """\
The packaged IMDb reviews, deduplicated, cut 80/10/10 by the project; everyone gets the same texts.
The whole process counts on every side, from its start to its end: imports, reading, encoding from
nothing (ours begins with an empty cache here), training, answers to validation and test. CPU
seconds are what it costs on a machine that is paid by the core. The linear models and fastText have
the settings with the best validation accuracy; the search for them is not counted, as it is not for
ours. Logistic regression uses one core, as scikit-learn has it; fastText and ours use all. A linear
model reaches an accuracy when it is done, a network at the first validation that shows it. The
networks take minutes and are trained once; accuracy is of one seed.

With 2,490 test reviews an accuracy has a standard error of 0.6 points."""

LEVELS = (0.86, 0.90)  # validation accuracy: that of document 000, and a good one
_RUN = ("Experiment.export = False", "Experiment.report = None")


def cases(bench: Bench) -> Iterator[Case]:
    data = bench.run("bilstm", "instead", *bench.examples(None))
    path, counts = bench.texts_of(data)
    ask = partial(_peer, data, str(path))
    networks = ["bilstm", *(gin for gin in FLAGSHIP if gin in gin_files())]
    yield Case(
        "imdb",
        [
            *(_ours(bench, gin) for gin in networks),
            Contender(
                "tfidf",
                "scikit-learn: TF-IDF of words and pairs, logistic regression",
                partial(ask, "linear", {"kind": "tfidf"}),
            ),
            Contender(
                "nb",
                "scikit-learn: NB-weighted words, pairs and triples, logistic regression",
                partial(ask, "linear", {"kind": "nb"}),
            ),
            Contender(
                "fasttext", "fastText, words and pairs", partial(ask, "fast_text", {}), "fasttext"
            ),
        ],
        counts,
    )


def _ours(bench: Bench, gin: str) -> Contender:
    quick = ("Training.length = '2 epochs'",) if bench.quick else ()
    run = bench.run(gin, f"instead_{gin}", *_RUN, *bench.examples(None), *quick)
    return Contender(gin, f"`gin/{gin}.gin`", lambda: _network(run), most_rounds=1)


def _network(run: TrainingRun) -> dict:
    """A whole training with an empty cache."""
    cold = TrainingRun(run.gin, run.bindings, run.folder, str(run.folder / "cache"))
    directory, cost = cold.run()
    results = results_of(directory)
    found = {"validation": results["validation"]["accuracy"], "test": results["test"]["accuracy"]}
    for level in LEVELS:
        reached = (time for time, accuracy in validations_of(directory) if accuracy >= level)
        if (time := next(reached, None)) is not None:
            found[f"seconds_to_{level}"] = time - cost.began
    return {**found, **cost.as_measures()}


def _peer(run: TrainingRun, examples: str, module: str, job: dict) -> dict:
    found = processes.ask(f"benchmarks.peers.{module}", {"examples": examples, **job}, run.folder)
    for level in LEVELS:
        if found["validation"] >= level:
            found[f"seconds_to_{level}"] = found["process_seconds"]
    return found


COLUMNS = (
    Column("test accuracy", "test", 2, 100, " %"),
    Column("validation", "validation", 2, 100, " %"),
    PROCESS,
    Column("CPU seconds", "cpu_seconds"),
    *(Column(f"to {level:.0%} on validation, s", f"seconds_to_{level}", 0) for level in LEVELS),
    MEMORY,
)


def tables(cases: dict[str, dict]) -> str:
    return table(cases, COLUMNS)
