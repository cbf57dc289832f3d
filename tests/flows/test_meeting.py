"""Workers that cannot work together end, each of them, with the cause in one sentence.

What goes wrong is all started at the same time, because most of it is waiting.
"""

from __future__ import annotations

import json
import re
import socket
import time
from typing import NamedTuple

import pytest
from program import Program, task_configs

WAIT = 20  # seconds for who does not come; the processes start slowly when so many do
LIMIT = 60  # seconds after which every worker must have ended

# Words and labels from a file of the working directory, so that workers can have different ones.
OWN_DATA = """
include 'runtime/auto.gin'
include 'model/recurrent.gin'
Experiment.source = @CsvSource()
CsvSource.path = 'reviews.csv'
RecurrentClassifier.embedding_size = 4
RecurrentClassifier.units = (3,)
Training.length = '2 steps'
Experiment.report = None
Experiment.export = False
"""


class Started(NamedTuple):
    """A worker of a case: its index, the list of workers in its TF_CONFIG, and its flags."""

    index: int
    addresses: list[str]
    flags: tuple[str, ...] = ()


def free_addresses(count: int) -> list[str]:
    return json.loads(task_configs(count)[0])["cluster"]["worker"]


def cases() -> dict[str, list[Started]]:
    (one,) = free_addresses(1)
    four = free_addresses(4)
    pairs = {name: free_addresses(2) for name in ("no chief", "port", "run")}
    twice, three, other, data = (
        free_addresses(3),
        free_addresses(3),
        free_addresses(3),
        free_addresses(2),
    )
    elsewhere = "--model_dir=elsewhere"
    longer = "--gin_bindings=Training.length = '5 steps'"
    return {
        "a worker is missing": [Started(i, four) for i in (0, 1, 3)],
        "the chief is missing": [Started(1, pairs["no chief"])],
        "an index is there twice": [Started(i, twice) for i in (0, 1, 1)],
        "another configuration": [Started(i, three, (longer,) if i == 1 else ()) for i in range(3)],
        "another list of workers": [Started(0, other[:2]), Started(1, [other[0], other[2]])],
        "a port is in use": [Started(i, pairs["port"]) for i in range(2)],
        "names of one port": [
            Started(i, [one, one.replace("127.0.0.1", "localhost")]) for i in (0, 1)
        ],
        "other data": [Started(i, data) for i in range(2)],
        "another run directory": [Started(0, pairs["run"]), Started(1, pairs["run"], (elsewhere,))],
    }


class Case:
    """The processes of a case, each in a folder of its own."""

    def __init__(self, folder, cache, workers: list[Started], gin_text: str | None, own_data: bool):
        self.folder, self.workers = folder, workers
        folder.mkdir()
        text = {"gin_text": gin_text} if gin_text else {}
        self.started = time.monotonic()
        self.processes = []
        for place, worker in enumerate(workers):
            home = folder / str(place)
            home.mkdir()
            write_reviews(home / "reviews.csv", odd=f"odd{place if own_data else ''}")
            program = Program(home, cache, **text)
            task = {"type": "worker", "index": worker.index}
            config = json.dumps({"cluster": {"worker": worker.addresses}, "task": task})
            wait = f"--gin_bindings=Runtime.wait_for_workers = {WAIT}"
            flags = (f"--model_dir={folder / 'run'}", wait, *worker.flags)
            self.processes.append(program.start("run", *flags, TF_CONFIG=config))

    def end(self) -> None:
        for process in self.processes:
            process.wait(LIMIT)
        self.seconds = time.monotonic() - self.started

    @property
    def codes(self) -> list[int]:
        return [process.poll() for process in self.processes]

    @property
    def errors(self) -> list[str]:
        """The last line of each worker, which must be its only error."""
        lines = []
        for place in range(len(self.workers)):
            log = (self.folder / str(place) / "run.log").read_text()
            assert [line.startswith("error:") for line in log.splitlines()].count(True) == 1, log
            assert "Traceback" not in log, log
            lines.append(log.splitlines()[-1])
        return lines


def write_reviews(path, odd: str) -> None:
    """A small file of reviews, one of which has an odd word."""
    rows = [f"good film {i},positive\nbad film {i},negative\n" for i in range(60)]
    path.write_text("text,label\n" + "".join(rows) + f"a film so {odd},positive\n")


@pytest.fixture(scope="module")
def ended(tmp_path_factory, cache) -> dict[str, Case]:
    """All cases, when all their workers have ended."""
    folder, found = tmp_path_factory.mktemp("meetings"), {}
    all_cases = cases()
    port = int(all_cases["a port is in use"][1].addresses[1].rpartition(":")[2])
    with socket.create_server(("", port)):
        for number, (name, workers) in enumerate(all_cases.items()):
            gin_text = OWN_DATA if name in ("other data", "another run directory") else None
            own_data = name == "other data"
            found[name] = Case(folder / str(number), cache, workers, gin_text, own_data)
        for case in found.values():
            case.end()
    return found


@pytest.mark.parametrize(
    "name, code, sentence",
    [
        ("a worker is missing", 2, r"Worker 2 \({2}\) did not come within 20 seconds \(.*refused"),
        ("the chief is missing", 2, r"Worker 0 \({0}\), the chief, did not come within 20 seconds"),
        ("an index is there twice", 2, r"Another process is already worker 1 \({1}\)\. Start each"),
        (
            "another configuration",
            2,
            r"Worker 1 \({1}\) has another configuration: Training.length = '5 steps' against"
            r" '24 steps' of worker 0 \({0}\)\. All workers need the same",
        ),
        (
            "another list of workers",
            2,
            r"Worker 1 \(.*\) has another list of workers in its TF_CON",
        ),
        ("names of one port", 2, r"Worker 0 \({0}\) and worker 1 \({1}\) are the same port of one"),
        (
            "another run directory",
            4,
            r"The run directories of worker 0 \({0}\) and worker 1 \({1}\) differ\. All need",
        ),
        ("other data", 3, r"The data of worker 0 \({0}\) and worker 1 \({1}\) differ\. Each needs"),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value and len(value) < 30 else "",
)
def test_all_workers_end_with_the_same_sentence(ended, name, code, sentence):
    case = ended[name]
    for part, address in enumerate(case.workers[0].addresses):
        sentence = sentence.replace(f"{{{part}}}", re.escape(address))
    assert case.codes == [code] * len(case.workers), case.errors
    assert len(set(case.errors)) == 1, case.errors
    assert re.match(f"error: {sentence}", case.errors[0]), case.errors
    assert not (case.folder / "run" / "checkpoints").exists()


def test_a_port_in_use_is_told_by_its_worker_and_missed_by_the_others(ended):
    case = ended["a port is in use"]
    _, mine = (re.escape(address) for address in case.workers[0].addresses)
    chief, worker = case.errors
    assert case.codes == [2, 2]
    assert re.match(rf"error: Port \d+ of this machine, that of worker 1 \({mine}\), is in", worker)
    assert re.match(rf"error: Worker 1 \({mine}\) did not come within 20 seconds \(what is", chief)
