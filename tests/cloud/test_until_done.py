"""What ends with 75 is started again, and a signal ends it for good; with real processes."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from sentiment_train.errors import EXIT_RESUME

SCRIPT = pathlib.Path(__file__).parents[2] / "cloud" / "until_done.py"

# Stands for the program: it takes its exit codes from a list, one for each start.
PROGRAM = """
import pathlib, signal, sys, time
started = pathlib.Path(__file__).with_name("started")
codes = sys.argv[1].removeprefix("--codes=").split(",")
number = len(started.read_text().splitlines()) if started.exists() else 0
if codes[number] == "wait":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
with started.open("a") as file:
    file.write(" ".join(sys.argv[1:]) + "\\n")
while codes[number] == "wait":
    time.sleep(0.01)
if codes[number] == "kill":
    signal.raise_signal(signal.SIGKILL)
sys.exit(int(codes[number]))
"""


@pytest.fixture
def start(tmp_path):
    (tmp_path / "sentiment_train").mkdir()
    (tmp_path / "sentiment_train" / "__init__.py").touch()
    (tmp_path / "sentiment_train" / "main.py").write_text(PROGRAM)

    def start(*arguments):
        command = [sys.executable, str(SCRIPT), *arguments]
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        return subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
        )

    return start


def starts(tmp_path):
    started = tmp_path / "sentiment_train" / "started"
    return started.read_text().splitlines() if started.exists() else []


@pytest.mark.parametrize(
    "codes, expected, times", [("0", 0, 1), ("75,75,0", 0, 3), ("75,2,0", 2, 2), ("kill", 137, 1)]
)
def test_the_same_command_is_started_until_it_ends_with_another_code(
    start, tmp_path, codes, expected, times
):
    process = start(f"--codes={codes}", "--gin_bindings=Training.length = '1 steps'")
    said, _ = process.communicate(timeout=60)
    assert process.returncode == expected
    assert (
        starts(tmp_path) == [f"--codes={codes} --gin_bindings=Training.length = '1 steps'"] * times
    )
    assert said.count("again") == times - 1


def test_a_signal_is_passed_on_and_nothing_is_started_again(start, tmp_path):
    process = start("--codes=75,wait,0")
    deadline = time.monotonic() + 60
    while len(starts(tmp_path)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == EXIT_RESUME
    assert len(starts(tmp_path)) == 2


def test_it_knows_the_code_that_the_program_uses(script):
    assert script("until_done.py").AGAIN == EXIT_RESUME
