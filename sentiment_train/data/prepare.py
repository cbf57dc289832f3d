"""source → split → encode → store, or the store that an earlier run made of the same things."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
import pathlib
from collections.abc import Callable
from dataclasses import dataclass

import filelock

from sentiment_train.data import store as stores
from sentiment_train.data.encoders import Encoding
from sentiment_train.data.splits import Splits, SplitTexts, split
from sentiment_train.data.store import EncodedSplit
from sentiment_train.errors import DataError
from sentiment_train.schema import Encoder, FittedEncoder, Source


@dataclass(frozen=True)
class PreparedData:
    """Everything that later stages need to know of the data."""

    description: str
    content: str  # digest of what is trained on; the same ids and labels have the same
    directory: str  # of the store; holds what the encoder saved
    class_names: tuple[str, ...]
    splits: dict[str, EncodedSplit]
    encoder: FittedEncoder
    found: dict[str, int]

    @property
    def vectors(self) -> bool:
        """Whether each text is kept as one vector, and not as tokens that are so many."""
        return self.longest == 1 and all(
            split.tokens.dtype.kind == "f" for split in self.splits.values()
        )

    @property
    def longest(self) -> int:
        """Tokens of the longest row of any split."""
        return max(int(s.lengths.max()) for s in self.splits.values())


def prepare(
    source: Source, rules: Splits, encoder: Encoder, cache: str, say: Callable[[str], None]
) -> PreparedData:
    """Opens the store of exactly this source, split and encoder; builds it first if need be.

    Args:
      cache: a local directory, shared by all runs. One process builds; others wait for it.
      say: takes one line for the user, about what takes long or was found wrong.

    Raises:
      DataError: if the source cannot be read or the cache not be written.
    """
    fingerprint = fingerprint_of(source, rules, encoder)
    if "://" in cache:
        raise DataError(f"--cache_dir={cache}: the store is mapped into memory; name a local path.")
    with _lock(cache, fingerprint):
        opened = _open_or_build(source, rules, encoder, cache, fingerprint, say)
    return PreparedData(
        description=getattr(source, "description", type(source).__name__),
        content=opened.content,
        directory=opened.directory,
        class_names=opened.class_names,
        splits=opened.splits,
        encoder=encoder.load(opened.directory),
        found=opened.found,
    )


def _lock(cache: str, fingerprint: str) -> filelock.BaseFileLock:
    """The acquired lock of a store; a `with` block releases it.

    Raises:
      DataError: if the cache directory cannot be used.
    """
    try:
        pathlib.Path(cache).mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(pathlib.Path(cache) / f"store-{fingerprint[:16]}.lock")
        return lock.acquire()
    except OSError as error:
        raise DataError(
            f"Cannot use the cache directory {cache}: {error.strerror or error}. Name another one"
            " with --cache_dir."
        ) from None


def _open_or_build(source, rules, encoder, cache, fingerprint, say) -> stores.Store:
    try:
        if opened := stores.open_store(cache, fingerprint):
            return opened
    except stores.DamagedStore as damage:
        say(f"damaged, built again — {damage}")
    say("reading, splitting and encoding (kept for the next run)")
    _build(split(source, rules), encoder, cache, fingerprint)
    return stores.open_store(cache, fingerprint)


def _build(texts: SplitTexts, encoder: Encoder, cache: str, fingerprint: str) -> None:
    class_index = {name: i for i, name in enumerate(texts.class_names)}
    with stores.writing(cache, fingerprint) as directory:
        fitted = encoder.fit(example.text for example in texts.splits["train"])
        fitted.save(str(directory))
        encode = Encoding(fitted)
        for name, examples in texts.splits.items():
            stores.write_split(
                directory / name,
                encode(example.text for example in examples),
                [class_index[example.label] for example in examples],
                [example.weight for example in examples],
                [example.text for example in examples],
            )
        found = {
            "duplicates": texts.duplicates,
            "conflicting": texts.conflicting,
            "beyond_max": texts.beyond_max,
            "low_confidence": texts.low_confidence,
            "bad_rows": texts.bad_rows,
        }
        (directory / stores.BAD_ROWS).write_text(
            "".join(f"{message}\n" for message in texts.bad_row_messages), encoding="utf-8"
        )
        stores.write_index(directory, fingerprint, texts.class_names, found)


def fingerprint_of(source: Source, rules: Splits, encoder: Encoder) -> str:
    """A digest of all that makes the store: content, rules, encoder, and the code of both."""
    made_of = {
        "format": stores.FORMAT,
        "source": source.fingerprint(),
        "class_names": getattr(source, "class_names", None),
        "splits": _described(rules),
        "encoder": [_described(encoder), getattr(encoder, "fingerprint", lambda: None)()],
    }
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()


def _described(part) -> object:
    """A JSON value that changes when a part's settings or its code change."""
    if isinstance(part, str | int | float | bool | type(None)):
        return part
    if isinstance(part, list | tuple):
        return [_described(item) for item in part]
    if isinstance(part, set | frozenset):
        return sorted(map(str, part))
    if isinstance(part, bytes) or hasattr(part, "tobytes"):  # an array
        content = part if isinstance(part, bytes) else part.tobytes()
        return hashlib.sha256(content).hexdigest()
    if isinstance(part, dict):
        return {str(key): _described(value) for key, value in part.items()}
    if not dataclasses.is_dataclass(part):
        fields = vars(part) if hasattr(part, "__dict__") else {}
    else:
        fields = {f.name: getattr(part, f.name) for f in dataclasses.fields(part)}
    kind = part if inspect.isclass(part) or inspect.isroutine(part) else type(part)
    try:
        code = hashlib.sha256(inspect.getsource(inspect.getmodule(kind)).encode()).hexdigest()
    except (OSError, TypeError):
        code = ""  # defined interactively or in C: only its name and settings count
    name = f"{kind.__module__}.{kind.__qualname__}"
    return {"part": name, "code": code, "fields": _described(fields) if kind is not part else {}}
