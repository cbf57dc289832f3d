from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import make_dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import pytest

from sentiment_train.part_types import describe_mismatch, matches


@runtime_checkable
class Speaker(Protocol):
    def speak(self): ...


class Dog:
    def speak(self):
        return "woof"


FITTING = [
    (3, int),
    (-3, int | None),
    (None, int | None),
    (3, float),
    (0.5, float),
    ("a", str),
    (True, bool),
    ("a", Literal["a", 2]),
    (2, Literal["a", 2]),
    ((), tuple[int, ...]),
    ((1, 2), tuple[int, ...]),
    ([1, 2], tuple[int, ...]),
    ((1, 0.5), tuple[float, float]),
    (("a", 1), tuple[str, int]),
    ([1, 2], list[int]),
    ((1, 2), list[int]),
    ({"a": 1}, dict[str, int]),
    ({0: "a", "1": "b"}, tuple[str, ...] | dict[str | int, str] | None),
    (Dog(), Dog),
    (Dog(), Speaker),
    (Dog(), Speaker | None),
    (Dog, type),
    (Dog, type[Dog]),
    ((1, 2), Sequence[int]),
    (Counter(a=1), Mapping[str, int] | None),
    (len, Callable[[list], int]),
    (Dog, Callable[[], Dog]),
    (Dog, Any),
    (Dog, object),
]


@pytest.mark.parametrize("value, hint", FITTING)
def test_fitting_values_pass(value, hint):
    assert matches(value, hint)


MISMATCHES = [
    (1e6, int, "is a float; write 1000000."),
    (1e6, int | None, "is a float; write 1000000."),
    (0.5, int, "is a float; expected an int."),
    (True, int, "is a bool; expected an int."),
    (True, float, "is a bool; expected a number."),
    (1, bool, "is an int; expected True or False."),
    ("true", bool, "is a string; expected True or False."),
    ("3", int, "is a string; write 3 without quotes."),
    ("0.1", float, "is a string; write 0.1 without quotes."),
    ("many", int, "is a string; expected an int."),
    ("3", int | None, "is a string; write 3 without quotes."),
    (None, int, "is nothing; expected an int."),
    (3, str | None, "is an int; expected a string or None."),
    ("c", Literal["a", 2], "is none of 'a' | 2."),
    (True, Literal[1], "is a bool; expected 1."),
    (64, tuple[int, ...], "is an int; expected a tuple of an int such as (64,)."),
    (("a", 1), tuple[str, ...], "is a tuple; expected a tuple of a string such as ('a',)."),
    ((0.5,), tuple[float, float], "is a tuple; expected a tuple of a number such as (0.5, 0.5)."),
    ("ab", tuple[str, ...], "is a string; expected a tuple of a string such as ('a',)."),
    (3, list[int], "is an int; expected a tuple of an int such as (64,)."),
    ({"a": "b"}, dict[str, int], "is a dict; expected a dict of a string to an int."),
    (Dog, Dog, "is a class; write @Dog() with brackets."),
    (Dog, Speaker, "is a class; write @Dog() with brackets."),
    (Dog, Speaker | None, "is a class; write @Dog() with brackets."),
    (Dog, int, "is a class; expected an int."),
    (3, Sequence[int], "is an int; expected a Sequence."),
    (3, Speaker, "is an int; expected a Speaker."),
    ([], Dog, "is a list; expected a Dog."),
    (3, Callable[[], int] | None, "is an int; expected a Callable or None."),
]


@pytest.mark.parametrize("value, hint, problem", MISMATCHES)
def test_a_mismatch_is_described_in_the_words_of_a_gin_file(value, hint, problem):
    part = make_dataclass("Thing", [("other", Any), ("field", hint)])(object(), value)
    assert list(describe_mismatch(part)) == [("field", problem)]
