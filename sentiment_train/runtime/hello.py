"""What a worker says of itself when it meets another one, and how two of them differ."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import pathlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sentiment_train

_PROTOCOL = "sentiment_train workers"
_SHOWN = 3  # differing bindings in a message


@dataclass(frozen=True)
class Hello:
    """The first message in both directions of a connection.

    Attributes:
      index: of the worker that says it.
      to: whom it believes to talk to.
      same: what must be equal on all workers, by name; a mapping is compared item by item.
      process: a number that no other process has.
      twice: it comes from a process that could not become the worker it addresses, because another
        one is that already.
    """

    index: int
    to: int
    addresses: tuple[str, ...]
    same: Mapping[str, Any]
    process: str = field(default_factory=lambda: uuid.uuid4().hex)
    twice: bool = False

    def message(self) -> dict:
        return {"protocol": _PROTOCOL, **dataclasses.asdict(self)}

    def toward(self, index: int) -> Hello:
        """The same, to another worker."""
        return dataclasses.replace(self, to=index)

    def of_a_twin(self) -> Hello:
        """The same, to the process that is in this one's place."""
        return dataclasses.replace(self, to=self.index, twice=True)

    def standing_at(self, index: int) -> Hello:
        """The same, as if it came from the process of another index."""
        return dataclasses.replace(self, index=index)

    @classmethod
    def of(cls, message: dict) -> Hello | None:
        """None if it is not one."""
        names = {field.name for field in dataclasses.fields(cls)}
        if message.get("protocol") != _PROTOCOL or not names <= message.keys():
            return None
        values = {name: message[name] for name in names}
        fits = isinstance(values["same"], dict) and isinstance(values["addresses"], list)
        if not fits or not all(type(values[name]) is int for name in ("index", "to")):
            return None
        return cls(**{**values, "addresses": tuple(map(str, values["addresses"]))})


def versions() -> dict[str, str]:
    """Of this code and of the packages that all workers need alike."""
    digest, folder = hashlib.sha256(), pathlib.Path(sentiment_train.__file__).parent
    for path in sorted(folder.rglob("*.py")):
        digest.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    found = {"sentiment_train": f"{sentiment_train.__version__} ({digest.hexdigest()[:8]})"}
    for name in ("tensorflow", "keras"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "unknown"
    return found


def difference(mine: Hello, other: Hello) -> str | None:
    """How two workers differ, as the end of a sentence: what the other has against what I have."""
    if other.addresses != mine.addresses:
        lists = (", ".join(hello.addresses) for hello in (other, mine))
        return "another list of workers in its TF_CONFIG: {}; against {}".format(*lists)
    for what, value in mine.same.items():
        there = other.same.get(what)
        if there == value:
            continue
        if not isinstance(value, Mapping) or not isinstance(there, Mapping):
            return f"another {what}: {there} against {value}"
        names = [n for n in sorted({*value, *there}) if value.get(n) != there.get(n)]
        lines = [
            f"{n} = {there.get(n, '(default)')} against {value.get(n, '(default)')}"
            for n in names[:_SHOWN]
        ]
        if len(names) > _SHOWN:
            lines.append(f"{len(names) - _SHOWN} more")
        return f"another {what}: {'; '.join(lines)}"
    return None
