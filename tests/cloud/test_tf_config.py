"""The script that makes TF_CONFIG, run as its users run it: with Python and nothing else."""

from __future__ import annotations

import json
import os
import pathlib
import socket
import subprocess
import sys

import pytest

from sentiment_train.runtime.cluster import Cluster, from_environment

SCRIPT = pathlib.Path(__file__).parents[2] / "cloud" / "tf_config.py"


def run(*flags: str, **variables: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-S", SCRIPT, *flags],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "flags, addresses, index",
    [
        (["--hosts=a,b", "--index=1"], ("a:2222", "b:2222"), 1),
        (["--hosts=a, b:7", "--index=0", "--port=9"], ("a:9", "b:7"), 0),
        (["--hosts=[::1],[::2]:7", "--index=0"], ("[::1]:2222", "[::2]:7"), 0),
        (
            ["--hosts=run-{}.workers", "--count=3", "--index_variable=JOB_COMPLETION_INDEX"],
            ("run-0.workers:2222", "run-1.workers:2222", "run-2.workers:2222"),
            2,
        ),
        (["--hosts=no.such.host,127.0.0.1"], ("no.such.host:2222", "127.0.0.1:2222"), 1),
        ([f"--hosts=no.such.host,{socket.gethostname()}:7"], None, 1),
    ],
)
def test_what_it_prints_is_read_as_this_place_among_the_workers(
    monkeypatch, flags, addresses, index
):
    printed = run(*flags, JOB_COMPLETION_INDEX="2")
    assert (printed.returncode, printed.stderr) == (0, "")
    monkeypatch.setenv("TF_CONFIG", printed.stdout)
    expected = addresses or ("no.such.host:2222", f"{socket.gethostname()}:7")
    assert from_environment() == Cluster(expected, index)
    assert set(json.loads(printed.stdout)) == {"cluster", "task"}


@pytest.mark.parametrize(
    "flags, problem",
    [
        (["--hosts=a,b", "--index=2"], "index 2, but there are 2 hosts"),
        (["--hosts=a,a:2222", "--index=0"], "a:2222 is there more than once"),
        (["--hosts=a,,b", "--index=0"], "there is an empty name"),
        (["--hosts=a:b", "--index=0"], "'a:b' is not host or host:port"),
        (["--hosts=::1", "--index=0"], "IPv6 addresses stand in brackets"),
        (["--hosts=a", "--index=0", "--port=70000"], "--port=70000 is no port"),
        (["--hosts=run-{}.w", "--index=0"], "and --count=… go together"),
        (["--hosts=a", "--count=2", "--index=0"], "and --count=… go together"),
        (["--hosts=run-{}.w", "--count=0", "--index=0"], "--count=0 is no number of hosts"),
        (["--hosts=a", "--index=0", "--index_variable=I"], "not both"),
        (["--hosts=a", "--index_variable=NOT_SET"], "NOT_SET is '', which is no index"),
        (["--hosts=no.such.host,no.such.host:1"], "no host of --hosts is this machine"),
        (["--hosts=127.0.0.1:1,127.0.0.1:2"], "several hosts of --hosts are this machine"),
    ],
)
def test_a_mistake_gets_one_sentence(flags, problem):
    refused = run(*flags)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert problem in refused.stderr
    assert refused.stderr.startswith("error: ")
    assert refused.stderr.count("\n") == 1
