"""Helpers that write real files and say what a source made of them."""

import gzip
import uuid

import pytest
import tensorflow as tf

from sentiment_train.errors import DataError
from sentiment_train.schema import BadRow


@pytest.fixture
def write(tmp_path):
    """Writes a file below `tmp_path` and returns its path; gzipped if the name ends in .gz."""

    def write_file(name, content, encoding="utf-8"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content if isinstance(content, bytes) else content.encode(encoding)
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return str(path)

    return write_file


@pytest.fixture
def ram():
    """A new directory in the memory file system of TensorFlow."""
    directory = f"ram://{uuid.uuid4().hex}"
    tf.io.gfile.makedirs(directory)
    return directory


@pytest.fixture
def read():
    """The examples of one split as a list; `all` unless told."""
    return lambda source, split="all": list(source.splits()[split])


@pytest.fixture
def pairs(read):
    """`(text, label)` of the examples of one split, without bad rows."""
    return lambda source, split="all": [
        (e.text, e.label) for e in read(source, split) if not isinstance(e, BadRow)
    ]


@pytest.fixture
def problem(read):
    """The message of the DataError that reading a source raises."""

    def message(source, split="all"):
        with pytest.raises(DataError) as error:
            read(source, split)
        return error.value.message

    return message
