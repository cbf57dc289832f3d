"""What `--mode` asks for: train, evaluate, export, or only say what would happen."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shlex
import sys
import time

import gin

from sentiment_train import overview
from sentiment_train.assembly import Assembly
from sentiment_train.beginning import SEEN_SECONDS
from sentiment_train.config import bindings_of, differing_bindings
from sentiment_train.errors import RunError
from sentiment_train.experiment import Experiment
from sentiment_train.outcome import Outcome
from sentiment_train.run import Run
from sentiment_train.run_directory import RunDirectory
from sentiment_train.runtime import together
from sentiment_train.runtime.hello import versions
from sentiment_train.runtime.peers import Peers, agree
from sentiment_train.runtime.runtime import decide

# What may differ between the workers of a run.
_OF_A_WORKER = re.compile(r"(.*/)?Runtime\.(strategy|gpus|wait_for_workers)$")


def peers_of(experiment: Experiment, mode: str) -> Peers:
    """Meets the other workers, if the environment names some; see `runtime.together`."""
    bindings = bindings_of(f"{gin.operative_config_str()}\n{gin.config_str()}")
    same = {
        "version": versions(),
        "mode": mode,
        "configuration": {k: v for k, v in bindings.items() if not _OF_A_WORKER.match(k)},
    }
    runtime = experiment.runtime
    return together.peers_of(runtime.strategy, runtime.wait_for_workers, same)


def _assembled(experiment: Experiment, cache: str, peers: Peers | None) -> Assembly:
    return Assembly(experiment, cache, decide(experiment.runtime, peers))


def dry_run(
    experiment: Experiment, directory: RunDirectory, cache: str, peers: Peers | None = None
) -> None:
    """Builds and prints everything; trains nothing, makes no weights from the texts and no run
    directory."""
    assembly = _assembled(experiment, cache, peers)
    if assembly.is_chief:
        print(gin.operative_config_str())
    overview.print_all(assembly, with_table=True)
    run = Run(assembly, directory)  # schedule, optimizer and class weights fit the data
    if assembly.peers.gather(directory.status)[0] == "new":  # as the chief sees it
        run.rehearse()
    configs = gin.config_str(), gin.operative_config_str()
    if directory.is_protected and directory.differences(*configs, differing_bindings):
        assembly.console.say("warning", "the run directory has another configuration; training in"
                             " it would be refused")  # fmt: skip
    assembly.console.say("run", f"{directory.path} ({directory.status}); nothing was trained")


def train(
    experiment: Experiment, directory: RunDirectory, cache: str, peers: Peers | None = None
) -> None:
    """Trains, or goes on, until the run is done: results, SavedModel, status.

    Raises:
      Interrupted: after a signal; the run has been saved.
      DivergedError: at a loss that is not finite.
    """
    started = time.monotonic()
    assembly = _assembled(experiment, cache, peers)
    with _claimed(assembly, directory):
        if assembly.peers.gather(directory.status)[0] != "done":  # as the chief sees it
            Run(assembly, directory, started).train()
        _say_done(assembly, directory)


def evaluate(
    experiment: Experiment, directory: RunDirectory, cache: str, peers: Peers | None = None
) -> None:
    """Evaluates the best checkpoint of a run on all splits but training → evaluation.json."""
    _require_run(directory)
    assembly = _assembled(experiment, cache, peers)
    with _claimed(assembly, directory):
        run = Run(assembly, directory)
        assembly.should_stop.listen()
        with run.best_weights() as checkpoint:
            metrics = Outcome(assembly, directory).measure()
        if assembly.is_chief:
            step = checkpoint.state.step
            directory.write_json("evaluation.json", {**metrics, "step": step})
            assembly.console.say("written", f"{directory.file('evaluation.json')} (step {step:,})")


def export(
    experiment: Experiment, directory: RunDirectory, cache: str, peers: Peers | None = None
) -> None:
    """Writes the SavedModel of the best checkpoint of a run."""
    experiment.check_export()
    _require_run(directory)
    assembly = _assembled(experiment, cache, peers)
    with _claimed(assembly, directory):
        run = Run(assembly, directory)
        assembly.should_stop.listen()
        with run.best_weights() as checkpoint:
            Outcome(assembly, directory).export()
        step = checkpoint.state.step
        assembly.console.say("written", f"{directory.file('saved_model')} (step {step:,})")


def _require_run(directory: RunDirectory) -> None:
    if directory.status == "new":
        raise RunError(f"{directory.path} is no run. Train it first, or name one by --model_dir.")


@contextlib.contextmanager
def _claimed(assembly: Assembly, directory: RunDirectory):
    """Holds the directory for the parsed configuration; the chief does so for all workers.

    Raises:
      RunError: if the chief may not have the directory, or not all workers see the same one; that
        ends the other workers, too.
    """
    # Only the chief looks. A file that was missed once stays missing for a while on NFS.
    status = directory.status if assembly.is_chief else None
    if assembly.peers.gather(status)[0] == "new":
        _ = assembly.data  # data that cannot be read leave no run directory behind
    with contextlib.ExitStack() as held:
        if assembly.is_chief:
            held.enter_context(directory.locked())
            given, operative = gin.config_str(), gin.operative_config_str()
            directory.claim(given, operative, differing_bindings)
        _check_that_all_see_it(assembly, directory)
        yield


def _check_that_all_see_it(assembly: Assembly, directory: RunDirectory) -> None:
    """Waits until the chief has the directory and the others see what it wrote there.

    Raises:
      RunError: on every worker, if one of them does not.
    """

    def seen() -> str:
        return hashlib.sha256((directory.read("config.gin") or "").encode()).hexdigest()

    wanted = assembly.peers.gather(seen() if assembly.is_chief else None)[0]
    deadline = time.monotonic() + SEEN_SECONDS
    while (found := seen()) != wanted and time.monotonic() < deadline:
        time.sleep(1)
    how = "All need the same --model_dir, on a file system that they share."
    agree(assembly.peers, "run directories", found, how, RunError)


def _say_done(assembly: Assembly, directory: RunDirectory) -> None:
    """Where everything is, and what can be done with it; the chief says so."""
    import tensorflow as tf

    if not assembly.is_chief:
        return
    say = assembly.console.say
    results = json.loads(directory.read("results.json") or "{}")
    if not results:
        raise RunError(f"{directory.path} is done, but its results.json is gone.")
    python = os.path.relpath(sys.executable) if "://" not in directory.path else "python"
    if python.startswith(".." + os.sep):
        python = sys.executable
    _say_metrics(assembly, results)
    seconds = results["train_seconds"]
    say(
        "speed",
        f"{seconds:,.{0 if seconds >= 10 else 1}f} s in training steps,"
        f" {results['examples_per_second']:,.0f} examples/s{_costs(results)}",
    )
    say("run", f"{directory.path} (done); all numbers in {directory.file('results.json')}")
    if directory.read("report.html") is not None:
        say("report", directory.file("report.html"))
    logs, model = map(shlex.quote, map(directory.file, ("tensorboard", "saved_model")))
    say("look", f"{python} -m tensorboard.main --logdir {logs}")
    if tf.io.gfile.exists(directory.file("saved_model/saved_model.pb")):
        label = "classify" if assembly.experiment.loss.predicts == "labels" else "score"
        predict = f"{python} -m sentiment_train.predict"
        say(label, f'{predict} --saved_model={model} --text="I loved every minute."')


def _costs(results: dict) -> str:
    """What else it cost, as the end of a line; nothing of a run that an earlier version began."""
    if results.get("first_step_seconds") is None:
        return ""
    return (
        f", {results['input_wait']:.1%} of the time waiting for input; first step after"
        f" {results['first_step_seconds']:.1f} s, at most"
        f" {results['peak_memory_bytes'] / 1e9:.1f} GB of memory"
    )


def _say_metrics(assembly: Assembly, results: dict) -> None:
    """How good the kept weights are, and how that compares."""
    say = assembly.console.say
    split = next((name for name in ("test", "validation") if name in results), None)
    if split is None:
        return
    found = results[split]
    where = f"on {found['examples']:,} {split} examples"
    if "perplexity" in found:
        say("perplexity", f"{found['perplexity']:.2f} {where}")
        return
    interval = ""
    if "details" in results:  # a run of version 0.1 has none
        low, high = results["details"][split]["accuracy_interval"]
        interval = f" (95%: {low:.4f} to {high:.4f})"
    several = len(results["classes"]) > 2
    macro_f1 = f", macro-F1 {found['macro_f1']:.4f}" if several else ""
    say("accuracy", f"{found['accuracy']:.4f}{interval} {where}{macro_f1}")
    if baseline := results.get("baseline"):
        none = f"none — {baseline.get('none_because')}"
        say("baseline", baseline.get("sentence", none))
