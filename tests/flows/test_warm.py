"""Warm processes begin, end and are killed as cold ones do."""

from __future__ import annotations

import json
import signal
import subprocess

import pytest
import warm
from program import ROOT, environment, wait_until

SCRIPT = """
import json, os, sys
print(json.dumps([sys.argv[1:], os.getcwd(), os.environ.get("GIVEN"), "tensorflow" in sys.modules]))
print("sentiment_train" in sys.modules, sys.stdin.read() == "", file=sys.stderr, flush=True)
if sys.argv[1] == "fails":
    raise ValueError("as asked")
if sys.argv[1] == "waits":
    import time
    time.sleep(600)
sys.exit(int(sys.argv[1]))
"""


@pytest.fixture
def started(tmp_path):
    """Starts the script with an argument, in a folder of its own."""
    (tmp_path / "script.py").write_text(SCRIPT)

    def start(argument: str) -> warm.WarmProcess:
        arguments = [str(tmp_path / "script.py"), argument]
        env = environment(GIVEN=argument)
        return warm.start(arguments, env, tmp_path, tmp_path / f"{argument}.log")

    return start


def test_exit_status_arguments_environment_and_folder_are_its_own(started, tmp_path):
    processes = {argument: started(argument) for argument in ("0", "75")}
    for argument, process in processes.items():
        assert process.wait(60) == int(argument)
        printed = (tmp_path / f"{argument}.log").read_text().splitlines()
        assert "False True" in printed
        (line,) = (line for line in printed if line.startswith("["))
        assert json.loads(line) == [[argument], str(tmp_path), argument, True]


def test_an_exception_is_a_traceback_and_status_1(started, tmp_path):
    assert started("fails").wait(60) == 1
    assert "ValueError: as asked" in (tmp_path / "fails.log").read_text()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_signal_ends_it_and_is_its_status(started, tmp_path, number):
    process = started("waits")
    wait_until(lambda: "False True" in (tmp_path / "waits.log").read_text(), process)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    process.send_signal(number)
    assert process.wait(60) == -number
    process.kill()  # nothing to do
    assert process.poll() == -number


def test_a_module_is_found_as_python_finds_it(tmp_path):
    (tmp_path / "found.py").write_text(
        "import sentiment_train, sys; print(sentiment_train.__file__, sys.argv, __name__)"
    )
    log = tmp_path / "log"
    process = warm.start(["-m", "found", "--flag"], environment(), tmp_path, log)
    assert process.wait(60) == 0
    where, *arguments = log.read_text().split()
    assert where == str(ROOT / "sentiment_train" / "__init__.py")
    assert arguments == [f"['{tmp_path}/found.py',", "'--flag']", "__main__"]
