"""Draws the report of a finished run again; of one on a disk without TensorFlow.

python -m sentiment_train.reports.draw --model_dir=runs/bilstm
"""

from __future__ import annotations

import json
import os
import pathlib
import sys
from collections.abc import Callable

from absl import app, flags

from sentiment_train.errors import RunError, UserError
from sentiment_train.replacing import is_remote
from sentiment_train.reports.story import STORY, compose
from sentiment_train.run_directory import RunDirectory


def draw(directory: str | os.PathLike) -> list[str]:
    """Writes both files of a run directory anew; gives their paths.

    TensorFlow is imported only for a directory that is on no disk (`gs://`).

    Raises:
      RunError: if the run has no report, or it cannot be read or written.
    """
    run = RunDirectory(os.fspath(directory))
    read, write = (run.read, run.write) if is_remote(run.path) else _on_disk(run)
    results, story = (_values(run, name, read(name)) for name in ("results.json", STORY))
    if (history := read("metrics.jsonl")) is None:
        raise _missing(run, "metrics.jsonl")
    written = compose(results, story, history)
    for name, text in written.items():
        write(name, text)
    return [run.file(name) for name in written]


def _values(run: RunDirectory, name: str, text: str | None) -> dict:
    if text is None:
        raise _missing(run, name)
    try:
        return json.loads(text)
    except ValueError as error:
        raise RunError(f"Cannot read the results in {run.path}: {error}") from None


def _missing(run: RunDirectory, name: str) -> RunError:
    return RunError(
        f"{run.file(name)} is not there: only a run that was trained to its end, with"
        " Experiment.report, has a report to draw."
    )


def _on_disk(run: RunDirectory) -> tuple[Callable, Callable]:
    """`run.read` and `run.write`, without TensorFlow."""

    def read(name: str) -> str | None:
        try:
            return pathlib.Path(run.file(name)).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise RunError(f"Cannot read the results in {run.path}: {error}") from None

    def write(name: str, text: str) -> None:
        partial = pathlib.Path(run.file(f"{name}.partial"))
        try:
            partial.write_text(text, encoding="utf-8")
            os.replace(partial, run.file(name))
        except OSError as error:
            raise RunError(f"Cannot write {run.file(name)}: {error.strerror}.") from None

    return read, write


def main(argv) -> int:
    try:
        if len(argv) > 1:
            raise UserError(f"unexpected argument '{argv[1]}'; the directory goes into --model_dir")
        name = flags.FLAGS.model_dir
        if not name:
            raise UserError("--model_dir=DIR is needed")
        for path in draw(os.path.expanduser(name)):
            print(f"written    {path}")
    except UserError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":  # not before: a process may import this and `sentiment_train.main`
    flags.DEFINE_string("model_dir", None, "The run directory.")
    app.run(main)
