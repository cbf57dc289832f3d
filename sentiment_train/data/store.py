"""An encoded data set on local disk: written once, named by what made it, mapped into memory.

    <cache>/store-<fingerprint>/
        store.json        class names, counts, and the sha256 of itself and of every other file
        vocabulary.txt    what the encoder saved
        train/            tokens.npy [tokens, *inner], offsets.npy [n + 1] int64,
                          labels.npy [n] int32, weights.npy [n] float32,
                          texts.npy [bytes] uint8, text_offsets.npy [n + 1] int64
        validation/ …     likewise

Tokens are ids (int32, with an inner shape if a token has several), or one vector each text
(float32), or nothing but counted (uint8, inner shape [0]), as the encoder says.

A store is written under another name and renamed when it is complete; a file that does not match
its digest makes the whole store invalid. Nothing in it can run code (no pickle).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sentiment_train.data.stored_texts import StoredTexts, write_texts
from sentiment_train.errors import DataError
from sentiment_train.schema import SPLITS

FORMAT = 4
BAD_ROWS = "bad_rows.txt"  # the first messages of rows that were skipped, for people
_ARRAYS = {"offsets": "int64", "labels": "int32", "weights": "float32"}
_TEXT_ARRAYS = {"texts": "uint8", "text_offsets": "int64"}


@dataclass(frozen=True)
class EncodedSplit:
    """One split as flat arrays; the tokens of row i are `tokens[offsets[i]:offsets[i + 1]]`."""

    tokens: np.ndarray  # [tokens] int32 ids, or [tokens, *inner] of any type, memory-mapped
    offsets: np.ndarray  # [n + 1] int64
    labels: np.ndarray  # [n] int32
    weights: np.ndarray  # [n] float32
    texts: Sequence[str | bytes] | None = None  # [n], as the source gave them

    @property
    def lengths(self) -> np.ndarray:
        """`[n] int64` tokens of each row, at least 1."""
        return np.diff(self.offsets)

    @property
    def ids(self) -> np.ndarray | None:
        """`[tokens] int32` of words or pieces, the first id of each token; None if there are no
        ids, but vectors, or tokens that are only counted."""
        if self.tokens.dtype.kind != "i":
            return None
        return self.tokens.reshape(len(self.tokens), -1)[:, 0]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Store:
    """An opened store."""

    directory: str
    content: str  # sha256 of what is trained on: ids or texts, labels, weights, class names
    class_names: tuple[str, ...]
    splits: dict[str, EncodedSplit]
    found: dict[str, int]  # duplicates, bad rows …: what the reader of the source came across


class DamagedStore(Exception):
    """A store that is incomplete or does not match its digests; it is to be built again."""


def open_store(cache: str, fingerprint: str) -> Store | None:
    """The store of that fingerprint, or None if there is none.

    Raises:
      DamagedStore: if it is there but cannot be trusted.
    """
    directory = _directory(cache, fingerprint)
    if not directory.exists():
        return None
    try:
        index = json.loads((directory / "store.json").read_text(encoding="utf-8"))
        if index.pop("digest") != _digest_of(index):
            raise DamagedStore(f"{directory}: store.json does not match its digest")
        if index["format"] != FORMAT or index["fingerprint"] != fingerprint:
            raise DamagedStore(f"{directory}: store.json is of another store")
        for name, digest in index["sha256"].items():
            if _sha256(directory / name) != digest:
                raise DamagedStore(f"{directory}: {name} does not match its digest")
        splits = {name: _map_split(directory / name) for name in SPLITS if name in index["splits"]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedStore(f"{directory}: {error}") from None
    content = _content_of(index, ids=all(s.ids is not None for s in splits.values()))
    return Store(str(directory), content, tuple(index["class_names"]), splits, index["found"])


def _content_of(index: dict, ids: bool) -> str:
    """Ids are content, whatever texts and encoder they come from. Else the texts are: vectors are
    not the same to the last bit when another machine makes them."""
    others = ("texts", "text_offsets") if ids else ("tokens",)
    not_content = (BAD_ROWS, *(f"{name}.npy" for name in others))
    digests = {
        name: digest
        for name, digest in index["sha256"].items()
        if pathlib.PurePosixPath(name).name not in not_content
    }
    return _digest_of({"class_names": index["class_names"], "sha256": digests})


@contextlib.contextmanager
def writing(cache: str, fingerprint: str) -> Iterator[pathlib.Path]:
    """A directory to fill; it becomes the store when the block ends without an error.

    Replaces a damaged store. What an earlier process left half-written is removed.
    """
    target = _directory(cache, fingerprint)
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        yield partial
        shutil.rmtree(target, ignore_errors=True)
        os.replace(partial, target)
    except OSError as error:
        raise DataError(
            f"Cannot write the encoded data to {cache}: {error.strerror or error}. Free some"
            " space, or name another directory with --cache_dir."
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_split(
    directory: pathlib.Path,
    encoded: Iterable[tuple[np.ndarray, np.ndarray]],
    labels: list[int],
    weights: list[float],
    texts: Sequence[str],
) -> None:
    """Writes one split from `(tokens [tokens, *inner], lengths [n])` pieces, in constant memory.

    Raises:
      ValueError: unless all rows have tokens, all of the same type and inner shape, and there are
        as many labels and texts as rows.
    """
    directory.mkdir()
    lengths = _write_tokens(directory / "tokens.npy", encoded)
    if not len(lengths) == len(labels) == len(texts) or lengths.min() < 1:
        raise ValueError("an encoder must give every text one row of at least one id")
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    np.save(directory / "offsets.npy", offsets, allow_pickle=False)
    np.save(directory / "labels.npy", np.asarray(labels, np.int32), allow_pickle=False)
    np.save(directory / "weights.npy", np.asarray(weights, np.float32), allow_pickle=False)
    write_texts(directory / "texts.npy", directory / "text_offsets.npy", texts)


def _write_tokens(
    path: pathlib.Path, encoded: Iterable[tuple[np.ndarray, np.ndarray]]
) -> np.ndarray:
    """Writes the tokens one after the other; gives the lengths `[n]` of the rows."""
    lengths, kinds, count = [], set(), 0
    raw = path.with_suffix(".raw")
    with raw.open("wb") as file:
        for tokens, row_lengths in encoded:
            file.write(np.ascontiguousarray(tokens).tobytes())
            lengths.append(row_lengths)
            kinds.add((tokens.dtype.str, tokens.shape[1:]))
            count += len(tokens)
    if len(kinds) != 1:
        raise ValueError(f"an encoder must give tokens of one kind, not {sorted(kinds)}")
    ((dtype, inner),) = kinds
    header = {"descr": dtype, "fortran_order": False, "shape": (count, *inner)}
    with path.open("wb") as file, raw.open("rb") as content:
        np.lib.format.write_array_header_1_0(file, header)
        shutil.copyfileobj(content, file, 1 << 20)
    raw.unlink()
    return np.concatenate(lengths)


def write_index(
    directory: pathlib.Path, fingerprint: str, class_names: Iterable[str], found: dict[str, int]
) -> None:
    """Writes `store.json`, the last file: with the digests of all the others."""
    files = sorted(p for p in directory.rglob("*") if p.is_file())
    index = {
        "format": FORMAT,
        "fingerprint": fingerprint,
        "class_names": list(class_names),
        "splits": sorted(p.name for p in directory.iterdir() if p.is_dir()),
        "found": found,
        "sha256": {p.relative_to(directory).as_posix(): _sha256(p) for p in files},
    }
    index["digest"] = _digest_of(index)
    text = json.dumps(index, indent=2, ensure_ascii=False)
    (directory / "store.json").write_text(text, encoding="utf-8")


def _digest_of(index: dict) -> str:
    return hashlib.sha256(json.dumps(index, sort_keys=True).encode()).hexdigest()


def _directory(cache: str, fingerprint: str) -> pathlib.Path:
    return pathlib.Path(cache) / f"store-{fingerprint[:16]}"


def _map_split(directory: pathlib.Path) -> EncodedSplit:
    dtypes = {**_ARRAYS, **_TEXT_ARRAYS}
    arrays = {name: _map(directory / f"{name}.npy") for name in dtypes}
    for name, dtype in dtypes.items():
        if arrays[name].dtype != dtype or arrays[name].ndim != 1:
            raise ValueError(f"{name}.npy is not a flat {dtype} array")
    tokens = _map(directory / "tokens.npy")
    if tokens.dtype.kind not in "iuf" or len(tokens) != arrays["offsets"][-1]:
        raise ValueError("tokens.npy does not hold the tokens of offsets.npy")
    texts = StoredTexts(*(arrays.pop(name) for name in _TEXT_ARRAYS))
    return EncodedSplit(tokens, **arrays, texts=texts)


def _map(path: pathlib.Path) -> np.ndarray:
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _sha256(path: pathlib.Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
