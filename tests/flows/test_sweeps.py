"""A sweep of real processes: interrupted, gone on with, and told with a run that diverged."""

from __future__ import annotations

import json
import subprocess
import sys

from program import environment, wait_until

GRID = "learning_rate=0.01,1e38"
DIVERGING = [
    "Experiment.optimizer = @Sgd()",
    "CosineSchedule.warmup = '120 steps'",
    "Training.clip_norm = None",
    "Training.length = '120 steps'",
]
CHEAP = ["Validation.every = '60 steps'", "Checkpointing.every = '60 steps'"]


def start(program) -> subprocess.Popen:
    flags = [f"--gin_file={program.gin_file}", f"--grid={GRID}", f"--cache_dir={program.cache}"]
    flags += [f"--gin_bindings={binding}" for binding in DIVERGING + CHEAP]
    with (program.folder / "sweep.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "sentiment_train.sweep", *flags, "--sweep_dir=sweep"],
            env=environment(),
            cwd=program.folder,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def test_an_interrupted_sweep_goes_on_and_tells_of_the_run_that_diverged(program):
    folder = program.folder / "sweep"
    first, second = folder / "learning_rate=0.01", folder / "learning_rate=1e38"
    sweep = start(program)
    wait_until((first / "metrics.jsonl").exists, sweep)
    sweep.terminate()
    assert sweep.wait(timeout=60) == 75, program.log("sweep")
    assert "0 of 2 runs are done. The same command goes on" in program.log("sweep")
    assert "saved at step" in (folder / "learning_rate=0.01.log").read_text()
    assert not second.exists()

    assert start(program).wait(timeout=240) == 1, program.log("sweep")
    assert "goes on after step" in (folder / "learning_rate=0.01.log").read_text()
    assert json.loads((first / "status.json").read_text())["status"] == "done"
    assert json.loads((second / "status.json").read_text())["status"] == "diverged"
    assert "learning_rate=1e38 (diverged): Step " in program.log("sweep")
    assert "Traceback" not in program.log("sweep")
    accuracy = json.loads((first / "results.json").read_text())["validation"]["accuracy"]
    table = (folder / "sweep.md").read_text()
    assert f"| 0.01 | 1 | {accuracy:.4f} |" in table
    assert "| 1e38 | 0 of 1 | — | — | — | — | 1 diverged |" in table
