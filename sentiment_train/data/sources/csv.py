"""Examples from CSV and TSV files."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import gin

from sentiment_train.data.sources import files
from sentiment_train.data.sources.labels import Labels, RowProblem
from sentiment_train.data.sources.rows import (
    Record,
    RowSource,
    checked_confidence,
    checked_weight,
)
from sentiment_train.errors import DataError, did_you_mean


class Row(NamedTuple):
    """The fields of one row, and where the wanted ones are."""

    fields: list[str]
    columns: Sequence[str]
    delimiter: str


@gin.configurable
@dataclass(frozen=True)
class CsvSource(RowSource):
    """One example per row of a CSV or TSV file (RFC 4180), with a header row or `columns`.

    Quotes are read strictly: text after a closing quote, or a quote that is never closed, is an
    error and not a guess. See `RowSource` for the options that are shared with `JsonlSource`.
    """

    text_column: str = "text"
    label_column: str = "label"
    weight_column: str | None = None
    confidence_column: str | None = None  # numbers from 0 to 1; see `Splits`
    delimiter: str | None = None  # None: a tab for .tsv and .tsv.gz, else a comma
    columns: tuple[str, ...] | None = None  # names, for files without a header row
    check_quotes: bool = True  # refuses a text that holds a whole row: a quote left open?

    def check(self) -> None:
        super().check()
        if self.delimiter is not None and (len(self.delimiter) != 1 or self.delimiter in '"\r\n\0'):
            self.refuse("delimiter", "is not one character such as ',' or ';' or '\\t'.")
        wanted = self._wanted()
        for field, name in wanted.items():
            if list(wanted.values()).count(name) > 1:
                self.refuse(field, "is also another column; each needs its own.")
            if self.columns is not None and list(self.columns).count(name) != 1:
                listed = ", ".join(map(repr, self.columns))
                suggestion = did_you_mean(name, self.columns)
                self.refuse(field, f"must be once in CsvSource.columns: {listed}.{suggestion}")

    def _wanted(self) -> dict[str, str]:
        """`{"text_column": "text", …}` for the columns that are read."""
        fields = ("text_column", "label_column", "weight_column", "confidence_column")
        return {field: name for field in fields if (name := getattr(self, field)) is not None}

    def _format(self, path: str) -> str:
        return super()._format(path) + self._delimiter_of(path)

    def _delimiter_of(self, path: str) -> str:
        return self.delimiter or ("\t" if path.endswith((".tsv", ".tsv.gz")) else ",")

    def _rows(self, path: str) -> Iterator[tuple[str, Row | RowProblem]]:
        delimiter = self._delimiter_of(path)
        rows = read_rows(files.lines(path, self.encoding, type(self).__name__), delimiter)
        first = next(rows, None)
        if first is None:
            raise DataError(f"{path} is empty.")
        columns = self.columns
        if columns is None:
            columns = self._header(f"{path}:{first[0]}", first[1], delimiter)
        else:
            rows = itertools.chain([first], rows)
        for line, fields in rows:
            if isinstance(fields, RowProblem):
                if fields.fatal:
                    raise DataError(f"{path}:{line}: {fields.what} {fields.mend}.")
                yield f"{path}:{line}", fields
            else:
                yield f"{path}:{line}", Row(fields, columns, delimiter)

    def _header(self, where: str, fields: list[str] | RowProblem, delimiter: str) -> list[str]:
        """The column names of the header row, which must hold each wanted one once."""
        if isinstance(fields, RowProblem):
            raise DataError(f"{where}: {fields.what} {fields.mend}.")
        found = [name.strip() for name in fields]
        for field, name in self._wanted().items():
            if found.count(name) == 1:
                continue
            if name in found:
                raise DataError(f"{where}: there are {found.count(name)} columns '{name}'.")
            raise DataError(
                f"{where}: no column '{name}'; it has {', '.join(map(repr, found))}."
                f"{did_you_mean(name, found)} Set CsvSource.{field}"
                f"{_other_delimiter(found, delimiter)}, or CsvSource.columns if there is no header."
            )
        return found

    def _record(self, row: Row | RowProblem, labels: Labels) -> Record:
        if isinstance(row, RowProblem):
            raise row
        if len(row.fields) != len(row.columns):
            raise RowProblem(
                f"expected {len(row.columns)} fields ({', '.join(row.columns)}),"
                f" found {len(row.fields)}.",
                "Quote the text" if len(row.fields) > len(row.columns) else "Complete the row",
            )
        values = dict(zip(row.columns, row.fields, strict=True))
        if self.check_quotes:
            refuse_swallowed_rows(row, row.columns.index(self.label_column), labels)
        record = Record(values[self.text_column], values[self.label_column].strip())
        if (written := values.get(self.weight_column)) is not None:
            record = record._replace(weight=checked_weight(_number(written), repr(written)))
        if (written := values.get(self.confidence_column)) is not None:
            confidence = checked_confidence(_number(written), repr(written))
            record = record._replace(confidence=confidence)
        return record


def read_rows(
    lines: Iterator[str], delimiter: str = ","
) -> Iterator[tuple[int, list[str] | RowProblem]]:
    """Yields `(line, fields)` for each row that is not blank; `line` is where the row starts.

    What the csv module cannot read is a RowProblem in place of the fields.
    """
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield line, _unreadable(str(error))
            continue
        if any("\0" in field for field in fields):
            yield line, _unreadable("NUL")
        elif len(fields) > 1 or (fields and fields[0].strip()):
            yield line, fields


def _unreadable(error: str) -> RowProblem:
    """What an error of the csv module means for the file."""
    if "NUL" in error:
        return RowProblem("the row holds a NUL byte.", "Remove it, set CsvSource.encoding")
    if "unexpected end of data" in error:
        what = "a quote is opened here and not closed before the file ends."
        return RowProblem(what, "Close it", fatal=True)
    if "field larger" in error:
        return RowProblem(
            f"a field has more than {csv.field_size_limit():,} characters;"
            " is a quote opened and never closed?",
            "Close it, use JsonlSource for texts that long",
            fatal=True,
        )
    return RowProblem(
        f"a quote inside a quoted field is not doubled, or a quote is never closed ({error}).",
        'Write "" for a quote in the text',
    )


def refuse_swallowed_rows(row: Row, label_index: int, labels: Labels) -> None:
    """Raises RowProblem if a field holds lines that are rows themselves.

    A stray opening quote swallows the rows up to the next quote; when that one happens to end a
    field, the csv module sees a valid row. A line inside a field that has the right number of
    fields *and* a known label gives it away.
    """
    for field in row.fields:
        if "\n" not in field:
            continue
        for line in field.splitlines():
            parts = line.split(row.delimiter)
            if len(parts) == len(row.columns) and parts[label_index].strip(' "') in labels.known:
                raise RowProblem(
                    f"the quoted text holds a row of its own ({line[:60]!r});"
                    " is a quote opened and never closed?",
                    "Close it, set CsvSource.check_quotes = False if the text is right",
                )


def _other_delimiter(found: list[str], delimiter: str) -> str:
    """`, or CsvSource.delimiter = ';'` if the only field looks as if another one divides it."""
    for other in ("\t", ";", "|", ","):
        if len(found) == 1 and other != delimiter and other in found[0]:
            return f", or CsvSource.delimiter = {other!r}"
    return ""


def _number(written: str) -> float:
    """The number that a field holds, or NaN, which is neither a weight nor a confidence."""
    try:
        return float(written)
    except ValueError:
        return float("nan")
