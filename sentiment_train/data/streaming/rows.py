"""The part of the pipeline that is Python: the order of the shards, and from bytes to examples.

A graph that is sent to a data worker cannot carry Python, only the name of a function that the
worker has as well. So both are registered under fixed names, wherever this module is imported: in
the trainer and in `python -m sentiment_train.data_service`.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable

import numpy as np

from sentiment_train.data.sources.labels import Labels, RowProblem, describe_unknown
from sentiment_train.data.sources.shard_files import Serialized
from sentiment_train.data.sources.shards import Shards, reader_of_rows
from sentiment_train.errors import DataError
from sentiment_train.schema import BadRow

ORDER, EXAMPLES = "sentiment_train/order_of_shards", "sentiment_train/examples_of_rows"


def specification(source: Shards, class_names: tuple[str, ...], tfrecord: bool) -> bytes:
    """What `examples_of_rows` has to know, in one string that can be sent."""
    known = {"options": source.row_options(), "class_names": class_names, "tfrecord": tfrecord}
    return json.dumps(known).encode()


def order_of_shards(seed, epoch, shards) -> np.ndarray:
    """`[shards] int64`: the order in which an epoch goes through the shards.

    Raw Philox output, as in `data.batches.epoch_order`: the same with every NumPy.
    """
    return np.argsort(_random(seed, epoch, 0).random_raw(int(shards)), kind="stable")


def examples_of_rows(specification, seed, block, window, paths, numbers, rows) -> list[np.ndarray]:
    """The examples of some rows, in an order of their own; blank lines are left out.

    Args:
      specification: of the function of this name.
      seed, block, window: what the order is drawn by.
      paths, numbers: `[n]` where each row is from.
      rows: `[n] bytes`.

    Returns:
      texts `[m] bytes`, labels `[m] int32`, weights `[m] float32`, and where each is from: paths
      `[m]`, numbers `[m] int64`; problems `[m] bytes`: one sentence for a row that cannot be used,
      with an empty text and weight 0, else empty.
    """
    reader = _reader(bytes(specification))
    order = np.argsort(_random(seed, block, 1 + int(window)).random_raw(len(rows)), kind="stable")
    chosen = [i for i in order if not reader.is_blank(rows[i])]
    read = [reader.example(paths[i], numbers[i], rows[i]) for i in chosen]
    texts, labels, weights, problems = zip(*read, strict=True) if read else ((),) * 4
    return [
        np.array(texts, object),
        np.array(labels, np.int32),
        np.array(weights, np.float32),
        np.array([paths[i] for i in chosen], object),
        np.array([numbers[i] for i in chosen], np.int64),
        np.array(problems, object),
    ]


def call(token: str, inputs: list, outputs: list):
    """A registered function as an op of the graph that is being built."""
    import tensorflow as tf

    return tf.raw_ops.PyFunc(input=inputs, token=token, Tout=outputs)


def register() -> None:
    """Makes both functions known to TensorFlow in this process.

    `tf.numpy_function` draws a new name for each function, which another process cannot know, so
    this goes to the table behind it.
    """
    from tensorflow.python.ops import script_ops

    functions: dict[str, Callable] = {ORDER: order_of_shards, EXAMPLES: examples_of_rows}
    script_ops._py_funcs._funcs.update(functions)


class _Reader:
    """Reads rows as the source does."""

    def __init__(self, options: dict, class_names: list[str], tfrecord: bool):
        self._source, self._tfrecord = reader_of_rows(options), tfrecord
        self._labels = Labels(self._source.labels)
        self._classes = {name: i for i, name in enumerate(class_names)}

    def is_blank(self, row: bytes) -> bool:
        return not self._tfrecord and not row.strip()

    def example(self, path: bytes, number: int, row: bytes) -> tuple[bytes, int, float, bytes]:
        """Text, label, weight and problem."""
        try:
            record = self._source._record(Serialized(row) if self._tfrecord else row, self._labels)
            label = self._class_of(record.label)
        except RowProblem as problem:
            return b"", 0, 0.0, self._sentence(f"{path.decode()}:{number}", problem).encode()
        return record.text.encode("utf-8", "surrogatepass"), label, record.weight, b""

    def _class_of(self, label: str) -> int:
        if (found := self._classes.get(label)) is not None and self._source.labels is None:
            return found
        name = self._labels.name_of(label)
        if name not in self._classes:
            what = describe_unknown(name, self._classes)
            raise RowProblem(
                f"{what} The sample of the training split has no such label.",
                "Raise Shards.sample, name all of them in Shards.labels",
            )
        return self._classes[name]

    def _sentence(self, where: str, problem: RowProblem) -> str:
        try:
            row: BadRow = self._source._bad_row(where, problem)
        except DataError as error:
            return error.message
        return row.message


@functools.lru_cache(maxsize=8)
def _reader(specification: bytes) -> _Reader:
    return _Reader(**json.loads(specification))


def _random(seed, first, second) -> np.random.Philox:
    """A stream of random numbers for each `(seed, first, second)`, all of them below 2⁶³."""
    key = np.array([int(seed) & (2**64 - 1), (int(first) << 24) + int(second)], np.uint64)
    return np.random.Philox(key=key)
