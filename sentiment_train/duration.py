"""Lengths of time as people say them (`3 epochs`, `500 steps`), converted once to steps."""

from __future__ import annotations

import math
import re
from fractions import Fraction

from sentiment_train.errors import ConfigError


def check_duration(part, field: str, at_least_one_step: bool = True) -> None:
    """Raises ConfigError unless `part.field` reads `<number> epochs` or `<number> steps`.

    The field may also be a tuple of such texts.
    """
    value = getattr(part, field)
    for text in value if isinstance(value, tuple | list) else (value,):
        match = _PATTERN.fullmatch(text)
        if not match:
            part.refuse(
                field, "is no length of time; write '3 epochs', '0.5 epochs' or '500 steps'."
            )
        if match["unit"] == "step" and float(match["number"]) % 1:
            part.refuse(field, "asks for a part of a step.")
        if at_least_one_step and float(match["number"]) == 0:
            part.refuse(field, "must be longer than 0.")


def to_steps(text: str, steps_per_epoch: int | None) -> int:
    """Optimizer updates in `text`; a part of a step counts as one.

    Raises:
      ConfigError: for epochs, if it is not known how many steps one has.
    """
    match = _PATTERN.fullmatch(text)
    if match["unit"] == "epoch" and steps_per_epoch is None:
        raise ConfigError(
            f"'{text}': how many examples an epoch of this source has is not known. Set"
            " Shards.examples, or write every length of time in steps."
        )
    per_unit = steps_per_epoch if match["unit"] == "epoch" else 1
    return math.ceil(Fraction(match["number"]) * per_unit)  # 1.1 * 10 is above 11 in floats


_PATTERN = re.compile(r"\s*(?P<number>\d+(\.\d+)?)\s*(?P<unit>epoch|step)s?\s*")
