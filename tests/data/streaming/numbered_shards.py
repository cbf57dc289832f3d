"""Shards whose examples tell their number, and what a stream gave of them."""

from __future__ import annotations

import gzip
import json
from itertools import pairwise

import numpy as np

from sentiment_train.data.bucketing import BucketTable
from sentiment_train.data.streaming.stream import Stream

TABLE = BucketTable((3, 6, 10), (8, 5, 4))


def length_of(number: int) -> int:
    """Tokens of an example."""
    return number * 7 % 10 + 1


def rows_of(first: int, last: int) -> list[dict]:
    """Example i is the word `w<i>`, some times over; its label is odd or even."""
    return [
        {"text": " ".join([f"w{i}"] * length_of(i)), "label": ("even", "odd")[i % 2], "w": i + 0.5}
        for i in range(first, last)
    ]


def write_shard(path: str, rows: list[dict]) -> None:
    """A shard of the format that its name tells."""
    import tensorflow as tf

    if ".tfrecord" in path:
        kind = "GZIP" if path.endswith(".gz") else ""
        with tf.io.TFRecordWriter(path, tf.io.TFRecordOptions(compression_type=kind)) as writer:
            for row in rows:
                writer.write(example_of(row).SerializeToString())
        return
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    with tf.io.gfile.GFile(path, "wb") as file:
        file.write(gzip.compress(content) if path.endswith(".gz") else content)


def example_of(row: dict):
    """A row as `tf.train.Example`."""
    import tensorflow as tf

    def feature(value):
        if isinstance(value, str):
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()]))
        if isinstance(value, float):
            return tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))

    features = {name: feature(value) for name, value in row.items()}
    return tf.train.Example(features=tf.train.Features(feature=features))


def write_numbered(folder: str, sizes: tuple[int, ...], ending: str) -> str:
    """Shards of so many examples each, numbered through; gives their pattern."""
    bounds = np.cumsum([0, *sizes]).tolist()
    for shard, (first, last) in enumerate(pairwise(bounds)):
        write_shard(f"{folder}/s-{shard}.{ending}", rows_of(first, last))
    return f"{folder}/s-*.{ending}"


class Streamed:
    """What a stream gave: of each batch the numbers of its examples, and the batch itself."""

    def __init__(self, stream: Stream, words: tuple[str, ...]):
        self.stream, self._words = stream, words

    def take(self, count: int, position: int = 0) -> list:
        """So many batches from a position on."""
        feed = self.stream.feed(position)
        batches = [next(feed) for _ in range(count)]
        feed.close()
        return batches

    def epoch(self) -> list:
        """The batches of the first epoch."""
        batches = []
        for batch in self.stream.feed():
            batches.append(batch)
            if batch.ends_epoch:
                return batches

    def numbers(self, batch) -> list[int]:
        """Those of the examples of a batch, in its order, without its filler rows."""
        tokens, weights = batch.batch.features["tokens"].numpy(), batch.batch.weights.numpy()
        return [int(self._words[row[0]][1:]) for row in tokens[weights > 0]]
