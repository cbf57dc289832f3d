"""Shards through a real tf.data service: dispatcher, data workers and trainers are processes."""

from __future__ import annotations

import gzip
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import uuid
from types import SimpleNamespace

import pytest
import warm
from program import ROOT, Program, Workers, environment, wait_until

from benchmarks import stream_memory
from sentiment_train.data.batches import RowSlice
from sentiment_train.data.encoders import WordEncoder
from sentiment_train.data.sources.shards import Shards
from sentiment_train.data.streaming.service import Service, ServiceGone, registered_workers
from sentiment_train.data.streaming.stream import Stream
from sentiment_train.errors import DataError

MODULE = "sentiment_train.data_service"
STREAMED = """
include 'runtime/auto.gin'
include 'data/shards.gin'
Experiment.model = @RecurrentClassifier()
Shards.shards_at_a_time = 2
Shards.sample = 400
Vocabulary.max_size = 500
WordEncoder.max_length = 40
RecurrentClassifier.embedding_size = 4
RecurrentClassifier.units = (4,)
RecurrentClassifier.cell = 'simple'
Buckets.count = 2
Buckets.batch_size = 37
Training.length = '45 steps'
Training.log_every = '1 steps'
Validation.every = '20 steps'
Checkpointing.every = '3 steps'
Experiment.export = False
Experiment.report = None
"""


class DataService:
    """A dispatcher and data workers; each a process that can be killed."""

    def __init__(self, folder: pathlib.Path, workers: int):
        opened = [socket.create_server(("127.0.0.1", 0)) for _ in range(workers + 1)]
        port, *others = (each.getsockname()[1] for each in opened)
        for each in opened:
            each.close()
        addresses = [f"127.0.0.1:{other}" for other in others]
        self.address, self._log = f"grpc://127.0.0.1:{port}", folder / "service.log"
        joined = ",".join(addresses)
        self.processes = [self._start("dispatcher", f"--port={port}", f"--addresses={joined}")]
        for address in addresses:
            flags = f"--dispatcher=127.0.0.1:{port}", f"--address={address}"
            self.processes.append(self._start("worker", *flags))
        wait_until(lambda: self._registered() == sorted(addresses), self.processes[0])

    def _start(self, role: str, *flags: str) -> warm.WarmProcess:
        arguments = ["-m", MODULE, f"--role={role}", *flags]
        return warm.start(arguments, environment(), self._log.parent, self._log)

    def _registered(self) -> list[str]:
        try:
            return list(registered_workers(self.address))
        except ConnectionError:
            return []

    def kill(self) -> None:
        for process in self.processes:
            process.kill()


@pytest.fixture
def data_service(tmp_path):
    """Starts data services, which end with the test."""
    started = []

    def start(workers: int) -> DataService:
        started.append(DataService(tmp_path, workers))
        return started[-1]

    yield start
    for service in started:
        service.kill()


