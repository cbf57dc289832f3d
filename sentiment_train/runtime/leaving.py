"""The end of a process whose main thread may be stuck in TensorFlow."""

from __future__ import annotations

import atexit
import os
import sys
import threading

from sentiment_train import quiet
from sentiment_train.errors import UserError

_PRINTING_SECONDS = 5


def last_words(error: BaseException) -> dict:
    """`{"sentence": …, "code": …}` of an exception, for the other workers."""
    if isinstance(error, UserError):
        return {"sentence": error.message, "code": error.exit_code}
    if isinstance(error, KeyboardInterrupt):
        return {"sentence": "Interrupted.", "code": 130}
    first_line = (str(error).strip() or "without a reason").split("\n")[0]
    return {"sentence": f"{type(error).__name__}: {first_line}", "code": 1}


def end_now(sentence: str | None, code: int) -> None:
    """Prints an error and ends the process from any thread, without waiting for the others."""
    # Whoever reads our output may have stopped reading; then printing would wait for ever.
    guard = threading.Timer(_PRINTING_SECONDS, os._exit, (code,))
    guard.daemon = True
    guard.start()
    try:
        sys.stdout.flush()
        if sentence is not None:
            in_a_bar = "\n" if "tqdm" in sys.modules and sys.stderr.isatty() else ""
            quiet.write_error(f"{in_a_bar}error: {sentence}\n")
    finally:
        os._exit(code)


def exit_without_clean_up(code: int) -> None:
    """When this process ends, it does so at once: TensorFlow would wait for collective operations
    and servers that need a worker which is no longer there."""

    def leave() -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

    atexit.register(leave)
