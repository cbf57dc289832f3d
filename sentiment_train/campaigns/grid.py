"""A grid of settings: `batch_size=16,32` as gin bindings, and one cell for every combination."""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import inspect
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from sentiment_train.errors import ConfigError, did_you_mean

SEED = "Runtime.seed"  # runs that differ in it alone are repetitions

# Short names that are not simply a field of one part: the binding, and a unit behind the value.
_SHORT_NAMES = {
    "batch_size": ("Buckets.batch_size", ""),
    "epochs": ("Training.length", "epochs"),
    "steps": ("Training.length", "steps"),
    "seed": (SEED, ""),
    "vocabulary_size": ("Vocabulary.max_size", ""),
}
_LONGEST_NAME = 150  # of a cell's directory


@dataclass(frozen=True)
class Axis:
    """One `--grid`: a name, the binding it stands for, and its values."""

    name: str  # as written: `epochs`
    binding: str  # `Training.length`
    values: tuple[str, ...]  # as written: `2`
    bound: tuple[str, ...]  # as gin reads them: `'2 epochs'`

    @property
    def is_seed(self) -> bool:
        return self.binding == SEED

    @property
    def labels(self) -> list[str]:
        """The values as parts of a path, each another one."""
        plain = [re.sub(r"[^\w.+-]+", "_", v, flags=re.ASCII).strip("_") for v in self.values]
        folded = [label.lower() for label in plain]  # some file systems do not know the difference
        return [
            label if folded.count(label.lower()) == 1 else f"{label}-{_digest(value)}"
            for label, value in zip(plain, self.values, strict=True)
        ]


@dataclass(frozen=True)
class Cell:
    """One combination of values."""

    name: str  # `batch_size=16,epochs=2,seed=0`, fit for a directory
    point: str  # the same without the seed
    values: dict[str, str]  # by the name of the axis, without the seed
    seed: str | None
    bindings: tuple[str, ...]


def axes_of(grids: Sequence[str], experiment: Callable[[], object]) -> list[Axis]:
    """Reads `name=value,value,…` of every `--grid`.

    A name is a binding (`RecurrentClassifier.units`), one of the short names, or the name of a
    field that a single part of the experiment has.

    Args:
      experiment: gives the experiment without the grid; called for names of fields only.

    Raises:
      ConfigError: for a name that is unknown or ambiguous, for values that are missing or there
        twice, and for two axes of one binding.
    """
    axes: list[Axis] = []
    for text in grids:
        axis = _axis(text, experiment)
        for other in axes:
            if other.binding == axis.binding:
                both = f"'{other.name}' and '{axis.name}'"
                if other.name == axis.name:
                    raise ConfigError(f"--grid={axis.name} is given twice; put all values in one.")
                raise ConfigError(f"--grid: {both} both set {axis.binding}; give one of them.")
        axes.append(axis)
    return axes


def _axis(text: str, experiment: Callable[[], object]) -> Axis:
    name, equals, values = (part.strip() for part in text.partition("="))
    if not equals or not name:
        raise ConfigError(f"--grid={text}: write name=value,value,… such as batch_size=16,32.")
    values = split_values(values, f"--grid={text}")
    binding, unit = _binding(name, text, experiment)
    known = []
    for value in values:
        if _parsed(value) in known:
            raise ConfigError(f"--grid={text}: the value {value} is there twice.")
        known.append(_parsed(value))
    bound = (f"'{value} {unit}'" if unit else as_gin(value) for value in values)
    return Axis(name, binding, tuple(values), tuple(bound))


