"""A run directory belongs to one configuration and one process, and knows when it is done."""

from __future__ import annotations

import json
import resource
import subprocess

from program import environment, wait_until


def test_a_run_from_start_to_end_and_again(program):
    assert program.finish("run") == 0, program.log("run")
    folder = program.folder / "run"
    results = program.results("run")
    assert results["test"]["examples"] == 852
    assert results["steps"] == 24
    assert {"accuracy", "loss"} <= results["test"].keys()
    assert results["validation"]["accuracy"] >= 0
    assert results["train_seconds"] > 0
    assert results["examples_per_second"] > 0
    assert results["parameters"] > 0
    assert len(results["weights_sha256"]) == 64
    assert json.loads((folder / "status.json").read_text())["status"] == "done"
    assert (folder / "operative.gin").exists()
    assert "accuracy" in program.log("run")

    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.name != ".lock"}
    assert program.finish("run") == 0  # finished: says so, changes nothing
    assert "(done)" in program.log("run").rsplit("speed", 1)[1]
    after = {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.name != ".lock"}
    assert after == before

    flag = "--gin_bindings=CosineSchedule.learning_rate = 0.5"
    assert program.finish("run", flag) == 4
    assert "CosineSchedule.learning_rate: 0.01 there, 0.5 now" in program.log("run")

    # config.gin alone reproduces the run.
    program.gin_file = folder / "config.gin"
    assert program.finish_cold("again") == 0, program.log("again")
    assert program.results("again")["weights_sha256"] == results["weights_sha256"]


def test_a_second_process_is_refused(program):
    first = program.start("run", "--gin_bindings=Training.length = '2000 steps'")
    wait_until(lambda: "step       1/" in program.log("run"), first)
    second = program.finish("run", "--gin_bindings=Training.length = '2000 steps'")
    first.kill()
    first.wait()
    assert second == 4
    assert "is in use by another process" in program.log("run")


def test_a_full_disk_ends_with_one_message_and_loses_nothing(program):
    def small_files():  # no file above 20 kB: what a full disk looks like from inside
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    assert program.finish("fill_cache_first", "--gin_bindings=Training.length = '1 steps'") == 0
    result = subprocess.run(
        program.command("run"),
        preexec_fn=small_files,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 4, result.stderr
    assert "Cannot write the checkpoint" in result.stderr
    assert "Traceback" not in result.stderr
    assert program.finish("run") == 0, program.log("run")


def test_a_diverging_run_stops_names_the_step_and_keeps_the_last_good_checkpoint(program):
    flags = [
        "--gin_bindings=Experiment.optimizer = @Sgd()",
        "--gin_bindings=CosineSchedule.learning_rate = 1e38",
        "--gin_bindings=CosineSchedule.warmup = '24 steps'",
        "--gin_bindings=Training.clip_norm = None",
        "--gin_bindings=Checkpointing.every = '1 steps'",
    ]
    assert program.finish("run", *flags) == 6, program.log("run")
    status = json.loads((program.folder / "run" / "status.json").read_text())
    assert status["status"] == "diverged"
    assert "Traceback" not in program.log("run")
    named = int(program.log("run").split("error: Step ")[1].split(":")[0])
    saved = [int(p.name[5:]) for p in (program.folder / "run" / "checkpoints").glob("step-*")]
    assert all(step < named for step in saved)


def test_a_configuration_may_be_mended_until_something_was_saved(program):
    wrong = "--gin_bindings=Experiment.loss = @CrossEntropy()"
    classes = "--gin_bindings=CrossEntropy.class_weights = {'pos': 1.0, 'negative': 1.0}"
    assert program.finish("run", wrong, classes) == 2, program.log("run")
    assert "must name exactly the classes ['negative', 'positive']" in program.log("run")
    assert program.finish("run", "--gin_bindings=Training.length = '1 steps'") == 0
    assert program.finish("run", "--gin_bindings=Training.length = '2 steps'") == 4
