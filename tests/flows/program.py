"""Real processes on real reviews; the model is so small that they mostly start TensorFlow."""

from __future__ import annotations

import json
import os
import pathlib
import socket
import subprocess
import sys
import time

import warm

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


def task_configs(workers: int) -> list[str]:
    """TF_CONFIG of each of so many workers on this machine, on ports that were free just now."""
    sockets = [socket.socket() for _ in range(workers)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    cluster = {"worker": ["{}:{}".format(*each.getsockname()) for each in sockets]}
    for each in sockets:
        each.close()
    tasks = [{"type": "worker", "index": index} for index in range(workers)]
    return [json.dumps({"cluster": cluster, "task": task}) for task in tasks]


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

    def start(
        self, run: str, *flags: str, log: str | None = None, **variables: str
    ) -> warm.WarmProcess:
        """Starts a process; its output goes to `<log or run>.log`, appended."""
        arguments = self.command(run, *flags)[1:]
        file = self.folder / f"{log or run}.log"
        return warm.start(arguments, environment(**variables), self.folder, file)

    def finish(self, run: str, *flags: str, log: str | None = None, **variables: str) -> int:
        """Runs a process to its end; the exit status."""
        return self.start(run, *flags, log=log, **variables).wait()

    def finish_cold(self, run: str, *flags: str) -> int:
        """As `finish`, in a process that shares nothing with the others, not even `hash()`."""
        with (self.folder / f"{run}.log").open("ab") as log:
            return subprocess.run(
                self.command(run, *flags),
                env=environment(),
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=240,
                check=False,
            ).returncode

    def log(self, run: str) -> str:
        return (self.folder / f"{run}.log").read_text()

    def has_logged(self, run: str, step: int):
        """A condition: the training metrics of a step are written (its evaluation comes after)."""
        path = self.folder / run / "metrics.jsonl"
        return lambda: path.exists() and f'{{"step": {step}, "train' in path.read_text()

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
                if not tag.endswith(("per_second", "input_wait")):
                    assert (step, tag) not in points
                    points[step, tag] = value
        return points


class Workers:
    """Processes that are the workers of one run; their output is in `<run>.<index>.log`.

    A single one has a TF_CONFIG, too, as a cluster of one worker.
    """

    def __init__(self, program: Program, run: str, count: int, *flags: str):
        self.program, self.run = program, run
        self.processes = [
            program.start(run, *flags, log=f"{run}.{index}", TF_CONFIG=config)
            for index, config in enumerate(task_configs(count))
        ]

    def poll(self) -> int | None:
        """The exit status of one that has ended."""
        codes = [process.poll() for process in self.processes]
        return next((code for code in codes if code is not None), None)

    def wait(self, timeout: float = 200) -> list[int]:
        """The exit statuses of all; none takes longer than `timeout` seconds after another."""
        try:
            return [process.wait(timeout) for process in self.processes]
        finally:
            for process in self.processes:
                process.kill()

    def log(self, index: int = 0) -> str:
        return self.program.log(f"{self.run}.{index}")

    def logs(self) -> str:
        """Those of all, for the message of a failed assertion."""
        return "\n".join(f"worker {i}\n{self.log(i)}" for i in range(len(self.processes)))


def wait_until(condition, process: warm.WarmProcess | subprocess.Popen | Workers) -> None:
    """Returns as soon as `condition()` holds; fails if the process ends before."""
    deadline = time.monotonic() + 200
    while not condition():
        assert process.poll() is None, "the process ended before it could be disturbed"
        assert time.monotonic() < deadline
        time.sleep(0.0005)
