"""Document 001's model as it answers texts: Keras' `predict` on strings.

The vocabulary and the weights are those of the exported model, so the answers must be the same.
"""

from __future__ import annotations

import json
import pathlib

import numpy as np

from benchmarks import processes
from benchmarks.peers import clock, keras_fit


def measure(weights: str, vocabulary: str, model: dict, texts: str, way: str) -> dict:
    """Latency and throughput; see `clock.of_calls`.

    Args:
      weights: path of a `.npz` of arrays, in the order of their names those of the layers.
      vocabulary: path of a file with a word on each line, padding and unknown first.
      model: as in `keras_fit.measure`.
      texts: path of a JSON list of strings.
      way: predict | graph; the latter is the model as a `tf.function`, without what `predict` does
        around it.
    """
    import keras
    import tensorflow as tf

    with np.load(weights) as file:
        arrays = [file[name] for name in sorted(file.files)]
    words = pathlib.Path(vocabulary).read_text(encoding="utf-8").splitlines()[2:]
    network = keras_fit.build(**model)
    network.set_weights(arrays)
    encoder = keras.layers.TextVectorization(vocabulary=words)
    whole = keras.Sequential([encoder, network, keras.layers.Activation("sigmoid")])

    def predict(some: list[bytes]):
        return whole.predict(tf.constant(some), batch_size=clock.BATCH, verbose=0)[:, 0]

    graph = tf.function(lambda some: whole(some, training=False)[:, 0])
    signature = tf.TensorSpec([None], tf.string)
    called = graph.get_concrete_function(signature)
    loaded = json.loads(pathlib.Path(texts).read_text(encoding="utf-8"))
    if way == "predict":
        return clock.of_calls(predict, loaded, predict)
    return clock.of_calls(lambda some: called(tf.constant(some)).numpy(), loaded)


if __name__ == "__main__":
    processes.answer(measure)
