"""One replica, several replicas and several workers are the same run, also one after the other."""

from __future__ import annotations

import json
import signal

import pytest
from program import SMALL, Program, Workers, wait_until

# Batches of 37 rows: never divisible, and the last ones leave a replica without any example.
UNEVEN = (
    "import fitted_layer\n"
    + SMALL
    + """
RecurrentClassifier.pooling = @FittedPooling
Buckets.batch_size = 37
Buckets.count = 3
Validation.every = '6 steps'
CosineSchedule.learning_rate = 0.04
"""
)
# Deep in the model something is made from the texts, and on every worker it is something else.
FITTED = """
import json, os
import gin, keras
from sentiment_train.layers.pooling import MeanMaxPooling

class Shift(keras.layers.Layer):
    def build(self, shape):
        self.shift = self.add_weight(name="shift", shape=(shape[-1],), initializer="zeros")

    def call(self, x):
        return x + self.shift

    def start_from(self, examples):
        worker = json.loads(os.environ.get("TF_CONFIG", "{}")).get("task", {"index": 0})["index"]
        self.shift.assign(0.01 + 0 * self.shift + worker * 1e-3)
        return True

@gin.register
class FittedPooling(MeanMaxPooling):
    def __init__(self):
        super().__init__(name="pooling")
        self.shift = Shift(name="shift")

    def call(self, states, mask):
        return self.shift(super().call(states, mask))
"""
WAYS = {
    "two_replicas": (1, "Runtime.logical_cpus = 2"),
    "two_workers": (2, "Experiment.report = @Report()"),  # the chief alone writes it
    "four_workers": (4, "Runtime.xla = 'off'"),
}
PLAIN = "--gin_bindings=Runtime.xla = 'off'"  # the same numbers, and less to do at each start


@pytest.fixture(scope="module")
def runs(tmp_path_factory, cache) -> Program:
    program = Program(tmp_path_factory.mktemp("runs"), cache, UNEVEN)
    (program.folder / "fitted_layer.py").write_text(FITTED)
    assert program.finish("one") == 0, program.log("one")
    assert "weights    shift made from" in program.log("one")
    return program


def assert_same_numbers(runs: Program, run: str) -> None:
    """Of every step and every evaluation, as the run with one replica has them."""
    expected, found = runs.metrics("one"), runs.metrics(run)
    assert found.keys() == expected.keys()
    for point, value in found.items():
        assert value == pytest.approx(expected[point], rel=1e-5, abs=1e-7), (run, point)
    for split in ("validation", "test"):
        metrics, wanted = runs.results(run)[split], runs.results("one")[split]
        assert metrics == pytest.approx(wanted, rel=1e-5)
    assert_same_temperature(runs.results(run), runs)


def assert_same_temperature(results: dict, runs: Program) -> None:
    """As the run with one replica has it: each worker fits it to the whole validation split."""
    expected = runs.results("one")["calibration"]
    assert "none_because" not in expected
    assert results["calibration"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("way", WAYS)
def test_replicas_and_workers_give_the_numbers_of_one_replica(runs, way):
    count, binding = WAYS[way]
    flag = f"--gin_bindings={binding}"
    if count == 1:
        assert runs.finish(way, flag) == 0, runs.log(way)
    else:
        workers = Workers(runs, way, count, flag)
        assert workers.wait() == [0] * count, workers.logs()
    assert_same_numbers(runs, way)
    results = runs.results(way)
    assert results["replicas"] == max(count, 2)
    assert (runs.folder / way / "report.html").exists() == (way == "two_workers")
    if way == "two_workers":
        assert results["baseline"]["accuracy"] > 0.7


def test_workers_evaluate_the_weights_of_one_replica_to_the_same_numbers(runs):
    workers = Workers(runs, "one", 2, "--mode=evaluate", PLAIN)
    assert workers.wait() == [0, 0], workers.logs()
    found = json.loads((runs.folder / "one" / "evaluation.json").read_text())
    for split in ("validation", "test"):
        expected = runs.results("one")[split]
        assert found[split]["loss"] == pytest.approx(expected["loss"], rel=1e-6)
        assert {**found[split], "loss": 0} == {**expected, "loss": 0}
    assert_same_temperature(found, runs)


def test_a_run_goes_on_with_two_workers_then_four_then_one(runs):
    for count, step in ((1, 6), (2, 12), (4, 18)):
        workers = Workers(runs, "changing", count, PLAIN)
        wait_until(runs.has_logged("changing", step), workers)
        workers.processes[-1].send_signal(signal.SIGTERM)
        assert workers.wait(60) == [75] * count, workers.logs()
    assert runs.finish("changing", PLAIN, log="changing.0") == 0, runs.log("changing.0")
    assert runs.log("changing.0").count("goes on after step") == 3
    assert_same_numbers(runs, "changing")
