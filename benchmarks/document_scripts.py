"""The training scripts of documents 000 and 003, as a Keras user would write them; see `documents`.

    python -m benchmarks.document_scripts --system=gru --examples=examples.json --output=found.json

They import nothing of `sentiment_train`. The first epoch holds everything that Keras builds in it.
Examples are `{"texts": [...], "labels": ["positive", ...]}`.
"""

from __future__ import annotations

import json
import pathlib
import time
from collections.abc import Iterator

from absl import app, flags

EPOCHS = 2


def train_gru(texts: list[bytes], labels: list[str], names: list[str]) -> list[float]:
    """Document 000: strings go into the model, which splits them and pads to the longest of 32.

    Returns:
      The seconds of each epoch.
    """
    import keras
    import tensorflow as tf

    numbers = [names.index(label) for label in labels]
    examples = tf.data.Dataset.from_tensor_slices((texts, numbers))
    batches = examples.shuffle(5000, seed=42).batch(32).prefetch(1)
    split_and_look_up = keras.layers.TextVectorization(max_tokens=1000)
    split_and_look_up.adapt(batches.map(lambda text, number: text))
    model = keras.Sequential(
        [
            split_and_look_up,
            keras.layers.Embedding(1000, 128, mask_zero=True),
            keras.layers.GRU(128),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(optimizer="nadam", loss="binary_crossentropy", metrics=["accuracy"])
    times = []
    note_the_time = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: times.append(time.monotonic()),
        on_epoch_end=lambda epoch, logs: times.append(time.monotonic()),
    )
    model.fit(batches, epochs=EPOCHS, shuffle=False, callbacks=[note_the_time], verbose=0)
    return [end - begin for begin, end in zip(times[::2], times[1::2], strict=True)]


def train_airline(texts: list[bytes], labels: list[str], names: list[str]) -> list[float]:
    """Document 003: one tweet at a time is split and looked up, and so is its label.

    The document runs Keras on PyTorch, whose loader does that between two steps. So does this loop
    on TensorFlow, where the step itself is compiled and so cheaper.

    Returns:
      The seconds of each epoch.
    """
    import keras
    import numpy as np

    split_and_look_up = keras.layers.TextVectorization(max_tokens=1000)
    split_and_look_up.adapt(texts)
    number_of = keras.layers.StringLookup(vocabulary=names, num_oov_indices=0)
    model = keras.Sequential(
        [
            keras.Input([None]),
            keras.layers.Embedding(1000, 2, mask_zero=True),
            keras.layers.Bidirectional(keras.layers.LSTM(8)),
            keras.layers.Dense(len(names), activation="softmax"),
        ]
    )
    loss = "sparse_categorical_crossentropy"
    model.compile(optimizer="adam", loss=loss, metrics=["accuracy"])
    rng, seconds = np.random.default_rng(42), []
    for _ in range(EPOCHS):
        began = time.monotonic()
        for rows in _in_sixteens(rng.permutation(len(texts))):
            ids = [keras.ops.convert_to_numpy(split_and_look_up(texts[i])) for i in rows]
            numbers = [keras.ops.convert_to_numpy(number_of(labels[i])) for i in rows]
            model.train_on_batch(_padded(ids), np.array(numbers))
        model.reset_metrics()
        seconds.append(time.monotonic() - began)
    return seconds


def _in_sixteens(order) -> Iterator:
    return (order[start : start + 16] for start in range(0, len(order), 16))


def _padded(ids: list):
    """Rows of any length → `[rows, longest] int64` with zeros behind them."""
    import numpy as np

    padded = np.zeros((len(ids), max(map(len, ids))), np.int64)
    for row, tokens in zip(padded, ids, strict=True):
        row[: len(tokens)] = tokens
    return padded


SYSTEMS = {"gru": train_gru, "airline": train_airline}


def epoch_seconds(system: str, texts: list[str], labels: list[str]) -> list[float]:
    """Trains a document's system; the seconds of its epochs, without any validation."""
    import keras

    keras.utils.set_random_seed(42)
    in_bytes = [text.encode("utf-8", "surrogatepass") for text in texts]
    return SYSTEMS[system](in_bytes, labels, sorted(set(labels)))


def main(argv) -> None:
    del argv
    values = flags.FLAGS
    examples = json.loads(pathlib.Path(values.examples).read_text(encoding="utf-8"))
    seconds = epoch_seconds(values.system, examples["texts"], examples["labels"])
    pathlib.Path(values.output).write_text(json.dumps(seconds), encoding="utf-8")


if __name__ == "__main__":
    flags.DEFINE_enum("system", None, list(SYSTEMS), "Whose script.", required=True)
    flags.DEFINE_string("examples", None, "JSON file of texts and labels.", required=True)
    flags.DEFINE_string("output", None, "JSON file for the seconds of each epoch.", required=True)
    app.run(main)
