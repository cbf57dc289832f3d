"""How much faster an epoch is than in the documents, side by side on the same examples.

    python -m benchmarks.documents --output=docs/speed.md
    python -m benchmarks.documents --only=gru --reviews=5000 --repeats=5

Ours is `python -m sentiment_train.main` with the gin file; theirs is the document's script, as in
`document_scripts.py`. They take turns (ours, theirs, ours, theirs, …), each in a process of its own
that trains two epochs of the same training split. Compared is the second epoch: neither the start
of a process nor the building of graphs is in it. The first, with the building, stands beside it.
"""

from __future__ import annotations

import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import metadata

from absl import app, flags

ROOT = pathlib.Path(__file__).parents[1]
EPOCHS = 2
TITLE = "# Speed: an epoch of ours and of the documents, side by side\n"
HOW = """\
Written by `python -m benchmarks.documents`. The two took turns, each measurement in a process of
its own, on the same training examples; a number is the median, with the lowest and the highest in
brackets. Counted is the time of the training steps of an epoch, with the reading of their batches.
Not counted, on both sides: the start of the process, the vocabulary, validation and saving. Ours
encodes the texts once, before the first epoch, and that is not counted; theirs does it in every
step, as the document has it. The first epoch also has the building of all graphs in it. The promise
is of the second: theirs ÷ ours of neighbouring measurements.

Document 003 runs Keras on PyTorch. Here its loop runs on TensorFlow, where the training step is
compiled."""


@dataclass(frozen=True)
class System:
    """A system of a document, and what is promised of ours.

    `trained` is the share of all examples that the gin file trains on.
    """

    name: str
    document: str
    theirs: str
    promised: float
    trained: float
    examples: int | None = None  # of the training split that are trained on; None: all


SYSTEMS = {
    "gru": System(
        "gru",
        "document 000",
        "strings into the model, 32 random reviews padded to the longest",
        promised=8,
        trained=0.8,
    ),
    "airline": System(
        "airline",
        "document 003",
        "tweets split and looked up one at a time, batches of 16",
        promised=20,
        trained=0.6,
    ),
}


@dataclass(frozen=True)
class Pair:
    """A measurement of ours and the one of theirs that followed it: seconds of each epoch."""

    ours: list[float]
    theirs: list[float]

    def ratio(self, epoch: int) -> float:
        return self.theirs[epoch] / self.ours[epoch]


def bindings_of(system: System) -> list[str]:
    """What is measured of ours: the gin file, but no validation in between and nothing written."""
    bindings = [
        f"Training.length = '{EPOCHS} epochs'",
        "Training.log_every = '1 epochs'",
        f"Validation.every = '{EPOCHS} epochs'",
        f"Checkpointing.every = '{EPOCHS} epochs'",
        "Experiment.export = False",
        "Experiment.report = None",
    ]
    if system.examples is not None:
        bindings.append(f"Splits.max_examples = {round(system.examples / system.trained)}")
    return bindings


class Measuring:
    """Both sides of one system, in a folder for what they leave behind."""

    def __init__(self, system: System, folder: pathlib.Path, cache: str):
        self.system, self.folder, self.cache = system, folder, cache
        self.gin_file = str(ROOT / "gin" / f"{system.name}.gin")
        self.examples = self._write_examples()

    def _write_examples(self) -> int:
        """Writes the training split, as ours has it, for theirs; how many there are."""
        from sentiment_train import config
        from sentiment_train.data.prepare import prepare
        from sentiment_train.experiment import Experiment

        e = config.make(Experiment, config.parse([self.gin_file], bindings_of(self.system)))
        data = prepare(e.source, e.splits, e.encoder, self.cache, _say)
        train = data.splits["train"]
        labels = [data.class_names[label] for label in train.labels]
        written = json.dumps({"texts": list(train.texts), "labels": labels})
        (self.folder / "examples.json").write_text(written, encoding="utf-8")
        return len(train)

    def pairs(self, repeats: int) -> Iterator[Pair]:
        """Measures, in turns."""
        for number in range(1, repeats + 1):
            pair = Pair(self.ours(number), self.theirs())
            _say(
                f"{self.system.name} {number}/{repeats}: ours {_listed(pair.ours)} s, theirs"
                f" {_listed(pair.theirs)} s, {pair.ratio(-1):.1f} × (load {os.getloadavg()[0]:.1f})"
            )
            yield pair

    def ours(self, number: int) -> list[float]:
        """Seconds of each epoch, from the rates that the run has logged at their ends."""
        run = self.folder / f"run_{number}"
        bindings = [f"--gin_bindings={binding}" for binding in bindings_of(self.system)]
        places = [f"--model_dir={run}", f"--cache_dir={self.cache}"]
        self._start("sentiment_train.main", f"--gin_file={self.gin_file}", *bindings, *places)
        lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        rate = "train/examples_per_second"
        rates = [values[rate] for line in lines if rate in (values := json.loads(line))]
        return [self.examples / rate for rate in rates]

    def theirs(self) -> list[float]:
        """Seconds of each epoch, as the script has taken them."""
        output = self.folder / "theirs.json"
        files = [f"--examples={self.folder / 'examples.json'}", f"--output={output}"]
        self._start("benchmarks.document_scripts", f"--system={self.system.name}", *files)
        return json.loads(output.read_text(encoding="utf-8"))

    def _start(self, module: str, *arguments: str) -> None:
        log = self.folder / "log.txt"
        paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": paths}
        with log.open("wb") as file:
            code = subprocess.run(
                [sys.executable, "-m", module, *arguments],
                env={**os.environ, **quiet},
                stdout=file,
                stderr=subprocess.STDOUT,
                check=False,
            ).returncode
        if code:
            raise SystemExit(f"{log.read_text(errors='replace')}\n{module}: exit code {code}")


