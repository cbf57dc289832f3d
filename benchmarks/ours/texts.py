"""The splits of an experiment as they are, for programs that know nothing of this project."""

from __future__ import annotations

import json
import pathlib

from benchmarks import flops, processes


def measure(gin_file: str, bindings: list[str], cache: str, output: str) -> dict:
    """Writes `{"train": {"texts": […], "labels": ["positive", …]}, …}` to `output`.

    In a random order, as data sets come: the store has them by class, and some programs (fastText)
    read them as they stand, again and again.

    Returns:
      The number of examples of each split.
    """
    import numpy as np

    from sentiment_train.data.prepare import prepare

    e = flops.experiment_of(gin_file, bindings)
    data = prepare(e.source, e.splits, e.encoder, cache, print)
    written = {}
    for name, split in data.splits.items():
        order = np.random.default_rng(0).permutation(len(split))
        labels = [data.class_names[label] for label in split.labels[order]]
        written[name] = {"texts": [split.texts[row] for row in order], "labels": labels}
    pathlib.Path(output).write_text(json.dumps(written), encoding="utf-8")
    return {name: len(split["labels"]) for name, split in written.items()}


if __name__ == "__main__":
    processes.answer(measure)
