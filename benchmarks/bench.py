"""What a group of measurements gets: a folder, the encoded data, and how much it may do."""

from __future__ import annotations

import pathlib
from dataclasses import dataclass

from benchmarks import processes
from benchmarks.training_runs import TrainingRun

QUICK_EXAMPLES = 40


@dataclass(frozen=True)
class Bench:
    """`quick` shows that everything works, in seconds; the numbers mean nothing."""

    folder: pathlib.Path
    cache: str
    quick: bool = False

    def examples(self, wanted: int | None) -> tuple[str, ...]:
        """A binding for so many examples in all splits together; None: all there are."""
        wanted = QUICK_EXAMPLES if self.quick else wanted
        return () if wanted is None else (f"Splits.max_examples = {wanted}",)

    def of(self, name: str) -> pathlib.Path:
        """A folder of a case's own."""
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def run(self, gin: str, name: str, *bindings: str) -> TrainingRun:
        """A training of ours, in the folder of a case."""
        return TrainingRun(gin, bindings, self.of(name), self.cache)

    def texts_of(self, run: TrainingRun) -> tuple[pathlib.Path, dict[str, int]]:
        """A file of the splits as a run has them, and how many examples each has; now they are
        encoded, too."""
        output = run.folder / "examples.json"
        job = {"gin_file": run.gin_file, "bindings": list(run.bindings), "cache": self.cache}
        found = processes.ask("benchmarks.ours.texts", {**job, "output": str(output)}, run.folder)
        return output, {name: found[name] for name in ("train", "validation", "test")}
