"""Handle → directory of a SavedModel: URL of TF-Hub or Kaggle, local path, or `gs://…`.

What a URL gives lies in a lasting directory, under the name that tensorflow_hub itself would use:

    <cache>/<sha1 of the handle>/         the SavedModel
    <cache>/<sha1 of the handle>.json     the handle, and the size of every file, written last
    <cache>/<sha1 of the handle>.lock     held by the one process that fetches

The cache is `TFHUB_CACHE_DIR`, else `hub` in the default of `--cache_dir`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pathlib
import re
import shutil
import socket
import tarfile
import threading
import warnings
from collections.abc import Iterator

import filelock
from absl import logging

from sentiment_train.errors import DataError, did_you_mean

_TIMEOUT_SECONDS = 30  # for an answer, and between two pieces of a file
_ONE_AT_A_TIME = threading.Lock()  # what tensorflow_hub is told is told to the whole process
_PROTO_FILES = ("saved_model.pb", "saved_model.pbtxt")


def resolve(handle: str, binding: str) -> str:
    """The directory of a SavedModel, complete; fetched if need be.

    Args:
      binding: `HubEncoder.handle`, for messages.

    Raises:
      DataError: if it cannot be reached, or is no SavedModel; the message says what to do.
    """
    archive = handle.startswith("gs://") and handle.endswith((".tar.gz", ".tgz", ".tar"))
    if archive or handle.startswith(("http://", "https://")):
        with _ONE_AT_A_TIME:
            return _cached(handle, binding)
    path = handle if "://" in handle else os.path.expanduser(handle)
    if problem := damage(path):
        raise DataError(f"{binding} = '{handle}': {problem}{_hint(path)}")
    return path


def damage(path: str) -> str | None:
    """What a directory lacks to be a SavedModel; None: nothing."""
    import tensorflow as tf

    try:
        if not tf.io.gfile.exists(path):
            return "there is no such directory."
        if not tf.io.gfile.isdir(path):
            return "it is a file. Unpack it, and name the directory."
        names = set(tf.io.gfile.listdir(path))
        if not names & set(_PROTO_FILES):
            return "it holds no saved_model.pb, so it is no SavedModel."
        return _missing_variables(path) or _missing_assets(path)
    except (OSError, tf.errors.OpError) as error:
        return f"it cannot be read: {getattr(error, 'message', error)}."


def _missing_variables(path: str) -> str | None:
    """Every shard that the names of shards tell of must be there, and the index."""
    import tensorflow as tf

    folder = f"{path}/variables"
    names = (
        {n.rstrip("/") for n in tf.io.gfile.listdir(folder)} if tf.io.gfile.isdir(folder) else ()
    )
    shards = [m for n in names if (m := re.fullmatch(r"variables\.data-(\d+)-of-(\d+)", n))]
    wanted = {"variables.index"}
    for count in {int(shard[2]) for shard in shards} or {1}:
        wanted |= {f"variables.data-{i:05d}-of-{count:05d}" for i in range(count)}
    if missing := sorted(wanted - names):
        return f"it is incomplete: variables/{missing[0]} is missing."
    return None


def _missing_assets(path: str) -> str | None:
    import tensorflow as tf
    from tensorflow.python.saved_model import loader_impl

    try:
        proto = loader_impl.parse_saved_model(path)
    except (OSError, tf.errors.OpError) as error:
        return f"its saved_model.pb is damaged: {str(error).splitlines()[0]}."
    for graph in proto.meta_graphs:
        for asset in graph.asset_file_def:
            if not tf.io.gfile.exists(f"{path}/assets/{asset.filename}"):
                return f"it is incomplete: assets/{asset.filename} is missing."
    return None


def _hint(path: str) -> str:
    """What may have been meant by a wrong path."""
    import tensorflow as tf

    with contextlib.suppress(OSError, tf.errors.OpError):
        if tf.io.gfile.isdir(path):
            for name in sorted(tf.io.gfile.listdir(path)):
                below = os.path.join(path, name.rstrip("/"))
                if any(tf.io.gfile.exists(f"{below}/{file}") for file in _PROTO_FILES):
                    return f" There is one in {below}."
            return ""
        folder, name = os.path.split(path.rstrip("/"))
        beside = [n.rstrip("/") for n in tf.io.gfile.listdir(folder or ".")]
        return did_you_mean(name, [n for n in beside if n != name])
    return ""


def cache_directory() -> str:
    """Where fetched models lie."""
    own = os.environ.get("SENTIMENT_TRAIN_CACHE", "~/.cache/sentiment_train")
    return os.path.expanduser(os.environ.get("TFHUB_CACHE_DIR") or f"{own}/hub")


def _cached(handle: str, binding: str) -> str:
    """The directory of a fetched handle; one process fetches, others wait for it."""
    cache = cache_directory()
    if "://" in cache:
        raise DataError(f"TFHUB_CACHE_DIR = {cache}: name a local directory.")
    path = pathlib.Path(cache, hashlib.sha1(handle.encode()).hexdigest())
    try:
        if path.exists() and _problem_of(path) is None:
            return str(path)  # without the lock: the cache may be one that only others write to
        path.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(f"{path}.lock"):
            if path.exists() and any(path.iterdir()):
                if (problem := _problem_of(path)) is None:
                    return str(path)
                logging.warning("%s: %s It is fetched again.", path, problem)
            _fetch(handle, path, binding)
    except OSError as error:
        raise DataError(
            f"Cannot use {cache} for models of TF-Hub: {error.strerror or error}. Name another"
            " directory in the environment variable TFHUB_CACHE_DIR."
        ) from None
    return str(path)


def _problem_of(path: pathlib.Path) -> str | None:
    return damage(str(path)) or _changed_sizes(path)


def _fetch(handle: str, path: pathlib.Path, binding: str) -> None:
    """Fetches beside `path`, checks, and moves into place."""
    partial = path.with_name(f"{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    logging.warning("fetching %s into %s", handle, path)
    try:
        fetched = _download(handle, partial, binding)
        if problem := damage(str(fetched)):
            raise DataError(
                f"{binding} = '{handle}' was fetched, but {problem}{_hint(str(fetched))}"
            )
        shutil.rmtree(path, ignore_errors=True)
        os.replace(fetched, path)
        notes = {"handle": handle, "sizes": _sizes(path)}
        path.with_name(f"{path.name}.json").write_text(json.dumps(notes, indent=1) + "\n")
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _download(handle: str, partial: pathlib.Path, binding: str) -> pathlib.Path:
    """Lets tensorflow_hub fetch and unpack into `partial`.

    Raises:
      DataError: if it is not installed, or the handle cannot be reached.
    """
    import tensorflow as tf

    from sentiment_train.hub.saved_models import INSTALL

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it imports what is deprecated
            import tensorflow_hub
    except ImportError as error:
        reason = f"tensorflow-hub is missing ({error}). {INSTALL[:-1]}"
        raise DataError(_how_to_download(handle, binding, reason)) from None
    try:
        with _settings_of_hub(partial):
            return pathlib.Path(tensorflow_hub.resolve(handle))
    except (OSError, ValueError, EOFError, tarfile.TarError, tf.errors.OpError) as error:
        reason = str(getattr(error, "reason", None) or error).splitlines()[0]
        raise DataError(_how_to_download(handle, binding, reason)) from None


@contextlib.contextmanager
def _settings_of_hub(cache: pathlib.Path) -> Iterator[None]:
    """Where it unpacks and how long it waits: it has no arguments for them."""
    before, timeout = os.environ.get("TFHUB_CACHE_DIR"), socket.getdefaulttimeout()
    os.environ["TFHUB_CACHE_DIR"] = str(cache)
    socket.setdefaulttimeout(_TIMEOUT_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(timeout)
        del os.environ["TFHUB_CACHE_DIR"]
        if before is not None:
            os.environ["TFHUB_CACHE_DIR"] = before


def _how_to_download(handle: str, binding: str, reason: str) -> str:
    path = pathlib.Path(cache_directory(), hashlib.sha1(handle.encode()).hexdigest())
    mark = "&" if "?" in handle else "?"
    get = f"curl -L '{handle}{mark}tf-hub-format=compressed' -o model.tar.gz"
    if handle.startswith("gs://"):
        get = f"gcloud storage cp {handle} model.tar.gz"
    return (
        f"{binding} = '{handle}' cannot be fetched: {reason}. On a machine that can reach it, run\n"
        f"    {get}\n"
        f"and bring the file here. Then unpack it into the cache:\n"
        f"    mkdir -p {path} && tar -xzf model.tar.gz -C {path}\n"
        f"or anywhere else, and set {binding} to that directory."
    )


def _sizes(path: pathlib.Path) -> dict[str, int]:
    files = (p for p in sorted(path.rglob("*")) if p.is_file())
    return {p.relative_to(path).as_posix(): p.stat().st_size for p in files}


def _changed_sizes(path: pathlib.Path) -> str | None:
    """A file that is not as large as when it was fetched; what others put there is not known."""
    notes = path.with_name(f"{path.name}.json")
    if not notes.exists():
        return None
    try:
        expected = json.loads(notes.read_text())["sizes"]
    except (ValueError, KeyError, TypeError):
        return f"{notes.name} is damaged."
    found = _sizes(path)
    for name, size in expected.items():
        if found.get(name) != size:
            return f"{name} has {found.get(name)} bytes, and not {size} as when it was fetched."
    return None
