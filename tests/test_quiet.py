"""TensorFlow is imported when it should be, whatever the user wants to read of it."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]


@pytest.mark.parametrize("level", [None, "0", "3"])
def test_tensorflow_is_there_afterwards(tmp_path, level):
    (tmp_path / "tensorflow.py").write_text("import os; os.write(2, b'loaded')")  # in its place
    variables = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    variables["PYTHONPATH"] = f"{tmp_path}{os.pathsep}{ROOT}"
    finished = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from sentiment_train import quiet; quiet.import_tensorflow();"
            " assert 'tensorflow' in sys.modules",
        ],
        env=variables | ({} if level is None else {"TF_CPP_MIN_LOG_LEVEL": level}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ("" if level is None else "loaded")
