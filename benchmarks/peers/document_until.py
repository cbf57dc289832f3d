"""Document 000's script until its validation accuracy is high enough."""

from __future__ import annotations

import json
import pathlib

from benchmarks import processes
from benchmarks.peers.document_scripts import gru_model, shuffled


def measure(examples: str, level: float, most_epochs: int) -> dict:
    """Trains on all texts; validates after each epoch, and ends when the level is reached.

    Args:
      examples: path of `{"train": {"texts": […], "labels": [str, …]}, "validation": …}`.

    Returns:
      The `epochs` that it took and the last `validation` accuracy.
    """
    import keras

    splits = json.loads(pathlib.Path(examples).read_text(encoding="utf-8"))
    names = sorted(set(splits["train"]["labels"]))
    keras.utils.set_random_seed(42)
    batches = {
        name: shuffled(
            [text.encode("utf-8", "surrogatepass") for text in splits[name]["texts"]],
            splits[name]["labels"],
            names,
        )
        .batch(32)
        .prefetch(1)
        for name in ("train", "validation")
    }
    model = gru_model(batches["train"])
    found = {"epochs": 0, "validation": 0.0}
    while found["validation"] < level and found["epochs"] < most_epochs:
        model.fit(batches["train"], epochs=1, shuffle=False, verbose=0)
        _, accuracy = model.evaluate(batches["validation"], verbose=0)
        found = {"epochs": found["epochs"] + 1, "validation": accuracy}
    return found


if __name__ == "__main__":
    processes.answer(measure)