def table(measured: dict[str, tuple[int, list[Pair]]]) -> str:
    """Markdown; every number is a median, with the lowest and the highest.

    Args:
      measured: by system, its examples and its pairs.
    """
    lines = [
        "| system | examples | | examples/s | seconds an epoch | the first epoch |",
        "|---|---:|---|---:|---:|---:|",
    ]
    for name, (examples, pairs) in measured.items():
        system = SYSTEMS[name]
        sides = {
            f"`gin/{name}.gin`": [pair.ours for pair in pairs],
            f"{system.document}: {system.theirs}": [pair.theirs for pair in pairs],
        }
        for side, seconds in sides.items():
            last, first = [s[-1] for s in seconds], [s[0] for s in seconds]
            rates = [examples / s for s in last]
            cells = [_spread(rates, 0), _spread(last, 1), _spread(first, 1)]
            lines.append(f"| {name} | {examples:,} | {side} | {' | '.join(cells)} |")
        last, first = ([pair.ratio(epoch) for pair in pairs] for epoch in (-1, 0))
        kept = "kept" if statistics.median(last) >= system.promised else "**not kept**"
        promise = f"times faster; promised {system.promised:g} ×: {kept}"
        lines.append(f"| {name} | | {promise} | {_spread(last, 1)} × | | {_spread(first, 1)} × |")
    return "\n".join(lines) + "\n"


def _spread(values: list[float], digits: int) -> str:
    low, middle, high = (f"{f(values):,.{digits}f}" for f in (min, statistics.median, max))
    return middle if len(values) == 1 else f"{middle} ({low}–{high})"


def _listed(seconds: list[float]) -> str:
    return " + ".join(f"{s:.2f}" for s in seconds)


def environment() -> str:
    """The machine, what else it was doing, and the versions of what was measured."""
    from sentiment_train.campaigns import machine

    versions = [f"{name} {metadata.version(name)}" for name in ("tensorflow", "keras")]
    load = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    return (
        f"{machine.describe()}; Python {platform.python_version()}, {', '.join(versions)};"
        f" load average {load} at the end (1, 5, 15 minutes; this benchmark alone makes up to 2)."
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def chosen_systems(values) -> list[System]:
    """The systems that the flags name, with the examples that they are to be trained on."""
    sizes = {"gru": values.reviews, "airline": values.tweets}
    if values.quick:
        sizes = dict.fromkeys(sizes, 40)
    names = values.only or list(SYSTEMS)
    return [replace(SYSTEMS[name], examples=sizes[name] or None) for name in names]


def measure(values) -> str:
    """What the flags ask for, measured; markdown."""
    from sentiment_train import quiet

    quiet.import_tensorflow()
    measured = {}
    for system in chosen_systems(values):
        with tempfile.TemporaryDirectory() as folder:
            cache = os.path.expanduser(values.cache_dir)
            measuring = Measuring(system, pathlib.Path(folder), cache)
            pairs = list(measuring.pairs(1 if values.quick else values.repeats))
        measured[system.name] = measuring.examples, pairs
    return "\n".join([TITLE, table(measured), f"{environment()}\n", f"{HOW}\n"])


def main(argv) -> None:
    del argv
    text = measure(flags.FLAGS)
    if flags.FLAGS.output:
        pathlib.Path(flags.FLAGS.output).write_text(text, encoding="utf-8")
    print(text)


def define_flags(flag_values=flags.FLAGS) -> None:
    """Defined by the command, so that a process may import several benchmarks."""
    options = {"flag_values": flag_values}
    what = "Measure only this system; repeatable."
    flags.DEFINE_multi_enum("only", [], list(SYSTEMS), what, **options)
    flags.DEFINE_integer("reviews", 4000, "Training reviews; 0: all.", 0, **options)
    flags.DEFINE_integer("tweets", 0, "Training tweets; 0: all.", 0, **options)
    flags.DEFINE_integer("repeats", 3, "Measurements of each side.", 1, **options)
    flags.DEFINE_bool("quick", False, "40 examples, once: shows that it works.", **options)
    flags.DEFINE_string("output", None, "Markdown file of the table, too.", **options)
    flags.DEFINE_string(
        "cache_dir",
        os.environ.get("SENTIMENT_TRAIN_CACHE", "~/.cache/sentiment_train"),
        "Local directory of encoded data sets.",
        **options,
    )


if __name__ == "__main__":
    define_flags()
    app.run(main)
