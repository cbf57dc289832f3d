"""Writes a SavedModel aside, reads it back in a fresh process, then moves it into place."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from sentiment_train.errors import RunError
from sentiment_train.replacing import is_remote, replace_folder

GOLDEN_TEXTS = (
    b"A wonderful film, I laughed and cried.",
    b"The worst two hours of my life.<br /><br />Avoid!",
    b"It was okay. Not great, not terrible.",
    b"",
    b"   ",
    b"!!!",
    "Ein großartiger Film — très émouvant, 素晴らしい映画".encode(),
    b"caf\xe9 \xff\xfe is not UTF-8",
    b"word",
    b"good " * 3000,
    b"<br /><br />",
    b"[PAD] [UNK]",
)


def export(module, directory: str, live: np.ndarray, tolerance: float) -> str:
    """Exports `module` to `directory`, replacing what is there only when the new one is right.

    Args:
      module: a `ServingModule` or a `LanguageServingModule`.
      directory: on a disk, or on a file system that only `tf.io.gfile` knows (`gs://`).
      live: `[len(GOLDEN_TEXTS), …]` outputs of the trained model for GOLDEN_TEXTS.
      tolerance: largest allowed difference of what is compared (logits as the model gives them);
        relative to it where it is above 1.

    Returns:
      The Python package that must be imported to load it, "tensorflow_text" or "".

    Raises:
      RunError: if it cannot be written, or if what is read back disagrees with `live`.
    """

    def write(aside: str) -> str:
        tf.saved_model.save(module, aside, signatures=module.signatures())
        return _verify(aside, module, module.expected(live), tolerance)

    place = _through_a_local_folder if is_remote(directory) else _beside
    try:
        return place(directory, write)
    except (OSError, tf.errors.OpError) as error:
        reason = getattr(error, "message", error)
        raise RunError(f"Cannot write {directory}: {reason}. Run --mode=export again.") from None


def _beside(directory: str, write: Callable[[str], str]) -> str:
    """Lets it be written beside `directory`, then renames twice; gives what `write` gives."""
    partial, old = f"{directory}.partial", f"{directory}.old"
    if tf.io.gfile.exists(old) and not tf.io.gfile.exists(directory):
        tf.io.gfile.rename(old, directory)  # cut off between the two renames below
    for leftover in (partial, old):
        if tf.io.gfile.exists(leftover):
            tf.io.gfile.rmtree(leftover)
    needs = write(partial)
    if tf.io.gfile.exists(directory):
        tf.io.gfile.rename(directory, old)
    tf.io.gfile.rename(partial, directory)
    if tf.io.gfile.exists(old):
        tf.io.gfile.rmtree(old)
    return needs


def _through_a_local_folder(directory: str, write: Callable[[str], str]) -> str:
    """Lets it be written on a disk, then copies it: no fresh process sees `ram://`, and an object
    store cannot rename a folder. Gives what `write` gives."""
    local = tempfile.mkdtemp(prefix="saved_model_")
    keep = False
    try:
        needs = write(f"{local}/saved_model")
        replace_folder(f"{local}/saved_model", directory, last="saved_model.pb")
        return needs
    except RunError:
        keep = True  # it disagrees with the trained one, and its place is in the message
        raise
    finally:
        if not keep:
            shutil.rmtree(local, ignore_errors=True)


def _verify(directory: str, module, live: np.ndarray, tolerance: float) -> str:
    """Returns what `export` does."""
    answers = _read_back(directory, module.checked)
    for how in ("alone", "together"):
        difference = np.abs(module.compared(np.array(answers[how], np.float32)) - live)
        difference /= np.maximum(np.abs(live), 1.0)  # a float32 of 10 is not exact to 1e-6
        difference = difference.reshape(len(live), -1)
        if not difference.max() <= tolerance:
            text = GOLDEN_TEXTS[int(difference.max(axis=1).argmax())]
            raise RunError(
                f"The exported model disagrees with the trained one by {difference.max():.2g} on"
                f" {text[:40]!r} ({how}); it was left in {directory}."
            )
    return answers["needs"]


def _read_back(directory: str, output: str) -> dict:
    """The answers of a fresh process on the CPU, one that has imported only TensorFlow."""
    environment = {k: v for k, v in os.environ.items() if k != "TF_CONFIG"}
    environment |= {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
    script = str(pathlib.Path(__file__).with_name("read_back.py"))
    result = subprocess.run(
        [sys.executable, script, directory, output],
        input=json.dumps([list(text) for text in GOLDEN_TEXTS]),
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        start_new_session=True,  # Ctrl-C is for this process, which finishes the export first
    )
    if result.returncode != 0:
        last = (result.stderr.strip().split("\n") or [""])[-1]
        raise RunError(f"The exported model in {directory} cannot be read back: {last}")
    return json.loads(result.stdout.strip().split("\n")[-1])
