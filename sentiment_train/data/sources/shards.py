"""Examples from many files, of which only a sample is kept: the training goes through the stream.

What is read here and what `data.streaming` reads later goes through the same `_record`.
"""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import gin

from sentiment_train.data.sources import files
from sentiment_train.data.sources.jsonl import JsonlSource
from sentiment_train.data.sources.labels import Labels, RowProblem
from sentiment_train.data.sources.rows import Record, checked_weight
from sentiment_train.data.sources.shard_files import (
    Serialized,
    is_tfrecord,
    rows_of,
    size_and_head,
)
from sentiment_train.errors import DataError, did_you_mean
from sentiment_train.schema import SPLITS, BadRow, Example

_SERVICE = re.compile(r"grpc://[^/:\s]+:\d{1,5}|grpc://\[[0-9a-fA-F:]+\]:\d{1,5}")
_OF_A_ROW = ("text_field", "label_field", "weight_field", "encoding", "labels", "on_bad_row")


@gin.configurable
@dataclass(frozen=True)
class Shards(JsonlSource):
    """Files of JSON lines or of TFRecords with `tf.train.Example`, gzipped or not, in any number.

    The training split is never stored: vocabulary, bucket lengths, class names, class weights and
    the baseline are learned from a sample of it, and batches come from `data.streaming`. Validation
    and test split are read in full.

    Names tell the format: `.tfrecord` somewhere in the name, else `.jsonl` or `.json` at its end,
    before `.gz`. Features of an `Example` have the names of the fields; a label is one string or
    int64, a weight one float or int64. `path` and `confidence_field` are not for shards.
    """

    train: str | tuple[str, ...] | None = None  # paths and patterns
    validation: str | tuple[str, ...] | None = None  # None: there is none
    test: str | tuple[str, ...] | None = None
    sample: int = 100_000  # training examples to learn from what else is learned of the data
    examples: int | None = None  # all of the training split, for lengths of time in epochs
    shards_at_a_time: int = 8  # whose rows are mixed; a whole number of them is read again at most
    shuffled_rows: int = 4096  # so many rows that follow each other are shuffled
    service: str | None = None  # grpc://host:port of tf.data service; None: each worker reads all

    streamed = True

    def check(self) -> None:
        if self.path is not None:
            self.refuse("path", "is not for shards, which cannot be split later; set train.")
        if not self.train:
            self.refuse("train", "is not set; name the shards of the training split.")
        if self.confidence_field is not None:
            self.refuse("confidence_field", "is not for shards; write a weight into each example.")
        super().check()
        for name in ("sample", "shards_at_a_time", "shuffled_rows"):
            self.require(getattr(self, name) >= 1, name, "at least 1")
        self.require(self.examples is None or self.examples >= 1, "examples", "at least 1 or None")
        if self.service is not None and not _SERVICE.fullmatch(self.service):
            self.refuse("service", "is not of the form 'grpc://host:port'.")
        if "\n".encode(self.encoding) != b"\n":
            self.refuse("encoding", "is not for shards: a line end must be one byte; use 'utf-8'.")

    @property
    def description(self) -> str:
        names = [os.path.basename(pattern) for pattern in _each(self.train)]
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        return f"a sample of {names[0]}{more}"

    def splits(self) -> Mapping[str, Iterator[Example | BadRow]]:
        """A sample of the training split, and all of the others; see `RowSource.splits`."""
        labels, paths = Labels(self.labels), self._paths()
        given = {s: self._examples(paths[s], labels) for s in SPLITS[1:] if s in paths}
        # An empty one: a part of the sample would be validated on and come by in the stream, too.
        return {"train": self._sample(paths["train"], labels), "validation": iter(()), **given}

    def fingerprint(self) -> str:
        """Depends on all bytes of validation and test split.

        Of the training split only on names, sizes and first 64 KiB of the shards: it may be too
        much to be read twice, and times of modification are not the same on two machines.
        """
        paths = self._paths()
        options = {name: getattr(self, name) for name in (*_OF_A_ROW, "sample")}
        content = {s: files.sha256_of_files(paths[s]) for s in SPLITS[1:] if s in paths}
        heads = [(os.path.basename(p), *size_and_head(p)) for p in paths["train"]]
        return files.sha256_of_values(type(self).__name__, options, content, heads)

    def shards(self) -> list[str]:
        """The files of the training split, sorted by name; all of one format.

        Raises:
          DataError: if there is none, or one of an unknown or another format.
        """
        paths = self._paths()["train"]
        formats = {is_tfrecord(path) for path in paths}
        if len(formats) > 1:
            raise DataError("Shards.train names both TFRecords and JSON lines; name one kind.")
        return paths

    def row_options(self) -> dict[str, Any]:
        """What is needed to read a row, as JSON values; see `reader_of_rows`."""
        return {name: value for name, value in asdict(self).items() if name in _OF_A_ROW}

    def _paths(self) -> dict[str, list[str]]:
        given = {split: value for split in SPLITS if (value := getattr(self, split)) is not None}
        return {split: _found(value, f"Shards.{split}") for split, value in given.items()}

    def _sample(self, paths: list[str], labels: Labels) -> Iterator[Example | BadRow]:
        """The first rows of all shards, or of as many of them as examples are wanted."""
        chosen = paths if len(paths) <= self.sample else paths[:: -(-len(paths) // self.sample)]
        for path in chosen:
            if next(self._rows(path), None) is not None:  # one of many may well be empty
                yield from islice(self._examples([path], labels), -(-self.sample // len(chosen)))

    def _rows(self, path: str) -> Iterator[tuple[str, bytes]]:
        for number, row in rows_of(path):
            yield f"{path}:{number}", row

    def _record(self, row: bytes, labels: Labels) -> Record:
        if isinstance(row, Serialized):
            return self._record_of_example(row)
        utf8 = codecs.lookup(self.encoding).name == "utf-8"
        try:
            text = row.decode("utf-8-sig" if utf8 else self.encoding)
        except UnicodeDecodeError as error:
            byte = f"byte 0x{error.object[error.start]:02x}"
            raise RowProblem(f"{byte} is not valid {self.encoding}.") from None
        return super()._record(text, labels)

    def _record_of_example(self, row: bytes) -> Record:
        import tensorflow as tf
        from google.protobuf.message import DecodeError

        try:
            features = tf.train.Example.FromString(row).features.feature
        except DecodeError:
            raise RowProblem("the record is not a tf.train.Example.") from None
        text = self._feature(features, "text_field", ("bytes_list",))
        label = self._feature(features, "label_field", ("bytes_list", "int64_list"))
        weight = 1.0
        if self.weight_field is not None:
            found = self._feature(features, "weight_field", ("float_list", "int64_list"))
            weight = checked_weight(float(found), str(found))
        label = _decoded(label, self.label_field).strip()
        return Record(_decoded(text, self.text_field), label, weight)

    def _feature(self, features, field: str, kinds: tuple[str, ...]):
        """The only value of a feature, which must be of one of these kinds."""
        name = getattr(self, field)
        if name not in features:
            has = ", ".join(map(repr, sorted(features))) or "none"
            raise RowProblem(
                f"no feature '{name}'; it has {has}.{did_you_mean(name, features)}",
                f"Mend the record, set Shards.{field}",
            )
        kind = features[name].WhichOneof("kind")
        values = getattr(features[name], kind).value if kind in kinds else ()
        if len(values) != 1:
            raise RowProblem(f"the feature '{name}' is not one value of a {' or '.join(kinds)}.")
        return values[0]


def reader_of_rows(options: dict[str, Any]) -> Shards:
    """A source that only reads rows; `options` are those of `row_options`."""
    return Shards(train="-", **options)


def _each(patterns: str | tuple[str, ...]) -> tuple[str, ...]:
    return (patterns,) if isinstance(patterns, str) else tuple(patterns)


def _found(patterns: str | tuple[str, ...], binding: str) -> list[str]:
    """The files of all patterns, each once, sorted."""
    return sorted({path for p in _each(patterns) for path in files.find(p, binding)})


def _decoded(value: bytes | int, field: str) -> str:
    if not isinstance(value, bytes):
        return str(value)
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise RowProblem(f"the feature '{field}' is not UTF-8.") from None
