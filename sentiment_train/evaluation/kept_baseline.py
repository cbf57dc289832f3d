"""Baselines are fitted once for the same texts: kept in the cache, beside the encoded data.

<cache>/baseline-<fingerprint>.npz    answers of each split [n] int32, and the facts as JSON
"""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import zipfile
from collections.abc import Callable

import filelock
import numpy as np

from sentiment_train.data.store import EncodedSplit
from sentiment_train.errors import DataError
from sentiment_train.evaluation.baseline import (
    DESCRIPTIONS,
    Baseline,
    fit_baseline,
    source_code,
)

_FACTS = "facts"


def baseline_of(
    kind: str,
    splits: dict[str, EncodedSplit],
    rows: np.ndarray,
    cache: str,
    say: Callable[[str], None],
) -> Baseline:
    """The baseline of these texts: read, or fitted and kept. One process fits, others wait.

    Args:
      rows: of the training split, to fit on.
      cache: a local directory.
      say: takes one line for the user, about what takes long or was found wrong.

    Raises:
      NoBaseline: if there can be none.
      DataError: if the cache cannot be written.
    """
    path = pathlib.Path(cache) / f"baseline-{_fingerprint(kind, splits, rows)[:16]}.npz"
    try:
        with filelock.FileLock(path.with_suffix(".lock")):
            if path.exists():
                try:
                    return _read(path, splits)
                except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as damage:
                    say(f"damaged, fitted again — {path}: {damage}")
            say(f"fitting {DESCRIPTIONS[kind]} on {len(rows):,} texts (kept for the next run)")
            baseline = fit_baseline(kind, splits, rows)
            _write(path, baseline)
            return baseline
    except OSError as error:
        raise DataError(
            f"Cannot keep the baseline in {cache}: {error.strerror or error}. Free some space,"
            " name another directory with --cache_dir, or set Report.baseline = 'none'."
        ) from None


def _read(path: pathlib.Path, splits: dict[str, EncodedSplit]) -> Baseline:
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    facts = json.loads(arrays.pop(_FACTS).item())
    wanted = {name: (len(split),) for name, split in splits.items() if name != "train"}
    if {name: values.shape for name, values in arrays.items()} != wanted:
        raise ValueError("it is of other splits")
    return Baseline(arrays, facts)


def _write(path: pathlib.Path, baseline: Baseline) -> None:
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.savez_compressed(file, **baseline.answers, **{_FACTS: json.dumps(baseline.facts)})
    os.replace(partial, path)


def _fingerprint(kind: str, splits: dict[str, EncodedSplit], rows: np.ndarray) -> str:
    """A digest of the texts, labels and weights, of what is made of them, and of the code."""
    import sklearn

    digest = hashlib.sha256(f"{kind} {sklearn.__version__} {source_code()}".encode())
    digest.update(np.asarray(rows, np.int64).tobytes())
    for name, split in splits.items():
        digest.update(f"{name} {len(split)}".encode())
        digest.update(np.asarray(split.labels, np.int32).tobytes())
        digest.update(np.asarray(split.weights, np.float32).tobytes())
        for row in range(len(split)):
            text = split.texts[row].encode("utf-8", "surrogatepass")
            digest.update(len(text).to_bytes(8, "little"))
            digest.update(text)
    return digest.hexdigest()
