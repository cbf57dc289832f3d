"""Baselines are fitted once for the same texts: kept in the cache, beside the encoded data.

<cache>/baseline-<fingerprint>.npz    answers of each split [n] int32, and the facts as JSON;
                                      behind that the SHA-256 of it, 32 bytes
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pathlib
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
_DIGEST_BYTES = 32


class _Damaged(Exception):
    """A kept file is not what was written."""


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
                except (OSError, _Damaged) as damage:
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
    content = path.read_bytes()
    content, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
    if hashlib.sha256(content).digest() != digest:
        raise _Damaged("its content does not have the SHA-256 that was written with it")
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    facts = json.loads(arrays.pop(_FACTS).item())
    wanted = {name: (len(split),) for name, split in splits.items() if name != "train"}
    if {name: values.shape for name, values in arrays.items()} != wanted:
        raise _Damaged("it is of other splits")
    return Baseline(arrays, facts)


def _write(path: pathlib.Path, baseline: Baseline) -> None:
    content = io.BytesIO()
    np.savez_compressed(content, **baseline.answers, **{_FACTS: json.dumps(baseline.facts)})
    partial = path.with_suffix(".partial")
    partial.write_bytes(content.getvalue() + hashlib.sha256(content.getvalue()).digest())
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
