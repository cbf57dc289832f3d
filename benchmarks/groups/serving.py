"""The exported SavedModel against `predict` of the same model in Keras, strings in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial

from benchmarks import flops, processes
from benchmarks.bench import Bench
from benchmarks.groups.same_model import described
from benchmarks.rounds import Case, Contender, ratios
from benchmarks.tables import MEMORY, Column, table, times
from benchmarks.training_runs import TrainingRun

TITLE = "Answering texts"
STORY = """\
Document 001's model, trained for one step and exported; Keras gets the same weights and the same
vocabulary in its own layers, and must give the same answers, or nothing is measured. Both take raw
strings. One text: the median time of a call with each of 64 test reviews. Many texts: 640, some 250
test reviews again and again, 64 in a call; `predict` gets all of them at once and `batch_size=64`.
Everything is called once before it is timed. `predict` is what Keras' users call and what the
target is held against; it costs tens of milliseconds a call, so the bare model, `model(x)` in a
`tf.function`, is measured, too."""

ROUNDS = 3
MEASUREMENTS = 9
MINUTES = 2

GIN = "bilstm_tutorial"
_TEXTS = 640
_SAME = 1e-4  # most that probabilities may differ
_BINDINGS = (
    "Training.length = '1 steps'",
    "Experiment.report = None",
    "Experiment.calibration = None",  # Keras' model has none
    "TextRules.html_breaks = False",  # so that words are those of TextVectorization
)
_WAYS = {"predict": "Keras `predict`", "graph": "Keras, `model(x)` in a `tf.function`"}


def cases(bench: Bench) -> Iterator[Case]:
    run = bench.run(GIN, "serving", *_BINDINGS, *bench.examples(2500))
    examples, _ = bench.texts_of(run)
    test = json.loads(examples.read_text(encoding="utf-8"))["test"]["texts"][:_TEXTS]
    # Reviews again where the split is small; a call has no memory of another.
    test = (test * (_TEXTS // len(test) + 1))[: 8 if bench.quick else _TEXTS]
    texts = run.folder / "texts.json"
    texts.write_text(json.dumps(test), encoding="utf-8")
    directory, _ = run.run()
    job = {
        "weights": _weights(run, directory),
        "vocabulary": str(directory / "vocabulary.txt"),
        "model": described(flops.experiment_of(run.gin_file, run.bindings)),
        "texts": str(texts),
    }
    served = {"saved_model": str(directory / "saved_model"), "texts": str(texts)}
    asked = SameAnswers(run)
    ours = Contender("ours", "the SavedModel", partial(asked, "ours.served", served))
    theirs = [
        Contender(way, what, partial(asked, "peers.keras_predict", {**job, "way": way}))
        for way, what in _WAYS.items()
    ]
    yield Case("serving", [ours, *theirs], {"texts": len(test)})


def _weights(run: TrainingRun, directory) -> str:
    """The path of the model's arrays from the checkpoint of a run, as `.npz`."""
    import numpy as np
    import safetensors.numpy

    (checkpoint,) = directory.glob("checkpoints/step-*/variables.safetensors")
    arrays = safetensors.numpy.load_file(checkpoint)
    kept = {name.split("/")[1]: a for name, a in arrays.items() if name.startswith("model/")}
    path = run.folder / "weights.npz"
    np.savez(path, **kept)
    return str(path)


class SameAnswers:
    """Asks, and ends the measurement where two do not answer the same."""

    def __init__(self, run: TrainingRun):
        self.run, self.first = run, None

    def __call__(self, module: str, job: dict) -> dict:
        found = processes.ask(f"benchmarks.{module}", job, self.run.folder)
        answers = found.pop("probabilities")
        self.first = self.first or answers
        difference = max(abs(a - b) for a, b in zip(answers, self.first, strict=True))
        if not difference < _SAME:
            raise SystemExit(f"benchmarks.{module} answers otherwise, by {difference:.2g}")
        return {**found, "difference": difference}


def _times_slower(case: dict, contender: str) -> list[float]:
    if contender == "ours":
        return []
    return ratios(case, (contender, "latency_seconds"), ("ours", "latency_seconds"))


COLUMNS = (
    Column("one text, ms", "latency_seconds", 1, 1000),
    Column("ours, times faster", _times_slower, 1, unit=" ×"),
    Column("many texts, texts/s", "texts_per_second"),
    times("texts_per_second"),
    MEMORY,
)


def tables(cases: dict[str, dict]) -> str:
    return table(cases, COLUMNS)
