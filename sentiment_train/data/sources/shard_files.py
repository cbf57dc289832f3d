"""The files of shards: their format by name, their rows as `tf.data`, their fingerprints."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

from sentiment_train.errors import DataError

_HEAD_BYTES = 1 << 16


class Serialized(bytes):
    """A record of TFRecords, as opposed to a line of JSON."""


def is_tfrecord(path: str) -> bool:
    """Whether a file holds TFRecords (else JSON lines), by its name.

    Raises:
      DataError: if the name is of no known format.
    """
    name = os.path.basename(path).lower()
    if ".tfrecord" in name:
        return True
    if name.removesuffix(".gz").endswith((".jsonl", ".json", ".ndjson")):
        return False
    raise DataError(
        f"{path}: the name of a shard tells its format; use .tfrecord or .jsonl, and .gz if it is"
        " compressed."
    )


def open_shard(path, tfrecord: bool):
    """The rows of a shard as a data set of strings; `path` is a string or a scalar tensor."""
    import tensorflow as tf

    compression = tf.where(tf.strings.regex_full_match(path, r".*\.gz"), "GZIP", "")
    kind = tf.data.TFRecordDataset if tfrecord else tf.data.TextLineDataset
    return kind(path, compression_type=compression)


def rows_of(path: str) -> Iterator[tuple[int, bytes]]:
    """Yields `(number, row)`, from 1 on; lines that are blank are counted and passed over.

    Raises:
      DataError: if the file cannot be read, or is damaged.
    """
    import tensorflow as tf

    tfrecord = is_tfrecord(path)
    try:
        for number, row in enumerate(open_shard(path, tfrecord).as_numpy_iterator(), start=1):
            if tfrecord:
                yield number, Serialized(row)
            elif row.strip():
                yield number, row
    except tf.errors.OpError as error:
        raise DataError(f"{path} cannot be read: {first_line(error)}") from None


def size_and_head(path: str) -> tuple[int, str]:
    """The size in bytes, and a digest of the first 64 KiB.

    Raises:
      DataError: if the file cannot be read.
    """
    import tensorflow as tf

    try:
        size = tf.io.gfile.stat(path).length
        with tf.io.gfile.GFile(path, "rb") as file:
            return size, hashlib.sha256(file.read(_HEAD_BYTES)).hexdigest()
    except tf.errors.OpError as error:
        raise DataError(f"{path} cannot be read: {first_line(error)}") from None


def first_line(error) -> str:
    """What an error of TensorFlow says, without its node and traceback."""
    text = str(error.message).strip().splitlines()[0]
    return text.rpartition("}} ")[2].partition(" [Op:")[0]
