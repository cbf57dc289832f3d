"""TensorFlow without the lines that it prints while it is imported.

They come from C++ before its logging is set up and heed no setting (TensorFlow issue 100442).
"""

from __future__ import annotations

import os
import sys
import tempfile

_users_level = os.environ.get("TF_CPP_MIN_LOG_LEVEL")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # now, as a user's own part may import it first


_stderr: int | None = None  # where stderr really goes, while it is caught below


def write_error(text: str) -> None:
    """Writes to stderr, also from a thread while TensorFlow is imported by another one."""
    if _stderr is not None:
        os.write(_stderr, text.encode())
    else:
        sys.stderr.write(text)
        sys.stderr.flush()


def import_tensorflow() -> None:
    """Imports TensorFlow; what it writes to stderr meanwhile is shown only if it fails."""
    if _users_level is not None:  # how much they want to read
        import tensorflow

        return
    if "tensorflow" in sys.modules:
        return
    global _stderr
    sys.stderr.flush()
    stderr = _stderr = os.dup(2)
    with tempfile.TemporaryFile() as lines:
        os.dup2(lines.fileno(), 2)
        try:
            import tensorflow  # noqa: F401
        except BaseException:
            lines.seek(0)
            os.write(stderr, lines.read())
            raise
        finally:
            os.dup2(stderr, 2)
            _stderr = None
            os.close(stderr)
