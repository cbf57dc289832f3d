"""Does a configured value have the type its field was annotated with?

Gin passes any literal to any parameter. A few types are all that gin files use; for these a
mismatch is described in the words of the gin file, with what to write instead.
"""

from __future__ import annotations

import contextlib
import dataclasses
import types
import typing
from collections.abc import Callable, Iterator


def describe_mismatch(part) -> Iterator[tuple[str, str]]:
    """Yields `(field, problem)` for each field of a dataclass whose value has a wrong type.

    The problem completes the sentence "Vocabulary.max_size = 1e6 …".
    """
    hints = typing.get_type_hints(type(part))
    for field in dataclasses.fields(part):
        value, hint = getattr(part, field.name), hints[field.name]
        if not matches(value, hint):
            yield field.name, _problem(value, hint)


def matches(value, hint) -> bool:
    """Whether `value` is of type `hint`. A list passes for a tuple, an int for a float.

    A class never passes for one of its instances, not even for a protocol, which it would match.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is typing.Any or hint is object:
        return True
    if origin in (typing.Union, types.UnionType):
        return any(matches(value, option) for option in arguments)
    if origin is typing.Literal:
        return any(value == option and type(value) is type(option) for option in arguments)
    if origin in (tuple, list):
        if not isinstance(value, list | tuple):
            return False
        if origin is list or arguments[-1] is Ellipsis:
            arguments = (arguments[0],) * len(value)
        return len(value) == len(arguments) and all(map(matches, value, arguments))
    if origin is dict:
        return isinstance(value, dict) and all(
            matches(k, arguments[0]) and matches(v, arguments[1]) for k, v in value.items()
        )
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is None or hint is type(None):
        return value is None
    if hint is Callable or origin is Callable:
        return callable(value)
    kind = origin or hint  # of Sequence[int] only the Sequence is checked
    return isinstance(value, kind) and (kind is type or not isinstance(value, type))


def _problem(value, hint) -> str:
    literal = typing.get_origin(hint) is typing.Literal
    if literal and type(value) in map(type, typing.get_args(hint)):
        return f"is none of {_words(hint)}."
    return f"{_is_a(value)}; {_instead(value, hint)}"


def _is_a(value) -> str:
    if isinstance(value, type):
        return "is a class"
    kinds = {bool: "a bool", int: "an int", float: "a float", str: "a string", tuple: "a tuple"}
    kind = kinds.get(type(value))
    return "is nothing" if value is None else f"is {kind or 'a ' + type(value).__name__}"


def _instead(value, hint) -> str:
    """What to write in the gin file."""
    options = typing.get_args(hint) if _is_union(hint) else (hint,)
    if int in options and isinstance(value, float) and value.is_integer():
        return f"write {int(value)}."
    if isinstance(value, str) and (int in options or float in options):
        with contextlib.suppress(ValueError):
            return f"write {int(value) if int in options else float(value)} without quotes."
    if isinstance(value, type) and any(_is_part(option) for option in options):
        return f"write @{value.__name__}() with brackets."
    return f"expected {' or '.join(_words(option) for option in options)}."


def _is_part(hint) -> bool:
    return isinstance(hint, type) and hint not in (int, float, str, bool, type(None))


def _is_union(hint) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def _words(hint) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return " | ".join(repr(option) for option in arguments)
    if origin in (tuple, list):
        samples = [_sample(item) for item in arguments if item is not Ellipsis]
        such_as = ", ".join(samples) if len(samples) > 1 else f"{samples[0]},"
        return f"a tuple of {_words(arguments[0])} such as ({such_as})"
    if origin is dict:
        return f"a dict of {_words(arguments[0])} to {_words(arguments[1])}"
    names = {int: "an int", float: "a number", str: "a string", bool: "True or False"}
    if hint is None or hint is type(None):
        return "None"
    return names.get(hint) or f"a {getattr(hint, '__name__', str(hint))}"


def _sample(hint) -> str:
    return {int: "64", float: "0.5", str: "'a'"}.get(hint, "…")
