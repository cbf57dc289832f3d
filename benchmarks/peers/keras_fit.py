"""The same model and the same batches by Keras' own layers and `fit`, as a Keras user writes it.

The batches lie ready in memory. Keras compiles the step into a graph, and on a CPU not with XLA:
that is its default, and what its users get. The first epoch holds the tracing.
"""

from __future__ import annotations

import time

from benchmarks import processes
from benchmarks.peers.batches import Batches


def measure(batches: str, model: dict, learning_rate: float) -> dict:
    """Trains all epochs.

    Args:
      batches: path for `Batches`.
      model: `vocabulary`, `embedding_size`, `cell` (gru | lstm), `units`, `bidirectional`,
        `dense_units` (a list).

    Returns:
      The seconds and the mean loss of each epoch.
    """
    import keras

    given = Batches(batches)
    network = build(**model)
    network.set_weights(given.weights)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    network.compile(keras.optimizers.Adam(learning_rate), loss, metrics=["accuracy"])
    times = []
    note_the_time = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: times.append(time.monotonic()),
        on_epoch_end=lambda epoch, logs: times.append(time.monotonic()),
    )
    losses = []
    for epoch in range(given.epochs):  # not `epochs=…`: it would ask for the next ones' too early
        history = network.fit(
            _in_order(given.epoch(epoch)), shuffle=False, callbacks=[note_the_time], verbose=0
        )
        losses += history.history["loss"]
    seconds = [end - begin for begin, end in zip(times[::2], times[1::2], strict=True)]
    return {"epoch_seconds": seconds, "losses": losses}


def build(
    vocabulary: int, embedding_size: int, cell: str, units: int, bidirectional: bool, dense_units
):
    """tokens `[batch, length] int32`, padded with 0 → logits `[batch, 1]`."""
    import keras

    recurrent = {"gru": keras.layers.GRU, "lstm": keras.layers.LSTM}[cell](units)
    return keras.Sequential(
        [
            keras.Input([None], dtype="int32"),
            keras.layers.Embedding(vocabulary, embedding_size, mask_zero=True),
            keras.layers.Bidirectional(recurrent) if bidirectional else recurrent,
            *(keras.layers.Dense(size, activation="relu") for size in dense_units),
            keras.layers.Dense(1),
        ]
    )


def _in_order(batches: list):
    """Batches as Keras asks for them."""
    import keras

    class Ready(keras.utils.PyDataset):
        def __len__(self):
            return len(batches)

        def __getitem__(self, number):
            return batches[number]["tokens"], batches[number]["labels"][:, None]

    return Ready()


if __name__ == "__main__":
    processes.answer(measure)
