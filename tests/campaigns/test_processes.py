"""Processes: all are run once, each with its log, and a signal reaches those that run."""

from __future__ import annotations

import os
import signal
import sys
import threading

import pytest

from sentiment_train.campaigns.processes import Command, run_all

# Says that it is ready, saves for a moment after SIGTERM as a training does, and asks to go on.
PATIENT = """
import signal, sys, time
def stop(*_):
    time.sleep(0.3)
    print("saved", flush=True)
    sys.exit(75)
signal.signal(signal.SIGTERM, stop)
open(sys.argv[1], "w").close()
time.sleep(60)
"""


def python(folder, name: str, code: str, *arguments: str) -> Command:
    command = (sys.executable, "-S", "-c", code, *arguments)
    return Command(name, command, folder / f"{name}.log")


class Heard:
    """What `run_all` called."""

    def __init__(self):
        self.events, self.running, self.most = [], 0, 0

    def started(self, command):
        self.running += 1
        self.most = max(self.most, self.running)

    def ended(self, command, code, seconds):
        self.running -= 1
        assert seconds > 0
        self.events.append((command.name, code))


def test_every_command_is_run_once_and_a_failing_one_stops_no_other(tmp_path):
    heard = Heard()
    commands = [
        python(tmp_path, "fine", "print('hello')"),
        python(tmp_path, "failing", "import sys; sys.exit('no')"),
        python(tmp_path, "killed", "import os; os.kill(os.getpid(), 9)"),
        python(tmp_path, "last", "pass"),
    ]
    (tmp_path / "fine.log").write_text("before\n")
    assert run_all(commands, 1, heard.started, heard.ended)
    assert heard.events == [("fine", 0), ("failing", 1), ("killed", -9), ("last", 0)]
    assert heard.most == 1
    assert (tmp_path / "fine.log").read_text() == "before\nhello\n"
    assert (tmp_path / "failing.log").read_text() == "no\n"


def test_so_many_run_at_a_time(tmp_path):
    heard = Heard()
    commands = [python(tmp_path, str(i), "import time; time.sleep(0.2)") for i in range(3)]
    assert run_all(commands, 2, heard.started, heard.ended)
    assert heard.most == 2
    assert sorted(heard.events) == [("0", 0), ("1", 0), ("2", 0)]


@pytest.fixture
def _signals_are_heard():
    """Also where the tests run in the background, which ignores SIGINT, or under nohup."""
    before = {n: signal.signal(n, signal.SIG_DFL) for n in (signal.SIGINT, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_signals_are_heard")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_passed_on_and_no_other_command_is_started(tmp_path, number):
    heard, ready = Heard(), tmp_path / "ready"

    def send():
        while not ready.exists():
            threading.Event().wait(0.01)
        os.kill(os.getpid(), number)

    handler = signal.getsignal(number)
    commands = [python(tmp_path, name, PATIENT, str(ready)) for name in ("first", "second")]
    threading.Thread(target=send).start()
    assert not run_all(commands, 1, heard.started, heard.ended)
    assert heard.events == [("first", 75)]
    assert (tmp_path / "first.log").read_text() == "saved\n"
    assert not (tmp_path / "second.log").exists()
    assert signal.getsignal(number) is handler


def test_a_signal_that_is_ignored_stays_so(tmp_path):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    try:
        hang_up = f"import os, signal; os.kill({os.getpid()}, signal.SIGHUP)"
        commands = [python(tmp_path, "first", hang_up), python(tmp_path, "second", "pass")]
        heard = Heard()
        assert run_all(commands, 1, heard.started, heard.ended)
        assert heard.events == [("first", 0), ("second", 0)]
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_no_process_is_left_behind_when_the_caller_fails(tmp_path):
    ready = tmp_path / "ready"

    def full_disk(command):
        if command.name == "second":
            while not ready.exists():
                threading.Event().wait(0.01)
            raise OSError("disk full")

    commands = [python(tmp_path, name, PATIENT, str(ready)) for name in ("first", "second")]
    with pytest.raises(OSError, match="disk full"):
        run_all(commands, 2, full_disk, Heard().ended)
    assert (tmp_path / "first.log").read_text() == "saved\n"
