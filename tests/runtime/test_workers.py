"""The channel between workers, by real processes on the loopback interface, without TensorFlow."""

from __future__ import annotations

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

from sentiment_train.runtime.wire import Connection

PROGRAM = pathlib.Path(__file__).with_name("worker_program.py")
ROOT = PROGRAM.parents[2]
SAME = {"mode": "train", "configuration": {"Training.length": "'5 steps'"}}


class Company:
    """Processes of `worker_program.py`."""

    def __init__(self, folder: pathlib.Path):
        self.folder, self.processes = folder, []

    def start(self, *words_of_each: str, same=None, wait=20, addresses=None) -> None:
        """Starts a worker for each string of words."""
        self.addresses = addresses or free_addresses(len(words_of_each))
        for index, words in enumerate(words_of_each):
            self.start_one(index, words, (same or {}).get(index, SAME), wait)

    def start_one(self, index: int, words: str, same=SAME, wait=20) -> subprocess.Popen:
        task = {"cluster": {"worker": self.addresses}, "task": {"type": "worker", "index": index}}
        with (self.folder / f"{len(self.processes)}.log").open("wb") as log:
            started = subprocess.Popen(
                [sys.executable, PROGRAM, json.dumps(same), str(wait), *words.split()],
                env={**os.environ, "TF_CONFIG": json.dumps(task), "PYTHONPATH": str(ROOT)},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.processes.append(started)
        return started

    def wait(self) -> list[int]:
        return [process.wait(50) for process in self.processes]

    def log(self, place: int) -> str:
        return (self.folder / f"{place}.log").read_text()

    def logs(self) -> list[str]:
        return [self.log(place) for place in range(len(self.processes))]

    def wait_for(self, place: int, text: str) -> None:
        deadline = time.monotonic() + 50
        while text not in self.log(place):
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.01)


def free_addresses(count: int) -> list[str]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    found = ["{}:{}".format(*each.getsockname()) for each in sockets]
    for each in sockets:
        each.close()
    return found


@pytest.fixture
def company(tmp_path):
    company = Company(tmp_path)
    yield company
    for process in company.processes:
        process.kill()
        process.wait()


def test_all_get_what_each_gave_in_the_order_of_the_workers(company):
    company.start("gather=a gather=x", "sleep=0.3 gather=b gather=y", "gather=c gather=z")
    assert company.wait() == [0, 0, 0], company.logs()
    for log in company.logs():
        assert "gathered a b c\ngathered x y z\n" in log


@pytest.mark.parametrize("asked", [0, 2])
def test_all_stop_at_the_same_poll_and_wait_for_the_slowest(company, asked):
    words = ["sleep=0.2 poll=2000"] * 3
    words[asked] = "sleep=0.2 poll=20 ask poll=1980"
    company.start(*words)
    assert company.wait() == [75, 75, 75], company.logs()
    stops = [int(re.search(r"stopped at poll (\d+)", log)[1]) for log in company.logs()]
    stops[asked] += 20
    assert len(set(stops)) == 1
    assert {log.splitlines()[-1] for log in company.logs()} == {
        "error: Stopped by a signal and saved."
    }


def test_nobody_says_saved_when_the_chief_is_killed_while_it_saves(company):
    company.start("poll=2000:60", "poll=20 ask poll=1980")
    company.wait_for(0, "stopped at poll")
    company.processes[0].kill()
    assert company.wait() == [-9, 75], company.logs()
    told = f"error: worker 0 ({company.addresses[0]}) has gone"
    assert company.log(1).splitlines()[-1].startswith(told)


@pytest.mark.parametrize("killed", [0, 1])
def test_the_others_name_a_killed_worker_and_end_to_be_started_again(company, killed):
    company.start("sleep=60", "sleep=60", "sleep=60")
    for place in range(3):
        company.wait_for(place, "sleeping")
    company.processes[killed].send_signal(signal.SIGKILL)
    codes = company.wait()
    assert codes == [-9 if i == killed else 75 for i in range(3)], company.logs()
    address = company.addresses[killed]
    for place in {0, 1, 2} - {killed}:
        last = company.log(place).splitlines()[-1]
        assert last.startswith(f"error: worker {killed} ({address}) has gone (its connection is")
        assert "Start the same command on every worker again" in last


def test_a_worker_of_which_nothing_is_heard_counts_as_gone(company):
    company.start("sleep=60", "sleep=60", "sleep=60")
    for place in range(3):
        company.wait_for(place, "sleeping")
    company.processes[1].send_signal(signal.SIGSTOP)
    assert [company.processes[i].wait(50) for i in (0, 2)] == [75, 75], company.logs()
    told = f"error: worker 1 ({company.addresses[1]}) has gone (nothing was heard of it for 4 sec"
    for place in (0, 2):
        assert company.log(place).splitlines()[-1].startswith(told)
    company.processes[1].send_signal(signal.SIGCONT)
    assert company.processes[1].wait(50) == 75
    assert f"worker 0 ({company.addresses[0]}) has gone" in company.log(1)


