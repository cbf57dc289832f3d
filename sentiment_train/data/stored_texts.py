"""Texts on disk, one after the other: any row can be read without reading the others."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Sequence

import numpy as np


class StoredTexts(Sequence[str]):
    """The texts of a split in its order, each exactly as its source gave it.

    Also one with half of a surrogate pair, which UTF-8 proper cannot hold.
    """

    def __init__(self, content: np.ndarray, offsets: np.ndarray):
        """`content [bytes] uint8` and `offsets [n + 1] int64`, memory-mapped or not."""
        self._content, self._offsets = content, offsets

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, row: int) -> str:
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of {len(self)} texts")
        start, end = self._offsets[row], self._offsets[row + 1]
        return self._content[start:end].tobytes().decode("utf-8", "surrogatepass")

    def __iter__(self) -> Iterator[str]:
        return map(self.__getitem__, range(len(self)))


def write_texts(content: pathlib.Path, offsets: pathlib.Path, texts: Sequence[str]) -> None:
    """Writes the two arrays of `StoredTexts` as .npy files, in constant memory but for the offsets.

    The texts are gone through twice.
    """
    lengths = [len(as_bytes(text)) for text in texts]
    ends = np.cumsum([0, *lengths], dtype=np.int64)
    np.save(offsets, ends, allow_pickle=False)
    with content.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (int(ends[-1]),)}
        np.lib.format.write_array_header_1_0(file, header)
        file.writelines(map(as_bytes, texts))


def as_bytes(text: str | bytes) -> bytes:
    """A text as it is stored and encoded; half of a surrogate pair is not UTF-8 proper."""
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
