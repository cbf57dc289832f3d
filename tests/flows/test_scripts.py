"""The scripts of the front door, as far as they can be tried without installing anything."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest
from program import ROOT

SCRIPTS = sorted((ROOT / "scripts").glob("*.sh"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_valid_bash(script):
    checked = subprocess.run(["bash", "-n", str(script)], capture_output=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, b"")


def test_a_second_call_installs_nothing_and_passes_its_arguments_on(tmp_path):
    venv = pathlib.Path(sys.prefix)
    if not (venv / "sentiment_train.stamp").exists():
        pytest.skip("these tests do not run in an environment that scripts/test.sh made")
    traced = subprocess.run(
        ["bash", "-x", str(ROOT / "scripts" / "train.sh"), "--help"],
        cwd=tmp_path,
        env={**os.environ, "SENTIMENT_TRAIN_VENV": str(venv)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "--gin_file" in traced.stdout, traced.stderr
    assert "install_package" not in traced.stderr  # the function of environment.sh that installs


def test_a_directory_in_the_way_is_left_alone(tmp_path):
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv" / "thesis.txt").write_text("not to be lost")
    refused = subprocess.run(
        ["bash", str(ROOT / "scripts" / "train.sh")],
        env={**os.environ, "SENTIMENT_TRAIN_VENV": str(tmp_path / "venv")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 1
    assert "is in the way" in refused.stderr
    assert (tmp_path / "venv" / "thesis.txt").read_text() == "not to be lost"
