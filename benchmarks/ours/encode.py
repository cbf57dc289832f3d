"""Reading, splitting, counting words, encoding and storing, from nothing."""

from __future__ import annotations

import tempfile
import time

from benchmarks import flops, processes


def measure(gin_file: str, bindings: list[str]) -> dict:
    """Seconds of `prepare` with an empty cache, after TensorFlow's import, and the examples."""
    import tensorflow as tf

    from sentiment_train.data.prepare import prepare

    e = flops.experiment_of(gin_file, bindings)
    tf.strings.lower("the first op sets the device up").numpy()
    with tempfile.TemporaryDirectory() as cache:
        began = time.perf_counter()
        data = prepare(e.source, e.splits, e.encoder, cache, print)
        seconds = time.perf_counter() - began
    return {"encode_seconds": seconds, "texts": sum(len(s) for s in data.splits.values())}


if __name__ == "__main__":
    processes.answer(measure)
