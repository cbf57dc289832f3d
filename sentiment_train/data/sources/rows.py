"""What the sources with one example per row share: their options, splits and bad rows."""

from __future__ import annotations

import abc
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

from sentiment_train.config import Part
from sentiment_train.data.sources import files
from sentiment_train.data.sources.labels import Labels, RowProblem, check_labels
from sentiment_train.errors import DataError
from sentiment_train.schema import SPLITS, BadRow, Example


class Record(NamedTuple):
    """What a row says, before its label is looked up."""

    text: str
    label: str
    weight: float = 1.0
    confidence: float = 1.0


@dataclass(frozen=True)
class RowSource(Part, abc.ABC):
    """Base of the sources with one example per row.

    Either `path` holds all examples, to be split later, or `train` and its companions give the
    splits. Each may be a pattern (`reviews-*.csv`), local, `gs://` or `ram://`, gzipped or not.
    A subclass yields the rows of a file and turns one row into a `Record`.
    """

    path: str | None = None
    train: str | None = None
    validation: str | None = None
    test: str | None = None
    encoding: str = "utf-8"  # with or without a byte order mark
    # None: each label is a class; ('negative', 'positive'): only these, in this order;
    # {'0': 'negative', '1': 'positive'}: these, under other names.
    labels: tuple[str, ...] | dict[str | int, str] | None = None
    on_bad_row: Literal["error", "skip"] = "error"

    def check(self) -> None:
        given = [split for split in SPLITS if getattr(self, split) is not None]
        if self.path is None and self.train is None:
            self.refuse("path", "is not set; give path, or train (and validation, test).")
        if self.path is not None and given:
            self.refuse("path", f"cannot be combined with {given[0]}; set one of them to None.")
        for i, split in enumerate(given):
            if getattr(self, split) in [getattr(self, other) for other in given[:i]]:
                self.refuse(split, "is also another split; each needs its own file.")
        check_labels(self)
        files.check_encoding(self)

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Class names in order, or None if they are learned from the data."""
        return Labels(self.labels).class_names

    @property
    def description(self) -> str:
        return ", ".join(os.path.basename(pattern) for pattern in self._patterns().values())

    def splits(self) -> Mapping[str, Iterator[Example | BadRow]]:
        """The examples of each split, or all under `all`, in the order of the files.

        Raises:
          DataError: at once if a file is missing; while iterating if a row is bad and
            `on_bad_row` is 'error', or if a file has no rows.
        """
        labels = Labels(self.labels)
        return {s: self._examples(paths, labels) for s, paths in self._paths().items()}

    def fingerprint(self) -> str:
        """Depends on the bytes of the files and every option, but not on where the files are."""
        options = {k: v for k, v in asdict(self).items() if k not in ("path", *SPLITS)}
        content = {
            split: (files.sha256_of_files(paths), [self._format(path) for path in paths])
            for split, paths in self._paths().items()
        }
        return files.sha256_of_values(type(self).__name__, options, content)

    def _format(self, path: str) -> str:
        """What the name of a file says about how it is read."""
        return "gzip" if path.endswith(".gz") else ""

    @abc.abstractmethod
    def _rows(self, path: str) -> Iterator[tuple[str, Any]]:
        """Yields `("reviews.csv:1841", row)` for every row that is not blank."""

    @abc.abstractmethod
    def _record(self, row: Any, labels: Labels) -> Record:
        """What a row of `_rows` says; raises RowProblem if it cannot be used."""

    def _patterns(self) -> dict[str, str]:
        if self.path is not None:
            return {"all": self.path}
        return {split: value for split in SPLITS if (value := getattr(self, split)) is not None}

    def _paths(self) -> dict[str, list[str]]:
        name = type(self).__name__
        return {
            split: files.find(pattern, f"{name}.{'path' if split == 'all' else split}")
            for split, pattern in self._patterns().items()
        }

    def _examples(self, paths: list[str], labels: Labels) -> Iterator[Example | BadRow]:
        for path in paths:
            empty = True
            for where, row in self._rows(path):
                empty = False
                try:
                    record = self._record(row, labels)
                    label = labels.name_of(record.label)
                except RowProblem as problem:
                    yield self._bad_row(where, problem)
                else:
                    yield Example(record.text, label, record.weight, where, record.confidence)
            if empty:
                raise DataError(f"{path} has no rows.")

    def _bad_row(self, where: str, problem: RowProblem) -> BadRow:
        if self.on_bad_row == "skip":
            return BadRow(f"{where}: {problem.what}")
        skip = f"{type(self).__name__}.on_bad_row = 'skip'"
        raise DataError(f"{where}: {problem.what} {problem.mend}, or set {skip}.")


def checked_weight(value: float, written: str) -> float:
    """`value` if it can weigh an example; raises RowProblem otherwise."""
    if math.isfinite(value) and value >= 0:
        return value
    raise RowProblem(f"the weight {written} is not a finite number >= 0.")


def checked_confidence(value: float, written: str) -> float:
    """`value` if it can be a confidence; raises RowProblem otherwise."""
    if 0 <= value <= 1:
        return value
    raise RowProblem(f"the confidence {written} is not a number from 0 to 1.")
