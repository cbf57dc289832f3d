"""Workers that are killed and started again end with the weights of undisturbed ones."""

from __future__ import annotations

import random
import re
import signal

import pytest
from program import Program, Workers, wait_until

# No recurrence, or most of the time would go into compiling it again after every kill.
CHEAP = """
include 'runtime/auto.gin'
include 'data/imdb.gin'
PackagedReviews.subset = 'rotten_tomatoes'
Experiment.model = @MlpClassifier()
Experiment.encoder = @WordEncoder()
Vocabulary.max_size = 1000
WordEncoder.max_length = 40
MlpClassifier.embedding_size = 8
MlpClassifier.pooling = 'mean'
MlpClassifier.dense_units = (8,)
MlpClassifier.dropout = 0.3
Buckets.count = 2
Buckets.multiple_of = 1
Buckets.tokens_per_batch = 1500
ConstantSchedule.learning_rate = 0.01
Training.average_decay = 0.9
Training.length = '120 steps'
Training.log_every = '1 steps'
Validation.every = '60 steps'
Checkpointing.every = '2 steps'
Experiment.export = False
Experiment.report = None
"""
KILLS = 10
SEED = 2026


@pytest.fixture(scope="module")
def runs(tmp_path_factory, cache) -> Program:
    return Program(tmp_path_factory.mktemp("runs"), cache, CHEAP)


@pytest.fixture(scope="module")
def undisturbed(runs) -> str:
    """The digest of the final weights of two workers that were never stopped."""
    workers = Workers(runs, "undisturbed", 2)
    assert workers.wait() == [0, 0], workers.logs()
    return runs.results("undisturbed")["weights_sha256"]


def begun_and_logged(runs: Program, starts: int, step: int):
    """A condition: training has begun so many times, and the metrics of a step are written.

    The processes before may have come past that step while they were killed.
    """
    logged, begins = runs.has_logged("killed", step), (" (from the start)", " (goes on after step")
    return lambda: logged() and sum(map(runs.log("killed.0").count, begins)) >= starts


def assert_undisturbed(runs: Program, run: str, digest: str) -> None:
    """Goes on with a run, to the end, with the numbers of the one that was not stopped."""
    workers = Workers(runs, run, 2)
    assert workers.wait() == [0, 0], workers.logs()
    assert runs.results(run)["weights_sha256"] == digest
    assert runs.metrics(run) == runs.metrics("undisturbed")
    calibration = runs.results(run)["calibration"]
    assert calibration == runs.results("undisturbed")["calibration"]
    assert "none_because" not in calibration


def test_ten_kills_in_a_row_and_the_same_command_give_the_same_weights(runs, undisturbed):
    chosen = random.Random(SEED)
    for number in range(KILLS):
        victim, step = chosen.randrange(2), 10 * number + chosen.randint(1, 8)
        print(f"kill {number}: worker {victim} after step {step}")
        workers = Workers(runs, "killed", 2)
        wait_until(begun_and_logged(runs, number + 1, step), workers)
        killed, left = workers.processes[victim], workers.processes[1 - victim]
        killed.kill()
        assert killed.wait() == -signal.SIGKILL
        assert left.wait(40) == 75, workers.logs()
        message = workers.log(1 - victim).splitlines()[-1]
        assert re.match(rf"error: worker {victim} \(127\.0\.0\.1:\d+\) ", message), workers.logs()
    assert_undisturbed(runs, "killed", undisturbed)
    assert runs.log("killed.0").count("goes on after step") >= KILLS - 1


@pytest.mark.parametrize(("run", "step"), [("asked", 20), ("asked_in_evaluation", 60)])
def test_sigterm_to_one_that_is_not_the_chief_stops_all_at_one_step(runs, undisturbed, run, step):
    workers = Workers(runs, run, 2)
    wait_until(runs.has_logged(run, step), workers)
    workers.processes[1].terminate()
    assert workers.wait(40) == [75, 75], workers.logs()
    saved = int(workers.log(0).split("saved at step ")[1].split()[0])
    assert step <= saved < 120
    assert_undisturbed(runs, run, undisturbed)
    assert f"goes on after step {saved}" in workers.log(0)
