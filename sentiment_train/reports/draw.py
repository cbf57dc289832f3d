"""Draws the report of a finished run again, without TensorFlow.

python -m sentiment_train.reports.draw --model_dir=runs/bilstm
"""

from __future__ import annotations

import json
import os
import pathlib
import sys

from absl import app, flags

from sentiment_train.errors import RunError, UserError
from sentiment_train.reports.story import STORY, compose


def draw(directory: pathlib.Path) -> list[pathlib.Path]:
    """Writes both files of a local run directory anew; gives their paths.

    Raises:
      RunError: if the run has no report, or it cannot be read or written.
    """
    try:
        results, story = (
            json.loads((directory / name).read_text(encoding="utf-8"))
            for name in ("results.json", STORY)
        )
        metric_lines = (directory / "metrics.jsonl").read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise RunError(
            f"{error.filename} is not there: only a run that was trained to its end, with"
            " Experiment.report, has a report to draw."
        ) from None
    except (OSError, ValueError) as error:
        raise RunError(f"Cannot read the results in {directory}: {error}") from None
    written = []
    for name, text in compose(results, story, metric_lines).items():
        partial = directory / f"{name}.partial"
        try:
            partial.write_text(text, encoding="utf-8")
            os.replace(partial, directory / name)
        except OSError as error:
            raise RunError(f"Cannot write {directory / name}: {error.strerror}.") from None
        written.append(directory / name)
    return written


def main(argv) -> int:
    try:
        if len(argv) > 1:
            raise UserError(f"unexpected argument '{argv[1]}'; the directory goes into --model_dir")
        name = flags.FLAGS.model_dir
        if not name or "://" in name:
            raise UserError("--model_dir=DIR is needed, a local directory")
        for path in draw(pathlib.Path(name).expanduser()):
            print(f"written    {path}")
    except UserError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":  # not before: a process may import this and `sentiment_train.main`
    flags.DEFINE_string("model_dir", None, "The run directory, a local one.")
    app.run(main)
