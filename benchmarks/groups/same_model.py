"""The same model and the same batches by Keras' `fit` and by PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from benchmarks import flops, processes
from benchmarks.bench import Bench
from benchmarks.rounds import Case, Contender
from benchmarks.tables import MEMORY, Column, table, times
from benchmarks.training_runs import EPOCHS, NOTHING_ELSE, TrainingRun

TITLE = "The same model, the same batches"
STORY = """\
What do the layers and the loop bring, apart from better batches? Keras and PyTorch get our batches,
in our order, ready in memory, without the rows that only fill a batch up; the same initial weights;
Adam with the same settings; as many updates. That it is the same model shows in the loss of the
second epoch, which is in the table. Ours reads its batches from the store meanwhile.

Keras' `fit` runs as it comes: a graph, not XLA. PyTorch is measured in two ways: with
`pack_padded_sequence`, which is what it has for rows of different lengths and what the target is
held against, and over padded rows, where oneDNN computes an LSTM as a whole. Compared is the second
of two epochs."""

_EXAMPLES = 1250
MODELS = ("gru", "bilstm_tutorial")
NEEDS = "torch"
_WAYS = {
    "torch_packed": ("packed", "PyTorch, packed sequences"),
    "torch_padded": ("padded", "PyTorch, padded rows"),
}


def cases(bench: Bench) -> Iterator[Case]:
    for name in MODELS:
        bindings = (*NOTHING_ELSE, "Experiment.optimizer = @Adam()", *bench.examples(_EXAMPLES))
        run = bench.run(name, f"same_{name}", *bindings)
        batches = run.folder / "batches.npz"
        job = {"gin_file": run.gin_file, "bindings": list(bindings), "cache": bench.cache}
        job |= {"epochs": EPOCHS, "output": str(batches)}
        facts = processes.ask("benchmarks.ours.batches", job, run.folder)
        facts = {key: facts[key] for key in ("examples", "batches", "tokens", "parameters")}
        experiment = flops.experiment_of(run.gin_file, bindings)
        job = {
            "batches": str(batches),
            "model": described(experiment),
            "learning_rate": experiment.schedule.learning_rate,
        }
        ask = partial(_peer, run, facts)
        theirs = [
            Contender("keras", "Keras `fit`", partial(ask, "keras_fit", job)),
            *(
                Contender(peer, what, partial(ask, "torch_fit", {**job, "way": way}), NEEDS)
                for peer, (way, what) in _WAYS.items()
            ),
        ]
        ours = Contender("ours", f"the layers of `gin/{name}.gin`", run.measure)
        yield Case(name, [ours, *theirs], facts)


def described(experiment) -> dict:
    """The fields of a `RecurrentClassifier` that the peers build their model by."""
    model = experiment.model
    return {
        "vocabulary": experiment.encoder.vocabulary.max_size,
        "embedding_size": model.embedding_size,
        "cell": model.cell,
        "units": model.units[0],
        "bidirectional": model.bidirectional,
        "dense_units": list(model.dense_units),
    }


def _peer(run: TrainingRun, facts: dict, module: str, job: dict) -> dict:
    found = processes.ask(f"benchmarks.peers.{module}", job, run.folder)
    first, *_, last = found.pop("epoch_seconds")
    return {
        "first_epoch_seconds": first,
        "epoch_seconds": last,
        "examples_per_second": facts["examples"] / last,
        "tokens_per_second": facts["tokens"] / last,
        "loss": found.pop("losses")[-1],
        **found,
    }


COLUMNS = (
    Column("examples/s", "examples_per_second"),
    Column("real tokens/s", "tokens_per_second"),
    times("examples_per_second"),
    Column("the first epoch, s", "first_epoch_seconds", 1),
    Column("loss", "loss", 4),
    MEMORY,
)


def tables(cases: dict[str, dict]) -> str:
    named = {
        f"{name}, {facts['examples']:,} reviews in {facts['batches']} batches": case
        for name, case in cases.items()
        for facts in [case["facts"]]
    }
    return table(named, COLUMNS, "model")
