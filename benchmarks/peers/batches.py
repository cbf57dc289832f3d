"""Reads what `ours/batches.py` has written."""

from __future__ import annotations

import numpy as np


class Batches:
    """Batches in the order of each epoch, and the weights to begin with, all in memory.

    Attributes:
      weights: in the order of the layers, as Keras lays them out.
    """

    def __init__(self, path: str):
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files}
        self.weights = [arrays.pop(name) for name in sorted(arrays) if name.startswith("weights/")]
        keys = sorted({name.rpartition("/")[0] for name in arrays})
        self._epochs: list[list[dict[str, np.ndarray]]] = []
        for key in keys:
            epoch = int(key.partition("/")[0])
            while len(self._epochs) <= epoch:
                self._epochs.append([])
            names = ("tokens", "lengths", "labels")
            self._epochs[epoch].append({name: arrays[f"{key}/{name}"] for name in names})

    def epoch(self, number: int) -> list[dict[str, np.ndarray]]:
        """Tokens `[rows, length] int32` padded with 0 on the right, lengths and labels `[rows]`."""
        return self._epochs[number]

    @property
    def epochs(self) -> int:
        return len(self._epochs)
