"""Real processes on real reviews; the model is so small that they mostly start TensorFlow."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).parents[2]

SMALL = """
include 'runtime/auto.gin'
include 'data/imdb.gin'
include 'model/recurrent.gin'
PackagedReviews.subset = 'rotten_tomatoes'
Vocabulary.max_size = 1000
WordEncoder.max_length = 40
RecurrentClassifier.embedding_size = 8
RecurrentClassifier.cell = 'gru'
RecurrentClassifier.units = (6,)
RecurrentClassifier.pooling = 'mean+max'
Buckets.count = 2
Buckets.multiple_of = 1
Buckets.tokens_per_batch = 1500
CosineSchedule.learning_rate = 0.01
Experiment.schedule = @CosineSchedule()
Training.length = '24 steps'
Training.log_every = '1 steps'
Validation.every = '10 steps'
Checkpointing.every = '3 steps'
Experiment.export = False
Experiment.report = None
"""


def environment(path: pathlib.Path = ROOT, **more: str) -> dict[str, str]:
    """That of this process, with the package found at `path`."""
    paths = [str(path), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **more}


class Program:
    """`python -m sentiment_train.main` with one gin file, one cache and a folder of runs."""

    def __init__(self, folder: pathlib.Path, cache: pathlib.Path, gin_text: str = SMALL):
        self.folder, self.cache = folder, cache
        self.gin_file = folder / "small.gin"
        self.gin_file.write_text(gin_text)

    def command(self, run: str, *flags: str) -> list[str]:
        return [
            *(sys.executable, "-m", "sentiment_train.main", f"--gin_file={self.gin_file}"),
            *(f"--model_dir={self.folder / run}", f"--cache_dir={self.cache}", *flags),
        ]

    def start(self, run: str, *flags: str, **variables: str) -> subprocess.Popen:
        """Starts a process; its output goes to `<run>.log`, appended."""
        with (self.folder / f"{run}.log").open("ab") as log:
            return subprocess.Popen(
                self.command(run, *flags),
                env=environment(**variables),
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def finish(self, run: str, *flags: str, **variables: str) -> int:
        """Runs a process to its end; the exit status."""
        return self.start(run, *flags, **variables).wait(timeout=240)

    def log(self, run: str) -> str:
        return (self.folder / f"{run}.log").read_text()

    def results(self, run: str) -> dict:
        assert (self.folder / run / "results.json").exists(), self.log(run)
        return json.loads((self.folder / run / "results.json").read_text())

    def metrics(self, run: str) -> dict[tuple[int, str], float]:
        """`{(step, tag): value}` of metrics.jsonl, without the speeds; each must be there once."""
        points = {}
        for line in (self.folder / run / "metrics.jsonl").read_text().splitlines():
            values = json.loads(line)
            step = values.pop("step")
            for tag, value in values.items():
                if not tag.endswith("per_second"):
                    assert (step, tag) not in points
                    points[step, tag] = value
        return points


def wait_until(condition, process: subprocess.Popen) -> None:
    """Returns as soon as `condition()` holds; fails if the process ends before."""
    deadline = time.monotonic() + 200
    while not condition():
        assert process.poll() is None, "the process ended before it could be disturbed"
        assert time.monotonic() < deadline
        time.sleep(0.0005)
