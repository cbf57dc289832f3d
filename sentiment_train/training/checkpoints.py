"""Checkpoints: complete or not there, verified when read, restored strictly.

    checkpoints/step-00000200/
        variables.safetensors   every variable by name; the format holds numbers only
        manifest.json           the state, what the run was made of, and the sha256 of the above

The manifest is written last: a checkpoint without one does not exist. Both files are written under
another name first, so a step that is saved again never leaves less than there was. That needs no
atomic rename of directories, so it holds on object stores as well.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import safetensors.numpy
import tensorflow as tf

from sentiment_train.errors import CheckpointError, RunError
from sentiment_train.replacing import names_in, replace_file
from sentiment_train.training.state import TrainingState

FORMAT = 2
_VARIABLES, _MANIFEST = "variables.safetensors", "manifest.json"


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint."""

    state: TrainingState
    made_of: dict[str, str]  # digests of data and vocabulary
    arrays: dict[str, np.ndarray]


class Checkpoints:
    """The checkpoints of one run; every path goes through `tf.io.gfile`."""

    def __init__(self, directory: str, keep: int, say: Callable[[str], None]):
        self.directory, self.keep, self.say = directory, keep, say

    def save(self, state: TrainingState, arrays: dict[str, np.ndarray], made_of: dict) -> None:
        """Writes one checkpoint, then removes those that are no longer needed.

        Raises:
          RunError: if it cannot be written; the earlier ones are untouched.
        """
        path = self._path(state.step)
        try:
            tf.io.gfile.makedirs(path)
            content = safetensors.numpy.save(arrays)
            manifest = {
                "format": FORMAT,
                "state": state.as_dict(),
                "made_of": made_of,
                "sha256": hashlib.sha256(content).hexdigest(),
            }
            manifest["manifest_sha256"] = _digest(manifest)
            replace_file(f"{path}/{_VARIABLES}", content)
            replace_file(f"{path}/{_MANIFEST}", json.dumps(manifest, indent=2).encode())
        except (OSError, tf.errors.OpError) as error:
            raise RunError(
                f"Cannot write the checkpoint {path}: {getattr(error, 'message', error)}. Mend that"
                " and run the same command again; it goes on from the checkpoint before."
            ) from None
        self._remove_unneeded(state.step)

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint that is intact and whose best checkpoint is, or None.

        Says which ones it passed over, and why.
        """
        for step in reversed(self.steps()):
            try:
                checkpoint = self.read(step)
                best = checkpoint.state.best_step
                if best not in (-1, step):
                    self.read(best)
                return checkpoint
            except CheckpointError as error:
                self.say(f"{error.message} Trying the one before.")
        return None

    def best(self) -> Checkpoint | None:
        """The checkpoint with the weights that the run keeps, as the newest intact one says."""
        newest = self.newest()
        if newest is None or newest.state.best_step in (-1, newest.state.step):
            return newest
        return self.read(newest.state.best_step)

    def read(self, step: int) -> Checkpoint:
        """Reads and verifies the checkpoint of a step.

        Raises:
          CheckpointError: if it is missing or damaged.
          RunError: if it is of another version, or cannot be read now.
        """
        path = self._path(step)
        try:
            manifest = json.loads(_read(f"{path}/{_MANIFEST}"))
            if manifest.pop("manifest_sha256") != _digest(manifest):
                raise ValueError("the manifest does not match its digest")
            if manifest["format"] != FORMAT:
                raise RunError(
                    f"{path} has format {manifest['format']}, this version reads {FORMAT}. Go on"
                    " with the version that wrote it, or choose another --model_dir."
                )
            content = _read(f"{path}/{_VARIABLES}")
            if hashlib.sha256(content).hexdigest() != manifest["sha256"]:
                raise ValueError("the variables do not match their digest")
            state = TrainingState.from_dict(manifest["state"])
            arrays = safetensors.numpy.load(content)
        except (ValueError, KeyError, TypeError, AttributeError, tf.errors.NotFoundError,
                tf.errors.DataLossError, tf.errors.OutOfRangeError,
                safetensors.SafetensorError) as error:  # fmt: skip
            reason = str(getattr(error, "message", error)).split("\n")[0]
            raise CheckpointError(f"Checkpoint {path} is damaged ({reason}).") from None
        except tf.errors.OpError as error:  # not damage: it may be there again in a minute
            raise RunError(f"Cannot read {path}: {error.message}. Try again.") from None
        return Checkpoint(state, manifest["made_of"], arrays)

    def steps(self) -> list[int]:
        """Steps of the checkpoints that were written to the end, in rising order."""
        names = names_in(self.directory)
        steps = [int(name.removeprefix("step-")) for name in names if _is_checkpoint_name(name)]
        return sorted(step for step in steps if _MANIFEST in names_in(self._path(step)))

    def _path(self, step: int) -> str:
        return f"{self.directory}/step-{step:08d}"

    def _remove_unneeded(self, newest: int) -> None:
        """Keeps the newest ones, and the best of each of them.

        What is later than the newest was damaged and passed over; these steps are done again.
        """
        steps = self.steps()
        kept = set([step for step in steps if step <= newest][-self.keep :])
        for step in tuple(kept):
            try:
                kept.add(json.loads(_read(f"{self._path(step)}/{_MANIFEST}"))["state"]["best_step"])
            except (ValueError, KeyError, tf.errors.OpError):
                continue  # a damaged one has no best to keep; `newest` will report it
        for step in set(steps) - kept:
            try:
                tf.io.gfile.rmtree(self._path(step))
            except (OSError, tf.errors.OpError) as error:  # of what is needed nothing is missing
                self.say(f"Cannot remove {self._path(step)}: {getattr(error, 'message', error)}")


def restore(variables: dict[str, object], arrays: dict[str, np.ndarray]) -> None:
    """Assigns every array to the variable of its name.

    Raises:
      CheckpointError: unless names, shapes and dtypes are exactly those of the variables.
    """
    if missing := sorted(variables.keys() - arrays.keys()):
        raise CheckpointError(f"The checkpoint lacks {', '.join(missing[:5])}. {_OTHER_MODEL}")
    if extra := sorted(arrays.keys() - variables.keys()):
        raise CheckpointError(f"The model lacks {', '.join(extra[:5])}. {_OTHER_MODEL}")
    for name, variable in variables.items():
        found = (arrays[name].shape, str(arrays[name].dtype))
        expected = (tuple(variable.shape), str(np.dtype(_numpy_dtype(variable))))
        if found != expected:
            raise CheckpointError(
                f"{name}: expected {expected[1]} {expected[0]}, the checkpoint has {found[1]}"
                f" {found[0]}. {_OTHER_MODEL}"
            )
    for name, variable in variables.items():
        variable.assign(arrays[name])


_OTHER_MODEL = "It belongs to another model or vocabulary; choose another --model_dir."


def arrays_of(variables: dict[str, object]) -> dict[str, np.ndarray]:
    """The values of variables, by name."""
    return {name: np.asarray(v.numpy(), order="C") for name, v in variables.items()}


def weights_digest(arrays: dict[str, np.ndarray]) -> str:
    """sha256 over names, dtypes, shapes and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.asarray(arrays[name], order="C")  # ascontiguousarray has no scalar shape
        digest.update(f"{name}:{array.dtype.str}:{array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _numpy_dtype(variable):
    return tf.as_dtype(variable.dtype).as_numpy_dtype


def _is_checkpoint_name(name: str) -> bool:
    return name.startswith("step-") and name.removeprefix("step-").isdecimal()


def _digest(manifest: dict) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _read(path: str) -> bytes:
    with tf.io.gfile.GFile(path, "rb") as file:
        return file.read()
