"""What distribution costs: the same experiment on the same two cores, divided in several ways.

    python -m benchmarks.distribution --write       # and the table of docs/distributed.md
    python -m benchmarks.distribution --only=bilstm --reviews=1000 --repeats=7

One process with two cores, one process with two logical replicas, and two workers with a core each
take turns, two epochs each time. Compared are the examples per second of the second epoch, so that
neither the start of a process nor the building of graphs is in it. The workers talk over the
loopback interface: a network costs more.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

from absl import app, flags

from benchmarks import machine
from benchmarks.marked_blocks import with_tables
from benchmarks.processes import ROOT, define_cache_flag, environment
from benchmarks.rounds import say
from benchmarks.spread import spread
from benchmarks.training_runs import nothing_else

PAGE = ROOT / "docs" / "distributed.md"
COMMAND = "python -m benchmarks.distribution"
CORES = 2
_LIMIT_SECONDS = 1800  # of one measurement


@dataclass(frozen=True)
class Way:
    """How two cores are divided: over so many workers, with these bindings."""

    what: str
    workers: int = 1
    bindings: tuple[str, ...] = ()


WAYS = {
    "one": Way("1 worker × 2 cores"),
    "replicas": Way("1 worker × 2 cores, 2 logical replicas", 1, ("Runtime.logical_cpus = 2",)),
    "workers": Way("2 workers × 1 core", 2, ("Runtime.strategy = 'multi_worker'",)),
}
EXPERIMENTS = ("bilstm", "keras_mlp")


@dataclass(frozen=True)
class Measured:
    """What one way gave: examples per second in the second epoch, and what was trained."""

    rate: float
    parameters: int
    steps: int  # of both epochs


class Measuring:
    """One experiment in all ways, in a folder for what they leave behind."""

    def __init__(self, name: str, reviews: int, folder: pathlib.Path, cache: str):
        self.name, self.reviews, self.folder, self.cache = name, reviews, folder, cache
        self.cores = sorted(os.sched_getaffinity(0))[:CORES]

    def rounds(self, repeats: int) -> Iterator[dict[str, Measured]]:
        """Measures every way once, then again, so that neighbours can be compared."""
        for number in range(1, repeats + 1):
            found = {way: self.measure(way, self.folder / f"{way}_{number}") for way in WAYS}
            rates = ", ".join(f"{way} {measured.rate:,.0f}" for way, measured in found.items())
            load = os.getloadavg()[0]
            say(f"{self.name} {number}/{repeats}: {rates} examples/s (load {load:.1f})")
            yield found

    def measure(self, name: str, run: pathlib.Path) -> Measured:
        """Trains in one way."""
        way = WAYS[name]
        each = CORES // way.workers
        tasks = _tasks(way.workers)
        with contextlib.ExitStack() as started:
            workers = [
                started.enter_context(
                    self._started(run, way, self.cores[i * each : (i + 1) * each], task)
                )
                for i, task in enumerate(tasks)
            ]
            codes = [worker.wait(_LIMIT_SECONDS) for worker in workers]
        if any(codes):
            log = run.with_suffix(".log").read_text(errors="replace")
            raise SystemExit(f"{log}\n{self.name}, {way.what}: exit codes {codes}")
        results = json.loads((run / "results.json").read_text())
        lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        rate = "train/examples_per_second"
        rates = [values[rate] for line in lines if rate in (values := json.loads(line))]
        return Measured(rates[-1], results["parameters"], results["steps"])

    @contextlib.contextmanager
    def _started(self, run: pathlib.Path, way: Way, cores: list[int], task: str | None):
        """A process on some cores; it is ended with the block."""
        bindings = [f"--gin_bindings={binding}" for binding in (*self.bindings(), *way.bindings)]
        gin_file = f"--gin_file={ROOT / 'gin' / self.name}.gin"
        places = [f"--model_dir={run}", f"--cache_dir={self.cache}"]
        with run.with_suffix(".log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "sentiment_train.main", gin_file, *places, *bindings],
                env=environment(**({"TF_CONFIG": task} if task else {})),
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=lambda: os.sched_setaffinity(0, cores),
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def bindings(self) -> list[str]:
        """No evaluation in between, and nothing written but the metrics of each epoch."""
        return [f"Splits.max_examples = {self.reviews}", *nothing_else()]


def _tasks(workers: int) -> list[str | None]:
    """TF_CONFIG of each worker, on ports that were free just now; None for one alone."""
    if workers == 1:
        return [None]
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(workers)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        cluster = {"worker": ["{}:{}".format(*each.getsockname()) for each in sockets]}
    tasks = [{"type": "worker", "index": index} for index in range(workers)]
    return [json.dumps({"cluster": cluster, "task": task}) for task in tasks]


def table(measured: dict[str, list[dict[str, Measured]]]) -> str:
    """Markdown; rates and shares are medians, with the lowest and the highest.

    Args:
      measured: by experiment, the rounds.
    """
    lines = [
        "| experiment | parameters | the same two cores as | examples/s | against the first row |",
        "|---|---:|---|---:|---:|",
    ]
    for name, rounds in measured.items():
        for way, described in WAYS.items():
            rates = [found[way].rate for found in rounds]
            shares = [found[way].rate / found["one"].rate for found in rounds]
            parameters = f"{rounds[0][way].parameters:,}"
            share = "" if way == "one" else spread([100 * share for share in shares], 0) + " %"
            lines.append(
                f"| `gin/{name}.gin` | {parameters} | {described.what} | {spread(rates, 0)}"
                f" | {share} |"
            )
    return "\n".join(lines) + "\n"


def measure(values) -> str:
    """What the flags ask for, measured; markdown.

    Raises:
      SystemExit: where this process may not use two cores, or a measurement failed.
    """
    if len(getattr(os, "sched_getaffinity", lambda _: ())(0)) < CORES:
        raise SystemExit("error: this needs Linux and two cores.")
    measured = {}
    for name in values.only or EXPERIMENTS:
        with tempfile.TemporaryDirectory() as folder:
            cache = os.path.expanduser(values.cache_dir)
            reviews = 60 if values.quick else values.reviews
            measuring = Measuring(name, reviews, pathlib.Path(folder), cache)
            measured[name] = list(measuring.rounds(1 if values.quick else values.repeats))
    return table(measured)


def main(argv) -> None:
    del argv
    text = f"{measure(flags.FLAGS)}\n{machine.environment()}"
    print(text)
    if flags.FLAGS.write:
        page = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(with_tables(page, {"cost": text}, COMMAND), encoding="utf-8")


def define_flags(flag_values=flags.FLAGS) -> None:
    """Defined by the command, so that a process may import several benchmarks."""
    options = {"flag_values": flag_values}
    what = "Measure only this experiment; repeatable."
    flags.DEFINE_multi_enum("only", [], list(EXPERIMENTS), what, **options)
    flags.DEFINE_integer("reviews", 2500, "Reviews, of which four fifths train.", 50, **options)
    flags.DEFINE_integer("repeats", 5, "Measurements of each way.", 1, **options)
    flags.DEFINE_bool("quick", False, "60 reviews, once: shows that it works.", **options)
    flags.DEFINE_bool("write", False, "Write the table into docs/distributed.md.", **options)
    define_cache_flag(flag_values)


if __name__ == "__main__":
    define_flags()
    app.run(main)
