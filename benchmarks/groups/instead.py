"""What a user would pick instead: accuracy, and the time from texts to answers."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks import processes
from benchmarks.bench import Bench
from benchmarks.rounds import Case, Contender
from benchmarks.tables import MEMORY, PROCESS, Column, table
from benchmarks.training_runs import TrainingRun, results_of, validations_of

TITLE = "What a user would pick instead"
STORY = """\
The packaged IMDb reviews, deduplicated, cut 80/10/10 by the project, and the tweets, cut 60/20/20;
everyone gets the same texts. The whole process counts on every side, from its start to its end:
imports, reading, encoding from nothing (ours begins with an empty cache here), training, answers to
validation and test. CPU seconds are what it costs on a machine that is paid by the core. The linear
models and fastText have the settings with the best validation accuracy (but for the tweets' C = 3,
one tweet of validation below C = 100 and a point of test above it: to the good of the other); the
search for them is not counted, as it is not for ours. Logistic regression uses one core, as
scikit-learn has it; fastText and ours use all. A linear model reaches an accuracy when it is done,
a network at the first validation that shows it.

Ours is trained with three seeds, 0, 1 and 2, on the same split; the test split chose nothing. The
accuracy of ours that is told among the targets is the mean of the three, here stands their median.
The calibration error is that of the test split after the temperature was fitted to the validation
split.

With 2,490 test reviews, or 2,884 tweets, an accuracy has a standard error of 0.6 or 0.7 points."""

ROUNDS = 2
MEASUREMENTS = 14
MINUTES = 11

LEVELS = (0.86, 0.90)  # validation accuracy of reviews: that of document 000, and a good one
SEEDS = 3
_RUN = ("Experiment.export = False", "Experiment.report = None")
_TFIDF = "scikit-learn: TF-IDF of words and pairs, logistic regression"
_NB = "scikit-learn: NB-weighted words, pairs and triples, logistic regression"


def cases(bench: Bench) -> Iterator[Case]:
    reviews, counts = _Texts.of(bench, "flagship")
    contenders = [
        _ours(bench, "flagship"),
        Contender("tfidf", _TFIDF, reviews.ask("linear", kind="tfidf", inverse_penalty=100.0)),
        Contender("nb", _NB, reviews.ask("linear", kind="nb", inverse_penalty=3.0)),
        Contender("fasttext", "fastText, words and pairs", reviews.ask("fast_text"), "fasttext"),
    ]
    yield Case("imdb", contenders, counts)
    tweets, counts = _Texts.of(bench, "use_multilingual_frozen")
    contenders = [
        _ours(bench, "use_multilingual_frozen"),
        # One tweet of validation less than with 100, which is a point worse on test.
        Contender("tfidf", _TFIDF, tweets.ask("linear", kind="tfidf", inverse_penalty=3.0)),
    ]
    yield Case("tweets", contenders, counts)


def _ours(bench: Bench, gin: str) -> Contender:
    quick = ("Training.length = '2 epochs'",) if bench.quick else ()
    run = bench.run(gin, f"instead_{gin}", *_RUN, *bench.examples(None), *quick)
    seeds = itertools.count()
    return Contender(gin, f"`gin/{gin}.gin`", lambda: network(run, next(seeds)), rounds=SEEDS)


def network(run: TrainingRun, seed: int, limit: float = 900) -> dict:
    """A whole training with an empty cache."""
    with tempfile.TemporaryDirectory(dir=run.folder) as cache:
        cold = TrainingRun(run.gin, run.bindings, run.folder, cache)
        directory, cost = cold.run(f"Runtime.seed = {seed}", limit=limit)
    results = results_of(directory)
    found = {
        "validation": results["validation"]["accuracy"],
        "test": results["test"]["accuracy"],
        "macro_f1": results["test"]["macro_f1"],
        "calibration_error": results["details"]["test"]["calibration_error"],
    }
    reached = ((time - cost.began, accuracy) for time, accuracy in validations_of(directory))
    return {**found, **_times_to_levels(list(reached)), **cost.as_measures()}


def _times_to_levels(validations: list[tuple[float, float]]) -> dict:
    """Of (seconds, accuracy), in their order."""
    found = {}
    for level in LEVELS:
        seconds = next((time for time, accuracy in validations if accuracy >= level), None)
        if seconds is not None:
            found[f"seconds_to_{level}"] = seconds
    return found


@dataclass(frozen=True)
class _Texts:
    """The splits of an experiment, in a file for the peers."""

    run: TrainingRun
    path: str

    @classmethod
    def of(cls, bench: Bench, gin: str) -> tuple[_Texts, dict[str, int]]:
        """Also how many texts each split has."""
        run = bench.run(gin, f"texts_{gin}", *bench.examples(None))
        path, counts = bench.texts_of(run)
        return cls(run, str(path)), counts

    def ask(self, module: str, **job) -> Callable[[], dict]:
        """What measures a module of `peers` on these texts."""

        def measure() -> dict:
            found = processes.ask(
                f"benchmarks.peers.{module}", {"examples": self.path, **job}, self.run.folder
            )
            return {**found, **_times_to_levels([(found["process_seconds"], found["validation"])])}

        return measure


COLUMNS = (
    Column("test accuracy", "test", 2, 100, " %"),
    Column("validation", "validation", 2, 100, " %"),
    Column("macro-F1", "macro_f1", 3),
    Column("calibration error", "calibration_error", 1, 100, " %"),
    PROCESS,
    Column("CPU seconds", "cpu_seconds"),
    *(Column(f"to {level:.0%} on validation, s", f"seconds_to_{level}", 0) for level in LEVELS),
    MEMORY,
)


def tables(cases: dict[str, dict]) -> str:
    return table(cases, COLUMNS, "texts")