@pytest.fixture
def numbered(tf, tmp_path):
    """Makes streams of 115 numbered examples, as in the tests of streams."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "tests" / "data" / "streaming"))
        import numbered_shards
    pattern = numbered_shards.write_numbered(str(tmp_path), (23,) * 5, "jsonl.gz")
    encoder = WordEncoder(max_length=None).fit([f"w{i}" for i in range(115)])
    job = uuid.uuid4().hex

    def stream(service: str | None, slices: RowSlice):
        source = Shards(train=pattern, shards_at_a_time=2, shuffled_rows=7, service=service)
        table, names = numbered_shards.TABLE, ("even", "odd")
        data = SimpleNamespace(encoder=encoder, class_names=names)
        made = Stream(source, data, table, slices, 1, job)
        return numbered_shards.Streamed(made, encoder.words)

    return stream


class Trainer(threading.Thread):
    """Takes batches of a stream until it has enough, or the stream ends with an error."""

    def __init__(self, stream, enough: int | None):
        super().__init__(daemon=True)
        self.stream, self.enough, self.batches, self.error = stream, enough, [], None
        self.some = threading.Event()
        self.start()

    def run(self):
        try:
            for batch in self.stream.stream.feed():
                self.batches.append(batch)
                if len(self.batches) > 5:
                    self.some.set()
                if len(self.batches) == self.enough:
                    return
        except Exception as error:
            self.error = error


def test_all_trainers_get_the_same_bucket_and_no_example_is_lost(numbered, data_service):
    service = data_service(2)
    trainers = [Trainer(numbered(service.address, RowSlice(2, index, 1)), 90) for index in range(2)]
    for trainer in trainers:
        trainer.join(200)
    seen, epochs = [], []
    for first, second in zip(*(trainer.batches for trainer in trainers), strict=True):
        shapes = [tuple(b.batch.features["tokens"].shape) for b in (first, second)]
        assert shapes[0] == shapes[1]
        assert (first.examples, first.tokens, first.places, first.ends_epoch) == (
            (second.examples, second.tokens, second.places, second.ends_epoch)
        )
        numbers = [n for t, b in zip(trainers, (first, second), strict=True)
                   for n in t.stream.numbers(b)]  # fmt: skip
        assert len(numbers) == first.examples
        seen += numbers
        if first.ends_epoch:
            epochs.append(len(set(seen)))
    assert len(seen) > 2 * 115
    assert epochs[0] == 115


def test_a_data_worker_that_is_killed_ends_all_trainers(numbered, data_service):
    service = data_service(2)
    trainers = [
        Trainer(numbered(service.address, RowSlice(2, index, 1)), None) for index in range(2)
    ]
    assert all(trainer.some.wait(100) for trainer in trainers)
    service.processes[2].kill()
    for trainer in trainers:
        trainer.join(100)
        assert isinstance(trainer.error, ServiceGone), trainer.error
        assert re.match(
            rf"The data service {service.address} has gone: data worker \S+ "
            r".*Start it again, and the same command on all workers; it goes on",
            trainer.error.message,
        )


@pytest.fixture
def streamed_program(tmp_path, cache) -> Program:
    shards = tmp_path / "shards"
    stream_memory.generate(shards, 3000, 500)
    (shards / "reviews-00005.jsonl.gz").rename(shards / "validation.jsonl.gz")
    given = f"Shards.train = '{shards}/reviews-*'\nShards.validation = '{shards}/val*'\n"
    return Program(tmp_path, cache, STREAMED + given)


def test_a_run_whose_data_service_was_killed_goes_on_to_the_same_numbers(
    streamed_program, data_service
):
    """Begun by two workers through the service, ended by one process that reads by itself. Here
    loops over time are compiled, and there the whole step."""
    program, service = streamed_program, data_service(1)
    assert program.finish("alone") == 0, program.log("alone")
    assert program.results("alone")["compilations"] == 2
    served = f"--gin_bindings=Shards.service = '{service.address}'"
    compiled = "--gin_bindings=Runtime.xla = 'on'"
    workers = Workers(program, "served", 2, served, compiled)
    wait_until(program.has_logged("served", 6), workers)
    service.processes[1].kill()
    assert workers.wait(100) == [75, 75], workers.logs()
    assert "error: The data service grpc://127.0.0.1:" in workers.logs()
    assert program.finish("served", compiled) == 0, program.log("served")
    assert "goes on after step" in program.log("served")
    expected, found = program.metrics("alone"), program.metrics("served")
    assert found.keys() == expected.keys()
    assert max(step for step, _ in found) == 45
    for point, value in found.items():
        assert value == pytest.approx(expected[point], rel=1e-5, abs=1e-7), point


def test_a_run_does_not_go_on_with_other_shards(streamed_program, tmp_path):
    program = streamed_program
    process = program.start("changed")
    wait_until(program.has_logged("changed", 6), process)
    process.terminate()
    assert process.wait(60) == 75, program.log("changed")
    first = tmp_path / "shards" / "reviews-00000.jsonl.gz"
    shutil.copy(first, first.with_name("reviews-00009.jsonl.gz"))
    assert program.finish("changed") == 5
    assert "The shards of this run have changed since it began" in program.log("changed")


def command(*flags: str, **options) -> subprocess.Popen:
    arguments = [sys.executable, "-m", MODULE, *flags]
    return subprocess.Popen(arguments, env=environment(), text=True, **options)


def test_the_command_starts_all_and_ends_all(tmp_path, numbered):
    started = command("--workers=1", "--port=0", stdout=subprocess.PIPE, cwd=tmp_path)
    try:
        ready = started.stdout.readline()
        address = re.search(r"^ready: Shards.service = '(grpc://\S+)' \(1 data worker\)", ready)[1]
        children = pathlib.Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text()
        assert len(children.split()) == 2
        of_service = numbered(address, RowSlice()).take(30)
        by_itself = numbered(None, RowSlice()).take(30)
        for one, other in zip(of_service, by_itself, strict=True):
            tokens = [b.batch.features["tokens"].numpy().tolist() for b in (one, other)]
            assert tokens[0] == tokens[1]
            assert one.stream_position == other.stream_position
        started.send_signal(signal.SIGINT)
        assert started.wait(60) == 0
        assert not any(pathlib.Path(f"/proc/{pid}").exists() for pid in children.split())
    finally:
        started.kill()


def test_mistakes_with_the_command_get_one_answer():
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        for flags, expected in {
            (f"--port={port}",): f"error: Port {port} cannot be used: Address already in use.",
            ("--port=70000",): "error: Port 70000 is none; allowed: 1 to 65535.",
            ("--role=worker",): "error: --dispatcher is needed, as host:port.",
            ("--role=dispatcher",): "error: --addresses is needed",
        }.items():
            refused = command(*flags, stderr=subprocess.PIPE)
            assert refused.stderr.read().startswith(expected)
            assert refused.wait(60) == 2


def test_a_service_that_is_not_there_is_told_within_the_time_limit():
    with pytest.raises(DataError, match=r"'grpc://127\.0\.0\.1:1' does not answer for 0\.3 sec"):
        Service("grpc://127.0.0.1:1").wait(0.3)


def test_a_data_worker_that_begins_anew_is_noticed():
    service = Service("grpc://127.0.0.1:1")
    for data_worker, block, batch in ((0, 2, 0), (1, 3, 0), (0, 2, 1), (1, 5, 0), (0, 4, 0)):
        service.check_round(data_worker, 2, block, batch)
    with pytest.raises(ServiceGone, match=r"data worker 1 was started again\. Start it"):
        service.check_round(1, 2, 3, 0)


def test_data_workers_that_do_not_come_are_told(data_service):
    service = Service(data_service(1).address)
    service.wait(30)
    with pytest.raises(DataError, match=r"^Of the 2 data workers of grpc.* only 127\.0\.0\.1:\d+"):
        service.wait_for_all(2, 0.3)


def test_the_memory_of_a_process_is_measured(tmp_path):
    assert stream_memory.resident_bytes(os.getpid()) > 50e6
    paths = stream_memory.generate(tmp_path, 25, 10)
    assert [len(rows_of(path)) for path in paths] == [10, 10, 5]
    assert json.loads(rows_of(paths[0])[0]).keys() == {"text", "label"}
    one = stream_memory.Watched(tmp_path, paths, 25)
    one.points = [(step, step * 10**6, 0, 10**9) for step in range(1, 21)]
    lines = stream_memory.table([one]).splitlines()
    assert len(lines) == 12
    assert lines[-1] == "| 25 | 20 | 20 | 0 | 1,000 |"


def rows_of(path: pathlib.Path) -> list[str]:
    return gzip.decompress(path.read_bytes()).decode().splitlines()