def split_values(text: str, where: str) -> list[str]:
    """`(64,),(64, 32)` → `["(64,)", "(64, 32)"]`: cut at the commas outside brackets and quotes.

    Raises:
      ConfigError: for an empty value, or a bracket or quote that is not closed.
    """
    values, depth, quote, escaped = [""], 0, "", False
    for letter in text:
        if letter == "," and not depth and not quote:
            values.append("")
            continue
        values[-1] += letter
        if quote:
            quote = "" if letter == quote and not escaped else quote
            escaped = letter == "\\" and not escaped
        elif letter in "'\"":
            quote = letter
        else:
            depth += (letter in "([{") - (letter in ")]}")
    if depth or quote:
        raise ConfigError(f"{where}: a bracket or quote is not closed.")
    values = [value.strip() for value in values]
    if "" in values:
        raise ConfigError(f"{where}: a value is empty; write name=value,value,…")
    return values


def as_gin(value: str) -> str:
    """A value as gin reads it: a bare word (`gru`, `mean+max`) is a string and gets its quotes."""
    is_gin = _is_literal(value) or any(sign in value for sign in "@%([{'\"")
    return value if is_gin else repr(value)


def _is_literal(value: str) -> bool:
    try:
        ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return False
    return True


def _parsed(value: str):
    """What two spellings of a value have in common (`1e-3` and `0.001`)."""
    return ast.literal_eval(value) if _is_literal(value) else value


def _binding(name: str, text: str, experiment: Callable[[], object]) -> tuple[str, str]:
    """The binding that a name stands for, and the unit of its values."""
    if "." in name:
        return name, ""
    if name in _SHORT_NAMES:
        return _SHORT_NAMES[name]
    fields = list(_fields(experiment()))
    found = sorted({binding for field, binding in fields if field == name})
    if len(found) == 1:
        return found[0], ""
    if found:
        raise ConfigError(f"--grid={text}: '{name}' may be {' or '.join(found)}; write which.")
    known = [*_SHORT_NAMES, *(field for field, _ in fields)]
    raise ConfigError(
        f"--grid={text}: no part of this experiment has '{name}'.{did_you_mean(name, known)}"
        " Write the whole binding for anything else, e.g. CosineSchedule.warmup."
    )


def _fields(part) -> Iterator[tuple[str, str]]:
    """`(field, Class.field)` of the parts of a part, and of theirs."""
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        if isinstance(value, str | int | float | tuple | list | dict | type | None):
            continue
        for name in inspect.signature(type(value)).parameters:
            yield name, f"{type(value).__name__}.{name}"
        if dataclasses.is_dataclass(value):
            yield from _fields(value)


def cells_of(axes: Sequence[Axis]) -> list[Cell]:
    """Every combination; the last axis changes fastest."""
    cells = []
    for chosen in itertools.product(*(range(len(axis.values)) for axis in axes)):
        pairs = list(zip(axes, chosen, strict=True))
        points = [(axis, i) for axis, i in pairs if not axis.is_seed]
        seeds = [axis.values[i] for axis, i in pairs if axis.is_seed]
        cells.append(
            Cell(
                name=_directory_name(axes, pairs),
                point=_directory_name(axes, points) or "all",
                values={axis.name: axis.values[i] for axis, i in points},
                seed=seeds[0] if seeds else None,
                bindings=tuple(f"{axis.binding} = {axis.bound[i]}" for axis, i in pairs),
            )
        )
    return cells


def _directory_name(axes: Sequence[Axis], pairs: Sequence[tuple[Axis, int]]) -> str:
    """`units=64_32,seed=0`, cut and told apart by a digest where it gets too long.

    Sorted by name, the seed last: the same runs have the same names in whatever order the axes are
    given.
    """
    last = [axis.name.rpartition(".")[2] for axis in axes]
    parts = []
    for axis, i in pairs:
        short = axis.name.rpartition(".")[2]
        name = short if last.count(short) == 1 else axis.name.replace("/", ".")
        parts.append((axis.is_seed, name, axis.labels[i]))
    text = ",".join(f"{name}={label}" for _, name, label in sorted(parts))
    return text if len(text) <= _LONGEST_NAME else f"{text[:_LONGEST_NAME]}-{_digest(text)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
