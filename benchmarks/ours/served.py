"""The exported SavedModel as a user loads it: `tf.saved_model.load`, strings in."""

from __future__ import annotations

import json
import pathlib

from benchmarks import processes
from benchmarks.peers import clock


def measure(saved_model: str, texts: str) -> dict:
    """Latency of single texts and throughput of 64 at a time; see `clock.of_calls`.

    Args:
      texts: path of a JSON list of strings.

    Returns:
      Also the probabilities of the last class, for the first 64 texts.
    """
    import tensorflow as tf

    model = tf.saved_model.load(saved_model)
    serve = model.signatures["serving_default"]

    def answer(some: list[bytes]):
        return serve(text=tf.constant(some))["probabilities"].numpy()[:, -1]

    loaded = json.loads(pathlib.Path(texts).read_text(encoding="utf-8"))
    return clock.of_calls(answer, loaded)


if __name__ == "__main__":
    processes.answer(measure)
