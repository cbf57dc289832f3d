"""Killed at any moment and started again, a run ends with the weights of an undisturbed one."""

from __future__ import annotations

import signal

import pytest
from program import SMALL, Program, wait_until

# Everything that a checkpoint must hold: dropout, averages, accumulation, momentum, the best, and
# layers that are frozen at first. Without XLA, which would compile the same loops in every process.
STATEFUL = (
    SMALL
    + """
Runtime.xla = 'off'
RecurrentClassifier.dropout = 0.3
RecurrentClassifier.embedding_dropout = 0.2
Training.average_decay = 0.9
Training.accumulate_batches = 2
Experiment.optimizer = @Nadam()
Experiment.groups = (@late/ParameterGroup(),)
late/ParameterGroup.variables = ('embedding/*', 'gru_1/*')
late/ParameterGroup.learning_rate = 1e-3
late/ParameterGroup.starts = '9 steps'
late/ParameterGroup.warmup = '5 steps'
"""
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory, cache) -> Program:
    return Program(tmp_path_factory.mktemp("runs"), cache, STATEFUL)


@pytest.fixture(scope="module")
def undisturbed(runs) -> str:
    """The digest of the final weights of a run that was never stopped, in a cold process: the
    others are warm, share its `hash()` seed with none, and still must end with these weights."""
    assert runs.finish_cold("undisturbed") == 0, runs.log("undisturbed")
    return runs.results("undisturbed")["weights_sha256"]


def is_saving(runs: Program, run: str, from_step: int):
    """A condition: a checkpoint directory is there that has no manifest yet."""
    folder = runs.folder / run / "checkpoints"

    def condition():
        for path in folder.glob("step-*") if folder.exists() else ():
            if int(path.name[5:]) >= from_step and not (path / "manifest.json").exists():
                return True
        return False

    return condition


@pytest.mark.parametrize(
    ("run", "moments"),
    [
        ("mid_epoch", [lambda r: r.has_logged("mid_epoch", 8)]),
        ("saving", [lambda r: is_saving(r, "saving", 6)]),
        ("evaluating", [lambda r: r.has_logged("evaluating", 10)]),
        (
            "twice",
            [lambda r: r.has_logged("twice", 5), lambda r: is_saving(r, "twice", 12)],
        ),
    ],
)
def test_sigkill_then_the_same_command_gives_the_same_weights(runs, undisturbed, run, moments):
    for moment in moments:
        process = runs.start(run)
        wait_until(moment(runs), process)
        process.kill()
        assert process.wait() == -signal.SIGKILL
    assert runs.finish(run) == 0, runs.log(run)
    assert runs.log(run).count("goes on after step") == len(moments)
    assert runs.results(run)["weights_sha256"] == undisturbed
    assert runs.metrics(run) == runs.metrics("undisturbed")


@pytest.mark.parametrize(("run", "step"), [("asked", 8), ("asked_in_evaluation", 10)])
def test_sigterm_saves_at_once_and_says_resume_me(runs, undisturbed, run, step):
    process = runs.start(run)
    wait_until(runs.has_logged(run, step), process)
    process.terminate()
    assert process.wait(timeout=60) == 75
    assert "The same command goes on from there." in runs.log(run)
    assert runs.finish(run) == 0, runs.log(run)
    saved = int(runs.log(run).split("saved at step ")[1].split()[0])
    assert saved >= step
    assert f"goes on after step {saved}" in runs.log(run)
    assert runs.results(run)["weights_sha256"] == undisturbed


def test_sigkill_while_exporting_then_the_same_command_exports(runs, undisturbed):
    folder, flag = runs.folder / "exporting", "--gin_bindings=Experiment.export = True"
    process = runs.start("exporting", flag)
    wait_until(lambda: (folder / "saved_model.partial").exists(), process)
    process.kill()
    process.wait()
    assert not (folder / "saved_model").exists()
    assert runs.finish("exporting", flag) == 0, runs.log("exporting")
    assert runs.results("exporting")["weights_sha256"] == undisturbed
    assert (folder / "saved_model" / "saved_model.pb").exists()
    assert not (folder / "saved_model.partial").exists()


def test_a_damaged_newest_checkpoint_is_passed_over(runs, undisturbed):
    process = runs.start("damaged")
    wait_until(runs.has_logged("damaged", 8), process)
    process.terminate()
    process.wait(timeout=60)
    newest = sorted((runs.folder / "damaged" / "checkpoints").glob("step-*"))[-1]
    content = bytearray((newest / "variables.safetensors").read_bytes())
    content[len(content) // 2] ^= 1
    (newest / "variables.safetensors").write_bytes(content)
    assert runs.finish("damaged") == 0, runs.log("damaged")
    assert f"{newest} is damaged" in runs.log("damaged")
    assert runs.results("damaged")["weights_sha256"] == undisturbed


def test_a_changed_vocabulary_is_refused(runs, undisturbed):
    vocabulary = runs.folder / "undisturbed" / "vocabulary.txt"
    original = vocabulary.read_text()
    words = original.splitlines()
    words[2], words[3] = words[3], words[2]
    vocabulary.write_text("\n".join(words) + "\n")
    assert runs.finish("undisturbed", "--mode=export") == 5
    assert "is not the one that the checkpoints were trained with" in runs.log("undisturbed")
    vocabulary.write_text(original)
