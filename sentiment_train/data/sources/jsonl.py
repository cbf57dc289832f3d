"""Examples from JSON lines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import gin

from sentiment_train.data.sources import files
from sentiment_train.data.sources.labels import Labels, RowProblem
from sentiment_train.data.sources.rows import (
    Record,
    RowSource,
    checked_confidence,
    checked_weight,
)
from sentiment_train.errors import did_you_mean


@gin.configurable
@dataclass(frozen=True)
class JsonlSource(RowSource):
    """One example per line, each a JSON object such as `{"text": "Fine.", "label": 1}`.

    A label may be a string, an int or a bool, and is known by what the file says: `1` is '1',
    `true` is 'true'. See `RowSource` for the options that are shared with `CsvSource`.
    """

    text_field: str = "text"
    label_field: str = "label"
    weight_field: str | None = None
    confidence_field: str | None = None  # a number from 0 to 1; see `Splits`

    def check(self) -> None:
        super().check()
        if self.text_field == self.label_field:
            self.refuse("label_field", "is also the text.")
        if self.weight_field in (self.text_field, self.label_field):
            self.refuse("weight_field", "is also the text or the label.")
        others = (self.text_field, self.label_field, self.weight_field)
        if self.confidence_field is not None and self.confidence_field in others:
            self.refuse("confidence_field", "is also the text, the label or the weight.")

    def _rows(self, path: str) -> Iterator[tuple[str, str]]:
        lines = files.lines(path, self.encoding, type(self).__name__)
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield f"{path}:{number}", line

    def _record(self, row: str, labels: Labels) -> Record:
        try:
            values = json.loads(row)
        except json.JSONDecodeError as error:
            raise RowProblem(f"not JSON: {error.msg} at column {error.colno}.") from None
        except (RecursionError, ValueError):
            raise RowProblem("not JSON: nested too deep, or a number too long.") from None
        if not isinstance(values, dict):
            raise RowProblem(f"expected a JSON object {{…}}, found {_kind(values)}.")
        label = self._typed(values, "label_field", "a string, an int or a bool", (str, int))
        text = self._typed(values, "text_field", "a string", (str,))
        return Record(
            _encodable(text, self.text_field),
            _encodable(label if isinstance(label, str) else json.dumps(label), self.label_field)
            .strip(),
            self._number(values, "weight_field", checked_weight),
            self._number(values, "confidence_field", checked_confidence),
        )  # fmt: skip

    def _number(self, values: dict[str, Any], field: str, checked: Callable) -> float:
        """`values[self.<field>]` as `checked` gives it back; 1 if there is no such field."""
        name = getattr(self, field)
        if name is None:
            return 1.0
        value = self._typed(values, field, "a number", (int, float))
        if isinstance(value, bool):
            raise RowProblem(f"the field '{name}' is a bool; expected a number.")
        try:
            number = float(value)
        except OverflowError:
            number = float("inf")
        return checked(number, json.dumps(value))

    def _typed(self, values: dict[str, Any], field: str, expected: str, types: tuple):
        """`values[self.<field>]`, which must be of one of `types`."""
        name = getattr(self, field)
        if name not in values:
            raise RowProblem(
                f"no field '{name}'; it has {', '.join(map(repr, values)) or 'none'}."
                f"{did_you_mean(name, values)}",
                f"Mend the row, set {type(self).__name__}.{field}",
            )
        if not isinstance(values[name], types):
            raise RowProblem(f"the field '{name}' is {_kind(values[name])}; expected {expected}.")
        return values[name]


def _encodable(text: str, field: str) -> str:
    """`text`, unless it holds half of a surrogate pair, which JSON can write but UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(text[error.start]):04x}"
        raise RowProblem(f"the field '{field}' holds {half}, half of a character.") from None
    return text


def _kind(value: Any) -> str:
    """What JSON calls `value`."""
    kinds = {dict: "an object", list: "an array", str: "a string", bool: "a bool"}
    return "null" if value is None else kinds.get(type(value), "a number")
