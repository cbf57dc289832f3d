"""What a training of ours does with its time and memory, for each of the main experiments."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from benchmarks import flops
from benchmarks.bench import Bench
from benchmarks.groups.limits import limit, share_of_limit
from benchmarks.rounds import Case, Contender
from benchmarks.tables import MEMORY, Column, table
from benchmarks.training_runs import EPOCHS, TrainingRun, nothing_else

TITLE = "What a training does with its time"
STORY = """\
`python -m sentiment_train.main`, two epochs over 5,000 of the reviews; the rates are of the second
one. (Of the tweets, whose epochs take less than a second: six over all of them, and the median of
five.) An epoch over all reviews has less padding, which stands under *Data*, and with all of them
the first step of `flagship`, which fits six linear models before, comes after 22 s. The store is
warm: an earlier run has encoded the texts. The first step is told by the run itself, from the
moment when TensorFlow was imported to its loss; so is the share of the steps' time that was spent
waiting for the next batch. Programs are the shapes of batches that XLA compiled the step, or loops
in it, for. Useful FLOP are those of the recurrent layers for real tokens (`benchmarks/flops.py`);
of models without such layers they are not counted."""

ROUNDS = 2
MEASUREMENTS = 14
MINUTES = 5

_REVIEWS = {"examples": 6250, "epochs": EPOCHS}  # of all splits together; 20 % are not trained on
_TWEETS = {"examples": None, "epochs": 6}
GIN_FILES = {
    "gru": _REVIEWS,
    "bilstm_tutorial": _REVIEWS,
    "airline": _TWEETS,
    "bilstm": _REVIEWS,
    "flagship": _REVIEWS,
    "use_multilingual_frozen": _TWEETS,
}


def cases(bench: Bench) -> Iterator[Case]:
    contenders = []
    for gin, size in GIN_FILES.items():
        bindings = (*nothing_else(size["epochs"]), *bench.examples(size["examples"]))
        run = bench.run(gin, f"configuration_{gin}", *bindings)
        contenders.append(Contender(gin, f"`gin/{gin}.gin`", partial(_measure, bench, run)))
    yield Case("configurations", [limit(bench), *contenders])


def _measure(bench: Bench, run: TrainingRun) -> dict:
    if not any(run.folder.iterdir()):
        bench.texts_of(run)  # the store is warm from now on
    found = run.measure()
    tokens_of_a_step = found["tokens_per_second"] * found["epoch_seconds"] / found["steps"]
    experiment = flops.experiment_of(run.gin_file, run.bindings)
    useful = flops.of_a_step(experiment, tokens_of_a_step)
    if useful is None:
        return found
    return {**found, "gflops": useful * found["steps"] / found["epoch_seconds"] / 1e9}


COLUMNS = (
    Column("examples/s", "examples_per_second"),
    Column("real tokens/s", "tokens_per_second"),
    Column("padding", "padding", 1, 100, " %"),
    Column("useful GFLOP/s", "gflops", 1),
    share_of_limit(),
    Column("waiting for input", "input_wait", 1, 100, " %"),
    Column("to the first step, s", "first_step_seconds", 1),
    Column("programs", "compilations"),
    MEMORY,
)


def tables(cases: dict[str, dict]) -> str:
    return table(cases, COLUMNS)
