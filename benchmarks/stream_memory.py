"""Is the memory of a streamed training flat? Generates reviews, trains on them, watches.

    python -m benchmarks.stream_memory --folder=/tmp/reviews

Trains through a data service of one data worker, on 200,000 and then on 2,000,000 generated
reviews, one epoch each, and writes the resident memory of the trainer, of the dispatcher and of the
data worker at every tenth of the way. The folder needs 0.2 GB; what is in it is used again.
"""

from __future__ import annotations

import gzip
import json
import pathlib
import re
import subprocess
import sys
import time

import numpy as np
from absl import app, flags

PER_SHARD = 20_000
WORDS = 20_000  # that reviews are made of
GIN = """
include 'data/shards.gin'
include 'runtime/auto.gin'
Experiment.model = @MlpClassifier()
MlpClassifier.embedding_size = 16
MlpClassifier.pooling = 'mean+max'
MlpClassifier.dense_units = (16,)
Shards.sample = 20_000
WordEncoder.max_length = 128
Vocabulary.max_size = 10_000
Buckets.count = 4
Training.length = '1 epoch'
Training.log_every = '100 steps'
Checkpointing.every = '500 steps'
Validation.best_by = None
Experiment.export = False
Experiment.report = None
"""


def define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string("folder", None, "For reviews, runs and logs.", flag_values=values)
    flags.DEFINE_list("reviews", ["200000", "2000000"], "How many.", flag_values=values)
    flags.DEFINE_integer("per_shard", PER_SHARD, "Reviews of a file.", flag_values=values)


def generate(folder: pathlib.Path, reviews: int, per_shard: int) -> list[pathlib.Path]:
    """Shards of generated reviews: words by Zipf's law, 10 to 200 of them, that tell the label."""
    folder.mkdir(parents=True, exist_ok=True)
    words = np.array([f"word{i}" for i in range(WORDS)], object)
    paths = []
    for shard in range(-(-reviews // per_shard)):
        paths.append(path := folder / f"reviews-{shard:05d}.jsonl.gz")
        if path.exists():
            continue
        random = np.random.default_rng(shard)
        partial = path.with_suffix(".partial")
        with gzip.open(partial, "wt", compresslevel=1) as file:
            for _ in range(min(per_shard, reviews - shard * per_shard)):
                label = int(random.integers(2))
                chosen = random.zipf(1.3, int(random.integers(10, 201))) % WORDS
                text = " ".join(words[(chosen + 7 * label) % WORDS])
                file.write(json.dumps({"text": text, "label": label}) + "\n")
        partial.rename(path)
    return paths


def resident_bytes(pid: int) -> int:
    """The resident memory of a process, by /proc; 0 if it is gone."""
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    return int(found[1]) * 1024 if found else 0


def children_of(pid: int) -> list[int]:
    """The processes that a process started and that are there, in the order of their ids."""
    found = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return sorted(map(int, found.split()))


class Watched:
    """A training through a data service, with the memory of its three processes."""

    def __init__(self, folder: pathlib.Path, paths: list[pathlib.Path], reviews: int):
        self.folder, self.paths, self.reviews = folder, paths, reviews
        self.run = folder / f"run-{reviews}"
        self.points: list[tuple[int, int, int, int]] = []  # step, bytes of each process

    def measure(self) -> None:
        log = (self.folder / f"service-{self.reviews}.log").open("w+")
        service = subprocess.Popen(
            [sys.executable, "-m", "sentiment_train.data_service", "--workers=1", "--port=0"],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            address = self._address(service, pathlib.Path(log.name))
            trainer = subprocess.Popen(self._command(address))
            while trainer.poll() is None:
                time.sleep(1)
                self._look([trainer.pid, *children_of(service.pid)])
            if trainer.returncode:
                raise SystemExit(f"the training ended with {trainer.returncode}")
        finally:
            service.terminate()
            service.wait()

    def _address(self, service: subprocess.Popen, log: pathlib.Path) -> str:
        while not (found := re.search(r"'(grpc://\S+)'", log.read_text())):
            if service.poll() is not None:
                raise SystemExit(f"the data service could not start: {log.read_text()}")
            time.sleep(0.2)
        return found[1]

    def _command(self, address: str) -> list[str]:
        gin_file = self.folder / f"stream-{self.reviews}.gin"
        names = ", ".join(repr(str(path)) for path in self.paths)
        gin_file.write_text(
            f"{GIN}Shards.train = ({names},)\nShards.service = '{address}'\n"
            f"Shards.examples = {self.reviews}\n"
        )
        return [
            *(sys.executable, "-m", "sentiment_train.main", f"--gin_file={gin_file}"),
            *(f"--model_dir={self.run}", f"--cache_dir={self.folder / 'cache'}"),
        ]

    def _look(self, pids: list[int]) -> None:
        metrics = self.run / "metrics.jsonl"
        lines = metrics.read_text().splitlines() if metrics.exists() else []
        steps = [json.loads(line)["step"] for line in lines if line.endswith("}")]
        sizes = [resident_bytes(pid) for pid in pids]
        before = self.points[-1][0] if self.points else 0
        if steps and steps[-1] > before and len(sizes) == 3 and all(sizes):
            self.points.append((steps[-1], *sizes))


def table(watched: list[Watched]) -> str:
    """The memory at every tenth of the way, in MB."""
    lines = [
        "| reviews | step | trainer | dispatcher | data worker |",
        "|---|---|---|---|---|",
    ]
    for one in watched:
        last = one.points[-1][0]
        for tenth in range(1, 11):
            step, *sizes = min(one.points, key=lambda p: abs(p[0] - last * tenth / 10))
            numbers = " | ".join(f"{size / 1e6:,.0f}" for size in sizes)
            lines.append(f"| {one.reviews:,} | {step:,} | {numbers} |")
    return "\n".join(lines) + "\n"


def main(argv) -> None:
    del argv
    folder = pathlib.Path(flags.FLAGS.folder).absolute()
    watched = []
    for reviews in map(int, flags.FLAGS.reviews):
        paths = generate(folder / "shards", reviews, flags.FLAGS.per_shard)
        watched.append(Watched(folder, paths, reviews))
        watched[-1].measure()
    print(table(watched))


if __name__ == "__main__":
    define_flags(flags.FLAGS)
    flags.mark_flag_as_required("folder")
    app.run(main)