def test_a_killed_worker_ends_those_who_wait_for_its_answer(company):
    company.start("gather=a", "sleep=60 gather=b")
    company.wait_for(0, "met")
    company.wait_for(1, "sleeping")
    company.processes[1].kill()
    assert company.wait() == [75, -9], company.logs()
    assert company.log(0).count("error:") == 1


@pytest.mark.parametrize("others", ["gather=a", "sleep=60"], ids=["asking", "working"])
def test_the_others_tell_the_error_of_a_worker_and_exit_with_its_code(company, others):
    company.start(others, "sleep=0.2 data", others)
    assert company.wait() == [3, 3, 3], company.logs()
    sentence = "reviews.csv:7: nothing but nonsense."
    told = f"error: worker 1 ({company.addresses[1]}) ended: {sentence}"
    assert [log.splitlines()[-1] for log in company.logs()] == [told, f"error: {sentence}", told]


def test_an_error_that_all_find_is_told_by_each_in_its_own_words(company):
    company.start("gather=a data", "gather=b data")
    assert company.wait() == [3, 3], company.logs()
    for log in company.logs():
        assert log.splitlines()[-1] == "error: reviews.csv:7: nothing but nonsense."


def test_a_defect_has_its_traceback_where_it_is_and_a_sentence_elsewhere(company):
    company.start("gather=a", "defect")
    assert company.wait() == [1, 1], company.logs()
    assert "Traceback" in company.log(1)
    told = f"worker 1 ({company.addresses[1]}) ended: ZeroDivisionError: in the middle of it"
    assert company.log(0).splitlines()[-1] == f"error: {told}"


def test_a_worker_that_is_done_waits_for_the_others(company):
    company.start("gather=a", "gather=b sleep=1.5")
    company.wait_for(1, "sleeping")
    company.processes[1].send_signal(signal.SIGSTOP)  # it cannot be done before it is looked at
    time.sleep(0.3)
    assert company.processes[0].poll() is None
    company.processes[1].send_signal(signal.SIGCONT)
    assert company.wait() == [0, 0], company.logs()


def test_strangers_at_the_door_disturb_nobody(company):
    company.addresses = free_addresses(2)
    company.start_one(0, "gather=a")
    port = int(company.addresses[0].rpartition(":")[2])
    deadline = time.monotonic() + 20
    for junk in (b"GET / HTTP/1.1\r\n\r\n", b"", b"\x00\x00\x00\x02{}"):
        while True:
            try:
                stranger = socket.create_connection(("127.0.0.1", port))
                break
            except ConnectionRefusedError:
                assert time.monotonic() < deadline
        stranger.sendall(junk)
    Connection(stranger).send({"protocol": "sentiment_train workers", "index": "one"})
    company.start_one(1, "gather=b")
    assert company.wait() == [0, 0], company.logs()


@pytest.mark.parametrize(
    "what, there, told",
    [
        ("mode", "evaluate", "another mode: evaluate against train of worker 0"),
        (
            "configuration",
            {"A.b": "1"},
            "another configuration: A.b = 1 against (default); Training.length = (default) against"
            " '5 steps' of worker 0",
        ),
    ],
)
def test_what_must_be_equal_is_compared_before_the_work_begins(company, what, there, told):
    company.start("gather=a", "gather=b", same={1: {**SAME, what: there}})
    assert company.wait() == [2, 2], company.logs()
    first, second = company.logs()
    assert first == second
    assert first.startswith(f"error: Worker 1 ({company.addresses[1]}) has {told}")


def test_a_worker_that_goes_while_they_meet_is_named(company):
    company.addresses = free_addresses(3)
    company.start_one(0, "")
    gone = company.start_one(1, "")
    deadline = time.monotonic() + 20
    for address in company.addresses[:2]:
        port = int(address.rpartition(":")[2])
        while True:  # until both listen, and some more for its own connection to the chief
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                assert time.monotonic() < deadline
                time.sleep(0.01)
    time.sleep(1)
    gone.kill()
    assert company.processes[0].wait(50) == 75
    told = f"error: Worker 1 ({company.addresses[1]}) has gone while the workers met."
    assert company.log(0).startswith(told)


def test_one_worker_is_no_cluster(company):
    company.start("gather=a")
    assert company.wait() == [0]
    assert company.log(0) == "met 0\ngathered a\n"
