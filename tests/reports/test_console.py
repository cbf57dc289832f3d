import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest

from sentiment_train.reports.console import Console, _clock

TRAIN = {
    "train/loss": 0.51239,
    "train/accuracy": 0.75,
    "train/examples_per_second": 1234.5,
    "train/tokens_per_second": 98765.4,
}
VALIDATION = {"validation/loss": 0.4, "validation/accuracy": 0.8125, "validation/examples": 100}


def session(console):
    console.say("model", "1,347 parameters\nembedding 1,280")
    console.start_progress(5, 20)
    for step in range(6, 16):
        console.advance(step)
    console.report(15, TRAIN)
    console.report(15, VALIDATION)
    console.end_progress()
    console.say("a long label", "text")


def test_without_a_terminal_everything_is_a_line(capsys):
    session(Console())
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert printed.err == ""
    assert lines[0] == "model      1,347 parameters"
    assert lines[1] == "           embedding 1,280"
    assert lines[2].startswith("step       15/20  loss 0.5124  accuracy 0.7500  1,23")
    assert lines[2].endswith("98,765 tokens/s  0:00 left")
    assert lines[3:] == ["validation step 15  loss 0.4000  accuracy 0.8125", "a long labeltext"]


def test_a_silent_console_prints_nothing(capsys):
    session(Console(silent=True))
    assert capsys.readouterr() == ("", "")


def test_the_time_left_is_in_proportion_to_the_steps_done_here(capsys, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    console = Console()
    console.start_progress(1000, 2000)
    now[0] += 60.0
    console.report(1200, TRAIN)
    assert capsys.readouterr().out.endswith("  4:00 left\n")
    now[0] += 2.0  # the first steps took long, since graphs were made
    console.report(1300, TRAIN)
    assert capsys.readouterr().out.endswith("  0:14 left\n")


@pytest.mark.parametrize(
    "seconds, text",
    [(0, "0:00"), (59.6, "1:00"), (61, "1:01"), (3599.7, "1:00:00"), (7384, "2:03:04")],
)
def test_clock(seconds, text):
    assert _clock(seconds) == text


def on_a_terminal(code):
    """What a process prints whose stdout and stderr are a terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 160, 0, 0))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=theirs, stderr=theirs)
    os.close(theirs)
    pieces = []
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # the other end was closed
            break
        if not piece:
            break
        pieces.append(piece)
    os.close(ours)
    assert process.wait(timeout=60) == 0
    return b"".join(pieces).decode()


def test_on_a_terminal_a_bar_follows_the_steps_and_lines_stand_above_it():
    code = f"""
import sys; sys.path.insert(0, {os.path.dirname(__file__)!r})
from test_console import session
from sentiment_train.reports.console import Console
session(Console())
"""
    printed = on_a_terminal(code)
    drawn = [line for line in re.split(r"[\r\n]", printed) if line.strip()]
    assert any("5/20" in line for line in drawn)
    last_bar = [line for line in drawn if "/20 [" in line][-1]
    assert "15/20" in last_bar
    assert "loss 0.5124  accuracy 0.7500" in last_bar
    validation = [line for line in drawn if line.startswith("validation step 15")]
    assert validation == ["validation step 15  loss 0.4000  accuracy 0.8125"]
    assert drawn[-1] == "a long labeltext"
    assert not any(line.startswith("step ") for line in drawn)


def test_a_silent_console_has_no_bar_on_a_terminal():
    code = f"""
import sys; sys.path.insert(0, {os.path.dirname(__file__)!r})
from test_console import session
from sentiment_train.reports.console import Console
session(Console(silent=True))
"""
    assert on_a_terminal(code) == ""
