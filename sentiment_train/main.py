"""Trains, evaluates and exports text classifiers from gin files.

python -m sentiment_train.main --gin_file=gin/bilstm.gin
"""

from __future__ import annotations

import os
import pathlib
import sys

from absl import app, flags

from sentiment_train import command_line

_GIN_FILES = flags.DEFINE_multi_string(
    "gin_file", [], "A gin file; may be given several times, later ones win."
)
_GIN_BINDINGS = flags.DEFINE_multi_string(
    "gin_bindings", [], "A single binding such as 'Training.length = \"1 epoch\"'; repeatable."
)
_MODEL_DIR = flags.DEFINE_string(
    "model_dir", None, "The run directory; default: runs/<name of the last gin file>."
)
_MODE = flags.DEFINE_enum(
    "mode",
    "train",
    ["train", "evaluate", "export"],
    "Train, or go on where a run stopped; or measure, or export, the weights that a run keeps.",
)
_DRY_RUN = flags.DEFINE_bool(
    "dry_run", False, "Resolve everything, print what a training would be, and train nothing."
)
_CACHE_DIR = flags.DEFINE_string(
    "cache_dir",
    os.environ.get("SENTIMENT_TRAIN_CACHE", "~/.cache/sentiment_train"),
    "Local directory of encoded data sets, shared by all runs.",
)


def main(argv) -> int:
    return command_line.exit_code(argv, _run)


def _run() -> None:
    """parse → make → meet the other workers → the job of the mode."""
    from sentiment_train import config, jobs, quiet
    from sentiment_train.errors import ConfigError
    from sentiment_train.experiment import Experiment
    from sentiment_train.run_directory import RunDirectory

    if _DRY_RUN.value and _MODE.value != "train":
        raise ConfigError(
            f"--dry_run shows what a training would be; leave out --mode={_MODE.value}."
        )
    files = _gin_files()
    name = _MODEL_DIR.value or f"runs/{pathlib.Path(files[-1]).stem}"
    directory = RunDirectory(os.path.expanduser(name))
    provenance = config.parse(files, _GIN_BINDINGS.value)
    experiment = config.make(Experiment, provenance)
    mode = "dry_run" if _DRY_RUN.value else _MODE.value
    with jobs.peers_of(experiment, mode) as peers:
        quiet.import_tensorflow()
        job = getattr(jobs, mode)
        job(experiment, directory, os.path.expanduser(_CACHE_DIR.value), peers)


def _gin_files() -> list[str]:
    """The gin files of the command, or the configuration that an existing run was made by."""
    from sentiment_train.errors import ConfigError, RunError

    if _GIN_FILES.value:
        return [os.path.expanduser(name) for name in _GIN_FILES.value]
    if _MODEL_DIR.value:
        written = f"{os.path.expanduser(_MODEL_DIR.value).rstrip('/')}/config.gin"
        if "://" not in written and not os.path.exists(written):
            raise RunError(f"{_MODEL_DIR.value} is no run, and no --gin_file says what to train.")
        return [written]
    raise ConfigError(
        "--gin_file=… is needed, e.g. --gin_file=gin/bilstm.gin, or --model_dir=… of a run."
    )


def run() -> None:
    """Entry point, also of the console script, whose --help would else not know these flags."""
    for flag in flags.FLAGS.get_flags_for_module(__name__):
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)
    app.run(main)


if __name__ == "__main__":
    run()
