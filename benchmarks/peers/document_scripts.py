"""The training scripts of documents 000, 001 and 003, as a Keras user would write them.

Strings go in; the first epoch holds everything that Keras builds in it. No validation.
"""

from __future__ import annotations

import json
import pathlib
import time
from collections.abc import Iterator

from benchmarks import processes

EPOCHS = 2


def train_gru(texts: list[bytes], labels: list[str], names: list[str]) -> list[float]:
    """Document 000: strings go into the model, which splits them and pads to the longest of 32.

    Returns:
      The seconds of each epoch.
    """
    batches = shuffled(texts, labels, names).batch(32).prefetch(1)
    return _fitted(gru_model(batches), batches)


def gru_model(batches):
    """Document 000's compiled model; its vocabulary is that of the batches' texts."""
    import keras

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
    return model


def train_bilstm(texts: list[bytes], labels: list[str], names: list[str]) -> list[float]:
    """Document 001, the tutorial of TensorFlow: as above, in both directions, 64 at a time."""
    import keras
    import tensorflow as tf

    batches = shuffled(texts, labels, names).batch(64).prefetch(tf.data.AUTOTUNE)
    encoder = keras.layers.TextVectorization(max_tokens=1000)
    encoder.adapt(batches.map(lambda text, number: text))
    model = keras.Sequential(
        [
            encoder,
            keras.layers.Embedding(encoder.vocabulary_size(), 64, mask_zero=True),
            keras.layers.Bidirectional(keras.layers.LSTM(64)),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(1),
        ]
    )
    model.compile(
        optimizer=keras.optimizers.Adam(1e-4),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return _fitted(model, batches)


def train_airline(texts: list[bytes], labels: list[str], names: list[str]) -> list[float]:
    """Document 003's loop on TensorFlow: one tweet at a time is split and looked up, and so is its
    label, between two steps. The step is compiled, which it is not in the document."""
    import keras
    import numpy as np

    split_and_look_up, number_of, model = _airline(texts, names)
    rng, seconds = np.random.default_rng(42), []
    for _ in range(EPOCHS):
        began = time.monotonic()
        order = rng.permutation(len(texts))
        for rows in (order[start : start + 16] for start in range(0, len(order), 16)):
            ids = [keras.ops.convert_to_numpy(split_and_look_up(texts[i])) for i in rows]
            numbers = [keras.ops.convert_to_numpy(number_of(labels[i])) for i in rows]
            model.train_on_batch(_padded(ids), np.array(numbers))
        model.reset_metrics()
        seconds.append(time.monotonic() - began)
    return seconds


def train_airline_torch(texts: list[bytes], labels: list[str], names: list[str]) -> list[float]:
    """Document 003 as it stands: Keras on PyTorch, with its `Dataset` and `DataLoader`.

    The environment must say `KERAS_BACKEND=torch`.
    """
    import keras
    import torch

    split_and_look_up, number_of, model = _airline(texts, names)

    class Tweets(torch.utils.data.Dataset):
        def __len__(self):
            return len(texts)

        def __getitem__(self, row):
            return split_and_look_up(texts[row]), number_of(labels[row])

    def padded_batch(examples):
        rows, numbers = zip(*examples, strict=True)
        rows = [torch.tensor(keras.ops.convert_to_numpy(row)) for row in rows]
        rows = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=0)
        return rows, torch.tensor([int(keras.ops.convert_to_numpy(n)) for n in numbers])

    loader = torch.utils.data.DataLoader(
        Tweets(), batch_size=16, shuffle=True, collate_fn=padded_batch
    )
    return _fitted(model, loader)


def _airline(texts: list[bytes], names: list[str]):
    """Document 003's two look-ups and its compiled model."""
    import keras

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
    return split_and_look_up, number_of, model


def _padded(ids: list):
    """Rows of any length → `[rows, longest] int64` with zeros behind them."""
    import numpy as np

    padded = np.zeros((len(ids), max(map(len, ids))), np.int64)
    for row, tokens in zip(padded, ids, strict=True):
        row[: len(tokens)] = tokens
    return padded


def shuffled(texts: list[bytes], labels: list[str], names: list[str]):
    """A data set of strings and numbers; both documents have a buffer of thousands of reviews."""
    import tensorflow as tf

    numbers = [names.index(label) for label in labels]
    examples = tf.data.Dataset.from_tensor_slices((texts, numbers))
    return examples.shuffle(10_000, seed=42)


def _fitted(model, batches) -> list[float]:
    import keras

    times = []
    note_the_time = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: times.append(time.monotonic()),
        on_epoch_end=lambda epoch, logs: times.append(time.monotonic()),
    )
    model.fit(batches, epochs=EPOCHS, shuffle=False, callbacks=[note_the_time], verbose=0)
    return list(_differences(times))


def _differences(times: list[float]) -> Iterator[float]:
    return (end - begin for begin, end in zip(times[::2], times[1::2], strict=True))


SCRIPTS = {
    "gru": train_gru,
    "bilstm_tutorial": train_bilstm,
    "airline": train_airline,
    "airline_torch": train_airline_torch,
}


def measure(script: str, examples: str, most: int) -> dict:
    """Trains a document's system.

    Args:
      examples: path of `{"train": {"texts": […], "labels": ["positive", …]}, …}`.
      most: of them, the first ones.

    Returns:
      The seconds of each epoch.
    """
    import keras

    train = json.loads(pathlib.Path(examples).read_text(encoding="utf-8"))["train"]
    keras.utils.set_random_seed(42)
    texts = [text.encode("utf-8", "surrogatepass") for text in train["texts"][:most]]
    names = sorted(set(train["labels"]))
    seconds = SCRIPTS[script](texts, train["labels"][:most], names)
    return {"epoch_seconds": seconds}


if __name__ == "__main__":
    processes.answer(measure)
