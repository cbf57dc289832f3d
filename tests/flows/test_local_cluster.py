"""`scripts/local_cluster.sh`, with workers that are real but for the work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from program import ROOT

SCRIPT = ROOT / "scripts" / "local_cluster.sh"

# Takes the place of the program: the script runs `python -m sentiment_train.main --gin_file=…`.
WORKER = """
import json, os, signal, sys, time
if sys.argv[1:3] != ["-m", "sentiment_train.main"]:
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
def stop(number, frame):
    print("saved", flush=True)
    sys.exit(75)
signal.signal(signal.SIGTERM, stop)
print(sys.argv[3:], flush=True)
print("a complaint", file=sys.stderr)
do = sys.argv[-1].split("=")[1].split(",")[index]
if do == "wait":
    time.sleep(60)
sys.exit(int(do))
"""


@pytest.fixture
def script(tmp_path):
    """Starts the script with an environment that is there already, of one Python that is ours."""
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (tmp_path / "worker.py").write_text(WORKER.format(python=sys.executable))
    python = venv / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{tmp_path}/worker.py" "$@"\n')
    python.chmod(0o755)
    environment = {**os.environ, "SENTIMENT_TRAIN_VENV": str(venv)}
    digest = subprocess.run(
        ["bash", "-c", "source scripts/environment.sh; digest_of samples"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    (venv / "sentiment_train.stamp").write_text(f"{digest}samples\n")

    def start(*arguments: str) -> subprocess.Popen:
        return subprocess.Popen(
            ["bash", str(SCRIPT), *arguments],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # bash cannot trap what is ignored, as Ctrl-C is where the tests run in the background.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    return start


def test_lines_are_numbered_and_flags_are_passed_on(script):
    started = script("3", "my.gin", "--model_dir=a b", "--do=0,0,0")
    out, err = started.communicate(timeout=60)
    assert started.returncode == 0, err
    said = "['--gin_file=my.gin', '--model_dir=a b', '--do=0,0,0']"
    assert sorted(out.splitlines()) == [f"[{i}] {said}" for i in range(3)]
    assert sorted(err.splitlines()) == [f"[{i}] a complaint" for i in range(3)]


def test_the_exit_code_is_that_of_the_worker_that_failed(script):
    started = script("3", "my.gin", "--do=0,7,0")
    _, err = started.communicate(timeout=60)
    assert started.returncode == 7
    assert "[1] ended with exit code 7; the others end, too." in err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_all_workers(script, number):
    started = script("2", "my.gin", "--do=wait,wait")
    assert "my.gin" in started.stdout.readline() + started.stdout.readline()
    time.sleep(0.5)  # until the script waits for both
    started.send_signal(number)
    out, _ = started.communicate(timeout=60)
    assert started.returncode == 75
    assert sorted(out.splitlines()) == ["[0] saved", "[1] saved"]


@pytest.mark.parametrize(
    "arguments, problem",
    [
        ([], "'' is no number of workers from 1 to 99"),
        (["0", "my.gin"], "'0' is no number of workers"),
        (["two", "my.gin"], "'two' is no number of workers"),
        (["2"], "a gin file is missing"),
        (["2", "--model_dir=x"], "a gin file is missing"),
    ],
)
def test_a_wrong_call_is_refused_with_the_right_one(script, arguments, problem):
    started = script(*arguments)
    out, err = started.communicate(timeout=60)
    assert (started.returncode, out) == (1, "")
    assert problem in err
    assert "scripts/local_cluster.sh <number of workers> <gin file>" in err
