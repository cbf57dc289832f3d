"""Ours is measured as it is used: `python -m sentiment_train.main`, and what that has written."""

from __future__ import annotations

import json
import pathlib
import statistics
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks import processes

EPOCHS = 2  # the first one holds all that is built and compiled; compared are the others


def nothing_else(epochs: int = EPOCHS) -> tuple[str, ...]:
    """Bindings: a training and nothing besides it. No validation in between, no more checkpoints
    than one, nothing written behind the training."""
    return (
        f"Training.length = '{epochs} epochs'",
        "Training.log_every = '1 epochs'",
        f"Validation.every = '{epochs} epochs'",
        f"Checkpointing.every = '{epochs} epochs'",
        "Experiment.export = False",
        "Experiment.report = None",
    )


# What a run says of itself, by the name in `metrics.jsonl` without `train/` and in `results.json`.
_OF_AN_EPOCH = ("examples_per_second", "tokens_per_second", "padding", "input_wait")
_OF_THE_RUN = ("first_step_seconds", "compilations", "parameters", "train_seconds")


@dataclass(frozen=True)
class TrainingRun:
    """An experiment, trained in a new run directory each time.

    Args:
      gin: name of a file in gin/, without `.gin`.
      bindings: what is different from it.
      folder: for run directories and logs.
      cache: of encoded data; where an earlier run left its data, they are not encoded again.
    """

    gin: str
    bindings: tuple[str, ...]
    folder: pathlib.Path
    cache: str

    @property
    def gin_file(self) -> str:
        return str(processes.ROOT / "gin" / f"{self.gin}.gin")

    def run(self, *bindings: str, limit: float = 900) -> tuple[pathlib.Path, processes.Cost]:
        """Trains; the run directory, and what it cost.

        Args:
          bindings: besides those of all runs.
          limit: seconds it may take.
        """
        number = len(list(self.folder.glob(f"{self.gin}_*"))) + 1
        directory = self.folder / f"{self.gin}_{number}"
        bindings = [f"--gin_bindings={binding}" for binding in (*self.bindings, *bindings)]
        places = [f"--model_dir={directory}", f"--cache_dir={self.cache}"]
        arguments = [f"--gin_file={self.gin_file}", *bindings, *places]
        log = self.folder / f"log_of_{self.gin}.txt"
        return directory, processes.run("sentiment_train.main", *arguments, log=log, limit=limit)

    def measure(self) -> dict:
        """Trains; the medians of all epochs after the first, and what the process cost."""
        directory, cost = self.run()
        results = results_of(directory)
        first, *others = (m for m in metrics_of(directory) if "train/examples_per_second" in m)
        examples = results["examples_seen"] / (1 + len(others))
        of_epochs = {name: _median(others, f"train/{name}") for name in _OF_AN_EPOCH}
        found = {
            "examples": examples,
            "steps": results["steps"] / (1 + len(others)),
            "first_epoch_seconds": examples / first["train/examples_per_second"],
            "epoch_seconds": examples / of_epochs["examples_per_second"],
            **of_epochs,
            "loss": others[-1]["train/loss"],
            **{name: results.get(name) for name in _OF_THE_RUN},
            **cost.as_measures(),
        }
        return {name: value for name, value in found.items() if value is not None}


def _median(epochs: Sequence[dict], name: str) -> float | None:
    """Of what was reported of some epochs; None if it was not."""
    found = [epoch[name] for epoch in epochs if name in epoch]
    return statistics.median(found) if found else None


def results_of(run: pathlib.Path) -> dict:
    """The `results.json` of a run."""
    return json.loads((run / "results.json").read_text(encoding="utf-8"))


def metrics_of(run: pathlib.Path) -> list[dict]:
    """The lines of `metrics.jsonl`."""
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def validations_of(run: pathlib.Path) -> Iterator[tuple[float, float]]:
    """When (seconds since the epoch) which validation accuracy was measured, in their order.

    From the event files of TensorBoard, which know the time: records of a length (8 bytes), its
    checksum (4), the event, its checksum (4).
    """
    from tensorboard.compat.proto.event_pb2 import Event

    for path in sorted((run / "tensorboard").glob("events.*")):
        content, place = path.read_bytes(), 0
        while place < len(content):
            (length,) = struct.unpack_from("<Q", content, place)
            event = Event.FromString(content[place + 12 : place + 12 + length])
            place += 12 + length + 4
            for value in event.summary.value:
                if value.tag == "validation/accuracy":
                    yield event.wall_time, value.simple_value
