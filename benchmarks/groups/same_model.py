"""The same model and the same batches by Keras' `fit` and by PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from benchmarks import flops, processes
from benchmarks.bench import Bench
from benchmarks.rounds import Case, Contender
from benchmarks.tables import MEMORY, Column, table, times
from benchmarks.training_runs import EPOCHS, TrainingRun, nothing_else

TITLE = "The same model, the same batches"
STORY = """\
What do the layers and the step bring, apart from better batches? Everyone does the same updates:
one batch of six, short ones and long ones alike, of an epoch over 5,000 reviews in batches of
similar length. Keras and PyTorch have theirs ready in memory, without the rows that only fill a
batch up; ours reads them from the store meanwhile. All begin with the same weights and have Adam
with the same settings. That it is the same model shows in the loss of the second epoch. Compared is
that epoch.

Keras' `fit` runs as it comes: a graph, not XLA. PyTorch is measured in two ways: over padded rows,
where oneDNN computes an LSTM as a whole, and with `pack_padded_sequence`, which is what it has for
rows of different lengths. Packed rows get one batch of twelve of those (two of the GRU, one of the
LSTM) and, after an update that is not counted, one epoch; it is compared, so their ratio is rough.
With other work on the cores they are tens of times slower."""

ROUNDS = 2
MEASUREMENTS = 16
MINUTES = 2

_EXAMPLES = 6250  # of all splits; 5,000 are trained on, fewer would fill more rows up
_ONE_OF = 6
_PACKED_ONE_OF = 12  # of these
_LIMIT_SECONDS = 300  # PyTorch's threads wait actively: beside other work they may never end
MODELS = ("gru", "bilstm_tutorial")
NEEDS = "torch"


def cases(bench: Bench) -> Iterator[Case]:
    for name in MODELS:
        bindings = (*nothing_else(), "Experiment.optimizer = @Adam()", *bench.examples(_EXAMPLES))
        run = bench.run(name, f"same_{name}", *bindings)
        batches = run.folder / "batches.npz"
        ours = {"gin_file": run.gin_file, "bindings": list(bindings), "cache": bench.cache}
        ours |= {"epochs": EPOCHS, "one_of": 1 if bench.quick else _ONE_OF}
        job = {**ours, "output": str(batches)}
        facts = processes.ask("benchmarks.ours.batches", job, run.folder)
        facts = {k: facts[k] for k in ("examples", "batches", "tokens", "padding", "parameters")}
        experiment = flops.experiment_of(run.gin_file, bindings)
        theirs = {
            "batches": str(batches),
            "model": described(experiment),
            "learning_rate": experiment.schedule.learning_rate,
        }
        padded = {**theirs, "way": "padded"}
        packed = {**theirs, "way": "packed", "one_of": _PACKED_ONE_OF}
        ask = partial(_updates, run)
        contenders = [
            Contender("ours", f"the layers of `gin/{name}.gin`", ask("ours.updates", ours, facts)),
            Contender("keras", "Keras `fit`", ask("peers.keras_fit", theirs, facts)),
            Contender(
                "torch_padded",
                "PyTorch, padded rows",
                ask("peers.torch_fit", padded, facts),
                NEEDS,
            ),
            Contender(
                "torch_packed",
                "PyTorch, packed sequences",
                ask("peers.torch_fit", packed, {}),
                NEEDS,
            ),
        ]
        yield Case(name, contenders, facts)


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


def _updates(run: TrainingRun, module: str, job: dict, facts: dict) -> Callable[[], dict]:
    """What measures somebody who trains on batches.

    Args:
      facts: how many `examples` and `tokens` an epoch has, unless that is answered.
    """

    def measure() -> dict:
        found = processes.ask(f"benchmarks.{module}", job, run.folder, _LIMIT_SECONDS)
        seconds, losses = found.pop("epoch_seconds"), found.pop("losses")
        found = {"examples": facts.get("examples"), "tokens": facts.get("tokens"), **found}
        loss = {"loss": losses[1]} if len(losses) > 1 else {}
        return {
            "first_epoch_seconds": seconds[0],
            "epoch_seconds": seconds[-1],
            "examples_per_second": found["examples"] / seconds[-1],
            "tokens_per_second": found["tokens"] / seconds[-1],
            **loss,
            **found,
        }

    return measure


COLUMNS = (
    Column("examples", "examples"),
    Column("examples/s", "examples_per_second"),
    Column("real tokens/s", "tokens_per_second"),
    times("examples_per_second"),
    Column("the first epoch, s", "first_epoch_seconds", 1),
    Column("loss", "loss", 4),
    MEMORY,
)


def tables(cases: dict[str, dict]) -> str:
    named = {
        f"{name}, {facts['batches']} batches, {facts['padding']:.1%} padding": case
        for name, case in cases.items()
        for facts in [case["facts"]]
    }
    return table(named, COLUMNS, "model")
