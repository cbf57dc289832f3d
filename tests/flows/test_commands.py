"""`sweep` and `compare` as they are typed: a mistake is one line and an exit code."""

from __future__ import annotations

import subprocess
import sys

import pytest
from program import ROOT, environment


def run(*command: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        (["sweep"], 2, "--gin_file=… is needed"),
        (["sweep", "--gin_file=gin/bilstm.gin"], 2, "--grid=… is needed"),
        (
            ["sweep", "--gin_file=gin/bilstm.gin", "--grid=dropout=0,2"],
            2,
            "dropout=2: RecurrentClassifier.dropout = 2 is out of range",
        ),
        (["sweep", "gin/bilstm.gin"], 1, "unexpected argument 'gin/bilstm.gin'"),
        (["compare", "--gin_file=gin/bylstm.gin"], 2, "Did you mean 'bilstm.gin'?"),
        (["compare", "--seeds=0,0"], 2, "--seeds=0,0: a seed is there twice"),
    ],
)
def test_a_mistake_is_one_line_and_an_exit_code(command, code, message):
    result = run(f"sentiment_train.{command[0]}", *command[1:])
    assert result.returncode == code, result.stderr
    assert message in result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1


def test_a_dry_run_lists_every_run_and_starts_none(tmp_path):
    folder = tmp_path / "out"
    result = run("sentiment_train.compare", "--quick", "--dry_run", f"--output_dir={folder}")
    assert result.returncode == 0, result.stderr
    assert "  waiting     bilstm\n" in result.stdout
    assert not folder.exists()
