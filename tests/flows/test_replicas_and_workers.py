"""One replica, several replicas and several workers are the same run."""

from __future__ import annotations

import json
import socket

import pytest


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def test_replicas_and_workers_give_the_losses_of_one_replica(program):
    # Batches of 37 rows: never divisible, and the last ones leave a replica without any example.
    flags = ["--gin_bindings=Buckets.batch_size = 37", "--gin_bindings=Buckets.count = 3"]
    assert program.finish("one", *flags) == 0, program.log("one")

    three = "--gin_bindings=Runtime.logical_cpus = 3"
    assert program.finish("replicas", *flags, three) == 0, program.log("replicas")

    addresses = [f"127.0.0.1:{port}" for port in free_ports(2)]
    workers = []
    for index in range(2):
        task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        strategy = "--gin_bindings=Runtime.strategy = 'multi_worker'"
        report = "--gin_bindings=Experiment.report = @Report()"  # the chief alone writes it
        given = (*flags, strategy, report)
        workers.append(program.start("workers", *given, TF_CONFIG=json.dumps(task)))
    assert [worker.wait(timeout=240) for worker in workers] == [0, 0], program.log("workers")

    expected = program.metrics("one")
    for run in ("replicas", "workers"):
        assert program.metrics(run).keys() == expected.keys()
        for point, value in program.metrics(run).items():
            assert value == pytest.approx(expected[point], rel=1e-5, abs=1e-7), (run, point)
        for split in ("validation", "test"):
            found, wanted = program.results(run)[split], program.results("one")[split]
            assert found == pytest.approx(wanted, rel=1e-5)
    assert program.results("replicas")["replicas"] == 3
    assert program.results("workers")["replicas"] == 2
    assert program.results("workers")["baseline"]["accuracy"] > 0.7
    assert (program.folder / "workers" / "report.html").exists()
