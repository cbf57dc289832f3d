"""A run directory: its paths, its status, its lock, and the configuration that owns it.

config.gin      alone reproduces the run; written before step 1
operative.gin   the same with every default that was used
status.json     incomplete | done | diverged
init_from.json  the weights the run began with, if they are from another run
vocabulary.txt  or what else the encoder saves
checkpoints/, tensorboard/, metrics.jsonl, results.json, saved_model/
report.html, report.md, and report.json, what they were drawn from besides
"""

from __future__ import annotations

import contextlib
import json
import pathlib
from collections.abc import Callable, Iterator

from sentiment_train.errors import RunError
from sentiment_train.replacing import is_remote, names_in, replace_file

_SHOWN_DIFFERENCES = 20


class RunDirectory:
    """Paths go through `tf.io.gfile`, so `gs://` and `ram://` work; only the lock is local.

    Args:
      flag: that named the directory; messages say to choose another one by it.
    """

    def __init__(self, path: str, flag: str = "--model_dir"):
        self.path, self.flag = path.rstrip("/") or path, flag

    def file(self, name: str) -> str:
        """The path of something in the directory."""
        return f"{self.path}/{name}"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the directory for this process; the system frees it however the process ends.

        Raises:
          RunError: if another process holds it, or if the directory cannot be made.
        """
        self._make()
        if is_remote(self.path):  # object stores have no locks; docs/troubleshooting.md says so
            yield
            return
        import filelock

        lock = filelock.FileLock(pathlib.Path(self.path) / ".lock", timeout=0)
        try:
            lock.acquire()
        except filelock.Timeout:
            raise RunError(
                f"{self.path} is in use by another process. Wait for it to end, or choose another"
                f" {self.flag}."
            ) from None
        except OSError as error:
            reason = error.strerror
            raise RunError(f"Cannot write to {self.path}: {reason}. {self._elsewhere}") from None
        try:
            yield
        finally:
            lock.release()

    def _make(self) -> None:
        import tensorflow as tf

        try:
            tf.io.gfile.makedirs(self.path)
        except (OSError, tf.errors.OpError) as error:
            reason = getattr(error, "message", error)
            raise RunError(f"Cannot make {self.path}: {reason}. {self._elsewhere}") from None

    def claim(
        self, config: str, operative: str, differences: Callable[[str, str, str], list[str]]
    ) -> None:
        """Writes the configuration into a new directory, or checks that an old one has the same.

        Where nothing was saved yet, there is nothing to protect: the new configuration replaces
        the old one.

        Args:
          config: what was given.
          operative: the same with all defaults; a default that is written out is no difference.
          differences: of two configurations in the bindings of a third, as readable lines.

        Raises:
          RunError: listing the differing bindings.
        """
        if not self.is_protected:
            self.write("operative.gin", operative)
            self.write("config.gin", config)
            self.set_status("incomplete")
            return
        if lines := self.differences(config, operative, differences):
            raise self.of_another_configuration(
                lines, _SHOWN_DIFFERENCES, "or go back to that configuration."
            )

    def of_another_configuration(self, lines: list[str], most: int, instead: str) -> RunError:
        """The error that lists at most so many differing bindings, and what else can be done."""
        shown = "\n  ".join(lines[:most])
        rest = f"\n  and {len(lines) - most} more" if len(lines) > most else ""
        return RunError(
            f"{self.path} was made by another configuration:\n  {shown}{rest}\n"
            f"Choose another {self.flag}, {instead}"
        )

    def differences(
        self, config: str, operative: str, differences: Callable[[str, str, str], list[str]]
    ) -> list[str]:
        """How a configuration differs from that of the directory, in lines; see `claim`."""
        written = self.read("config.gin")
        if written is None:
            return []
        before = (self.read("operative.gin") or "") + "\n" + written
        return differences(before, f"{operative}\n{config}", f"{written}\n{config}")

    @property
    def is_protected(self) -> bool:
        """Whether something was made here that belongs to its configuration."""
        if self.read("config.gin") is None:
            return False
        return self.status == "done" or self._has_checkpoints()

    def _has_checkpoints(self) -> bool:
        folder = self.file("checkpoints")  # listed, not globbed: a path may hold a bracket
        return any("manifest.json" in names_in(f"{folder}/{step}") for step in names_in(folder))

    @property
    def status(self) -> str:
        """`new`, `incomplete`, `done` or `diverged`."""
        text = self.read("status.json")
        if text is None:
            return "new" if self.read("config.gin") is None else "incomplete"
        try:
            return json.loads(text)["status"]
        except (ValueError, KeyError, TypeError):
            return "incomplete"  # cut off while it was written

    def set_status(self, status: str, **details) -> None:
        """Writes `status.json`."""
        self.write_json("status.json", {"status": status, **details})

    def read(self, name: str) -> str | None:
        """The text of a file, or None if it is not there."""
        import tensorflow as tf

        try:
            with tf.io.gfile.GFile(self.file(name), "rb") as file:
                return file.read().decode()
        except (tf.errors.NotFoundError, tf.errors.FailedPreconditionError):
            return None  # the latter: a directory above it is a file

    def write(self, name: str, text: str) -> None:
        """Replaces a file in one step: a reader sees the old or the new one.

        Raises:
          RunError: if it cannot be written.
        """
        import tensorflow as tf

        try:
            replace_file(self.file(name), text.encode())
        except (OSError, tf.errors.OpError) as error:
            reason = getattr(error, "message", error)
            raise RunError(f"Cannot write {self.file(name)}: {reason}. {self._elsewhere}") from None

    def write_json(self, name: str, values: dict) -> None:
        """Replaces a JSON file in one step."""
        self.write(name, json.dumps(values, indent=2, ensure_ascii=False) + "\n")

    @property
    def _elsewhere(self) -> str:
        return f"Free some space or choose another {self.flag}, and run the same command again."
