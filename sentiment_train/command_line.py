"""How commands tell errors, and the flags that `sweep` and `compare` share."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from absl import app, flags, logging


def start(module: str, define: Callable[[], None], job: Callable[[], None]) -> None:
    """Parses the command line, does the job and exits: 0, or the code of the `UserError`.

    Flags are defined here and not when a module is imported, so that both commands may be imported
    by one process.

    Args:
      module: the caller's `__name__`, whose flags `--help` lists.
      define: defines the flags of the command that the other one does not have.
    """
    define()
    _define_shared()
    for name in (module, __name__):
        for flag in flags.FLAGS.get_flags_for_module(name):
            flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)
    app.run(lambda argv: exit_code(argv, job))


def _define_shared() -> None:
    flags.DEFINE_multi_string(
        "gin_bindings", [], "A single binding for every run, such as 'Experiment.export = False'."
    )
    flags.DEFINE_string(
        "cache_dir",
        os.environ.get("SENTIMENT_TRAIN_CACHE", "~/.cache/sentiment_train"),
        "Local directory of encoded data sets, shared by all runs.",
    )
    flags.DEFINE_integer(
        "parallel", 1, "Runs at a time. They share the machine, so they get slower.", lower_bound=1
    )
    flags.DEFINE_bool("dry_run", False, "Check every run, list them, and start none.")


def exit_code(argv: list[str], job: Callable[[], None]) -> int:
    """Does a job: 0, or the code of the `UserError` that it raised, printed in one line."""
    from sentiment_train.errors import UserError

    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)  # TensorFlow logs through absl, too
    try:
        if len(argv) > 1:
            raise UserError(f"unexpected argument '{argv[1]}'; all arguments are --flags.")
        job()
    except UserError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("error: interrupted; what was saved before is untouched.", file=sys.stderr)
        return 130
    return 0
