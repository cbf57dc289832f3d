"""Text files of any file system: found, decoded line by line, and fingerprinted.

Local paths, `gs://` and `ram://` all go through `tf.io.gfile`; a name that ends in `.gz` is
decompressed on the way. Nothing is read into memory as a whole unless it says so.
"""

from __future__ import annotations

import codecs
import contextlib
import gzip
import hashlib
import io
import json
import os
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

from sentiment_train.errors import DataError, did_you_mean

CHUNK_BYTES = 1 << 20


def expand(path: str) -> str:
    """`path` with `~` replaced by the home directory."""
    return path if "://" in path else os.path.expanduser(path)


def find(pattern: str, binding: str) -> list[str]:
    """The files that `pattern` names, sorted: one path, or all that match `*`, `?` or `[…]`.

    `binding` (`CsvSource.path`) is only for messages.

    Raises:
      DataError: if there is none, or if it is a directory.
    """
    import tensorflow as tf

    path = expand(pattern)
    if tf.io.gfile.isdir(path):
        raise DataError(
            f"{binding} = '{pattern}' is a directory; name a file in it, or use DirectorySource."
        )
    if tf.io.gfile.exists(path):
        return [path]
    if any(character in path for character in "*?["):
        matches = [p for p in tf.io.gfile.glob(path) if not tf.io.gfile.isdir(p)]
        if matches:
            return sorted(matches)
        raise DataError(f"{binding} = '{pattern}' matches no file.")
    folder, name = os.path.split(path)
    if folder and not tf.io.gfile.isdir(folder):
        raise DataError(f"{binding} = '{pattern}': there is no directory '{folder}'.")
    suggestion = did_you_mean(name, names_in(folder or "."))
    raise DataError(f"{binding} = '{pattern}': there is no such file.{suggestion}")


def names_in(directory: str) -> list[str]:
    """The names in a directory, sorted, without the slash that some file systems add."""
    import tensorflow as tf

    with _one_message(directory):
        return sorted(name.rstrip("/") for name in tf.io.gfile.listdir(directory))


def lines(path: str, encoding: str, part: str) -> Iterator[str]:
    """The lines of a text file, each with its line end as it is in the file.

    A byte order mark is dropped. `part` (`CsvSource`) is only for messages.

    Raises:
      DataError: if the file cannot be read or decompressed, or is not valid in `encoding`; the
        message names the line and the binding to set.
    """
    try:
        with _one_message(path), _open(path) as binary:
            yield from io.TextIOWrapper(binary, encoding=_codec(encoding), newline="")
    except UnicodeError as error:
        with _open(path) as binary:
            raise DataError(_invalid_bytes(path, binary, encoding, part, error)) from None


def read_text(path: str, encoding: str, part: str) -> str:
    """The whole of a small text file. Raises what `lines` raises."""
    content = read_bytes(path)
    try:
        return content.decode(_codec(encoding))
    except UnicodeError as error:
        binary = io.BytesIO(content)
        raise DataError(_invalid_bytes(path, binary, encoding, part, error)) from None


def read_bytes(path: str) -> bytes:
    """The whole of a small file, as it is stored.

    Raises:
      DataError: if it cannot be read.
    """
    import tensorflow as tf

    with _one_message(path), tf.io.gfile.GFile(path, "rb") as file:
        return file.read()


def sha256_of_files(paths: Iterable[str]) -> str:
    """Digest of the bytes of `paths`, in this order and as they are stored.

    Raises:
      DataError: if one cannot be read.
    """
    total = hashlib.sha256()
    for path in paths:
        one = hashlib.sha256()
        with _one_message(path), _Raw(path) as raw:
            while chunk := raw.read(CHUNK_BYTES):
                one.update(chunk)
        total.update(one.digest())
    return total.hexdigest()


def sha256_of_values(*values: Any) -> str:
    """Digest of plain values: strings, numbers, None, and lists, tuples and dicts of them."""
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def check_encoding(part) -> None:
    """Raises ConfigError unless `part.encoding` is a text encoding that Python knows."""
    try:
        "".encode(part.encoding)  # unlike codecs.lookup this refuses 'base64' and its like
    except (LookupError, ValueError):
        from encodings.aliases import aliases

        known = {name.replace("_", "-") for name in (*aliases, *aliases.values())}
        suggestion = did_you_mean(part.encoding.lower().replace("_", "-"), known)
        part.refuse("encoding", f"is not a text encoding.{suggestion}")


class _Raw(io.RawIOBase):
    """A file of `tf.io.gfile` as what Python's own readers (gzip, text) can be put upon."""

    def __init__(self, path: str):
        import tensorflow as tf

        self._file = tf.io.gfile.GFile(path, "rb")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        content = self._file.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        self._file.close()
        super().close()


@contextlib.contextmanager
def _open(path: str) -> Iterator[io.BufferedIOBase]:
    """The bytes of a file, decompressed; closed at the end."""
    with io.BufferedReader(_Raw(path), CHUNK_BYTES) as stored:
        if not path.endswith(".gz"):
            yield stored
            return
        with gzip.GzipFile(fileobj=stored, mode="rb") as decompressed:
            yield decompressed


@contextlib.contextmanager
def _one_message(path: str) -> Iterator[None]:
    """Turns the ways in which reading fails into a DataError with the path."""
    import tensorflow as tf

    try:
        yield
    except (gzip.BadGzipFile, zlib.error):
        raise DataError(
            f"{path} is not a gzip file, or is damaged; its name ends in .gz."
        ) from None
    except EOFError:
        raise DataError(f"{path} ends in the middle of its gzip data. Copy it again.") from None
    except tf.errors.OpError as error:
        raise DataError(f"{path} cannot be read: {error.message}") from None


def _codec(encoding: str) -> str:
    """UTF-8 with or without a byte order mark; any other encoding as it is."""
    return "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding


def _invalid_bytes(path, binary, encoding: str, part: str, error: UnicodeError) -> str:
    """The message for bytes that are not text: reads `binary` again to find the line."""
    decoder = io.IncrementalNewlineDecoder(
        codecs.getincrementaldecoder(_codec(encoding))(), translate=True
    )
    line = 1
    try:
        for piece in binary:
            line += decoder.decode(piece).count("\n")
        decoder.decode(b"", final=True)
    except UnicodeError as located:
        error = located
    found = "the file"
    if isinstance(error, UnicodeDecodeError):
        found = f"byte 0x{error.object[error.start]:02x}"
    other = "utf-8" if codecs.lookup(encoding).name != "utf-8" else "latin-1"
    return (
        f"{path}:{line}: {found} is not valid {encoding}."
        f" Set {part}.encoding to that of the file, for example {part}.encoding = '{other}'."
    )
