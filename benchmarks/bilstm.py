"""What each choice in gin/bilstm.gin is worth: trains the variants, writes one table.

    python -m benchmarks.bilstm --runs=runs/bilstm_variants --output=benchmarks/bilstm.md

A finished variant is not trained again, so the command can be stopped and repeated. The times are
of this machine and of this run; compare them with the first row.
"""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

from absl import app, flags

from benchmarks.processes import ROOT

_RUNS = flags.DEFINE_string("runs", "runs/bilstm_variants", "Folder of the run directories.")
_OUTPUT = flags.DEFINE_string("output", None, "Markdown file of the table; default: print it.")
_ONLY = flags.DEFINE_multi_string("only", [], "Train only this variant.")

VARIANTS = {
    "base": ("as in the file", []),
    "seed1": ("seed 1", ["Runtime.seed = 1"]),
    "seed2": ("seed 2", ["Runtime.seed = 2"]),
    "len256": ("256 words", ["WordEncoder.max_length = 256"]),
    "head": ("the first 400 words", ["WordEncoder.truncation = 'keep_head'"]),
    "tail": ("the last 400 words", ["WordEncoder.truncation = 'keep_tail'"]),
    "last": ("the last states instead of mean and max", ["RecurrentClassifier.pooling = 'last'"]),
    "max": ("the maximum alone", ["RecurrentClassifier.pooling = 'max'"]),
    "gru": ("GRU", ["RecurrentClassifier.cell = 'gru'"]),
    "lr2e-3": ("half the learning rate", ["CosineSchedule.learning_rate = 2e-3"]),
    "epochs3": ("3 epochs", ["Training.length = '3 epochs'"]),
    "nodrop": (
        "no dropout",
        ["RecurrentClassifier.dropout = 0.0", "RecurrentClassifier.embedding_dropout = 0.0"],
    ),
}


def train(name: str, bindings: list[str]) -> dict:
    """The results of one variant; trains it unless its run is done."""
    directory = pathlib.Path(_RUNS.value) / name
    flags_of_run = [f"--gin_bindings={b}" for b in ("Experiment.export = False", *bindings)]
    command = [sys.executable, "-m", "sentiment_train.main", f"--model_dir={directory}"]
    command += [f"--gin_file={ROOT / 'gin' / 'bilstm.gin'}", *flags_of_run]
    subprocess.run(command, check=True, stdout=sys.stderr)
    return json.loads((directory / "results.json").read_text())


def row(what: str, results: dict) -> str:
    """A line of the table."""
    validation, test = results["validation"], results["test"]
    return (
        f"| {what} | {validation['accuracy']:.4f} | {validation['loss']:.4f}"
        f" | {test['accuracy']:.4f} | {results['train_seconds']:.0f} |"
    )


def main(argv) -> None:
    del argv
    lines = [
        "| variant | validation accuracy | validation loss | test accuracy | seconds |",
        "|---|---|---|---|---|",
    ]
    for name in _ONLY.value or VARIANTS:
        what, bindings = VARIANTS[name]
        lines.append(row(what, train(name, bindings)))
    table = "\n".join(lines) + "\n"
    if _OUTPUT.value:
        pathlib.Path(_OUTPUT.value).write_text(table)
    print(table)


if __name__ == "__main__":
    app.run(main)
