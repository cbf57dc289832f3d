"""What `--mode` asks for: train, evaluate, export, or only say what would happen."""

from __future__ import annotations

import contextlib
import json
import os
import sys

import gin

from sentiment_train import overview
from sentiment_train.config import differing_bindings
from sentiment_train.errors import RunError
from sentiment_train.experiment import Assembly, Experiment
from sentiment_train.run import Run
from sentiment_train.run_directory import RunDirectory


def dry_run(experiment: Experiment, directory: RunDirectory, cache: str) -> None:
    """Builds and prints everything; trains nothing and makes no run directory."""
    print(gin.operative_config_str())
    assembly = Assembly(experiment, cache)
    overview.print_all(assembly, with_table=True)
    assembly.console.say("run", f"{directory.path} ({directory.status}); nothing was trained")


def train(experiment: Experiment, directory: RunDirectory, cache: str) -> None:
    """Trains, or goes on, until the run is done: results, SavedModel, status.

    Raises:
      Interrupted: after a signal; the run has been saved.
      DivergedError: at a loss that is not finite.
    """
    assembly = Assembly(experiment, cache)
    assembly.should_stop.listen()
    with directory.locked() if assembly.is_chief else contextlib.nullcontext():
        if assembly.is_chief:
            _claim(directory)
        if directory.status == "done":
            _say_done(assembly, directory)
            return
        Run(assembly, directory).train()
        _say_done(assembly, directory)


def evaluate(experiment: Experiment, directory: RunDirectory, cache: str) -> None:
    """Evaluates the best checkpoint of a run on all splits but training → evaluation.json."""
    assembly = Assembly(experiment, cache)
    with directory.locked():
        _claim(directory)
        run = Run(assembly, directory)
        with run.best_weights() as state:
            metrics = run.evaluate_splits()
        directory.write_json("evaluation.json", {**metrics, "step": state.step})
        assembly.console.say("written", directory.file("evaluation.json"))


def export(experiment: Experiment, directory: RunDirectory, cache: str) -> None:
    """Writes the SavedModel of the best checkpoint of a run."""
    assembly = Assembly(experiment, cache)
    with directory.locked():
        _claim(directory)
        run = Run(assembly, directory)
        with run.best_weights():
            run.export()


def _claim(directory: RunDirectory) -> None:
    """Makes the directory that of the parsed configuration; refuses one of another."""
    directory.claim(gin.config_str(), gin.operative_config_str(), differing_bindings)


def _say_done(assembly: Assembly, directory: RunDirectory) -> None:
    """Where everything is, and what can be done with it."""
    say = assembly.console.say
    results = json.loads(directory.read("results.json") or "{}")
    if not results:
        raise RunError(f"{directory.path} is done, but its results.json is gone.")
    python = os.path.relpath(sys.executable) if "://" not in directory.path else "python"
    if python.startswith(".." + os.sep):
        python = sys.executable
    saved_model = directory.file("saved_model")
    test = results.get("test") or results.get("validation") or {}
    if test:
        say("accuracy", f"{test['accuracy']:.4f} on {test['examples']:,} test examples")
    say(
        "speed",
        f"{results['train_seconds']:.0f} s of training,"
        f" {results['examples_per_second']:.0f} examples/s",
    )
    say("run", f"{directory.path} (done); all numbers in {directory.file('results.json')}")
    say("look", f"{python} -m tensorboard.main --logdir {directory.file('tensorboard')}")
    say(
        "classify",
        f'{python} -m sentiment_train.predict --saved_model={saved_model} --text="I loved it."',
    )
