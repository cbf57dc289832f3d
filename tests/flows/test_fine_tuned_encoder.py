"""A SavedModel in the manner of USE v4, trained on real tweets as if it were any other model."""

from __future__ import annotations

import signal

import numpy as np
import pytest
from program import ROOT, Program

from sentiment_train import config, jobs, predict
from sentiment_train.experiment import Experiment
from sentiment_train.run import Run
from sentiment_train.run_directory import RunDirectory
from sentiment_train.training.loop import Loop

FINE_TUNED = """
include 'runtime/auto.gin'
include 'data/airline.gin'
include 'model/sentence_encoder.gin'
SentenceEncoderClassifier.encoder = @HubEncoder()
SentenceEncoderClassifier.mode = 'fine_tune'
SentenceEncoderClassifier.encoder_learning_rate = 1e-3
SentenceEncoderClassifier.encoder_warmup = '2 steps'
SentenceEncoderClassifier.dense_units = (8,)
HubEncoder.handle = '{handle}'
Experiment.optimizer = @Nadam()
Splits.max_examples = 200
Buckets.batch_size = 32
Buckets.count = 2
Training.length = '10 steps'
Training.log_every = '1 steps'
Validation.every = '5 steps'
Validation.best_by = None
Checkpointing.every = '2 steps'
Experiment.report = None
Experiment.export = False
"""


@pytest.fixture(scope="module", autouse=True)
def the_handlers_of_pytest():
    """A run installs its own for Ctrl-C, which must end pytest again."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def pretrained(tf, tmp_path_factory) -> tuple[str, dict[str, np.ndarray]]:
    """Where the encoder is, and its variables by their names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "tests" / "hub"))
        from small_models import Hashed

    path, module = str(tmp_path_factory.mktemp("encoder") / "hashed"), Hashed()
    tf.saved_model.save(module, path)
    names = [v.name.partition(":")[0].replace("/", ".") for v in module.variables]
    return path, {name: v.numpy() for name, v in zip(names, module.variables, strict=True)}


@pytest.fixture(scope="module")
def program(tmp_path_factory, cache, pretrained) -> Program:
    folder = tmp_path_factory.mktemp("runs")
    return Program(folder, cache, FINE_TUNED.format(handle=pretrained[0]))


@pytest.fixture(scope="module")
def trained(tf, program):
    """Trains in this process and gives the `Run`; what it wrote is in `program`."""

    def train(name: str, *bindings: str) -> Run:
        runs = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(jobs, "Run", lambda *given: runs.append(Run(*given)) or runs[-1])
            experiment = config.make(Experiment, config.parse([str(program.gin_file)], bindings))
            jobs.train(experiment, RunDirectory(str(program.folder / name)), str(program.cache))
        return runs[0]

    return train


@pytest.fixture(scope="module")
def plain(trained) -> Run:
    return trained("plain", "Runtime.xla = 'off'", "Experiment.export = True")


def test_ten_steps_move_every_variable_and_the_export_has_the_moved_ones(
    plain, program, pretrained
):
    weights = {w.path: w.numpy() for w in plain.assembly.model.trainable_variables}
    model = predict.load(str(program.folder / "plain" / "saved_model")).model
    variables = model.signatures["serving_default"].variables
    exported = {v.name.partition(":")[0]: v.numpy() for v in variables}
    for name, before in pretrained[1].items():
        after = weights.pop(f"encoder/{name}")
        assert 1e-5 < np.abs(after - before).max() < 0.1, name
        np.testing.assert_array_equal(exported[f"encoder/{name}"], after)
    assert weights.keys() == {f"{d}/{k}" for d in ("dense_1", "logits") for k in ("kernel", "bias")}


def test_the_summary_counts_them(plain, program, pretrained, capsys):
    from sentiment_train import overview

    of_encoder = sum(value.size for value in pretrained[1].values())
    assert program.results("plain")["parameters"] == of_encoder + (6 * 8 + 8) + (8 * 3 + 3)
    overview.print_model(plain.assembly)
    assert f"encoder {of_encoder:,}" in capsys.readouterr().out


def test_every_bucket_compiles_once_and_the_losses_are_those_without_xla(trained, plain, program):
    compiled = trained("compiled", "Runtime.xla = 'on'")
    used = {batch.length for epoch in range(3) for batch in compiled.assembly.feeding.order(epoch)}
    assert len(used) == 2
    assert compiled.step._forward_backward.experimental_get_tracing_count() == len(used)
    agree(program, "compiled", 1e-4)


def test_two_replicas_train_as_one(trained, plain, program):
    trained("replicas", "Runtime.xla = 'off'", "Runtime.logical_cpus = 2")
    assert program.results("replicas")["replicas"] == 2
    agree(program, "replicas", 1e-5)


def agree(program: Program, run: str, tolerance: float) -> None:
    expected, found = program.metrics("plain"), program.metrics(run)
    assert found.keys() == expected.keys()
    for point, value in found.items():
        assert value == pytest.approx(expected[point], rel=tolerance, abs=1e-6), point


class Killed(BaseException):
    """Nothing catches it, so nothing is saved."""


def test_a_killed_run_goes_on_with_the_weights_of_the_encoder(trained, plain, program):
    """That a process may be killed at any moment is tested elsewhere, with a smaller model."""
    steps, update = [], Loop._update

    def killed(loop, *given):
        steps.append(given)
        if len(steps) == 6:
            raise Killed
        return update(loop, *given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loop, "_update", killed)
        with pytest.raises(Killed):
            trained("killed", "Runtime.xla = 'off'")
    checkpoints = sorted((program.folder / "killed" / "checkpoints").glob("step-*"))
    assert int(checkpoints[-1].name[5:]) == 4
    trained("killed", "Runtime.xla = 'off'")
    agree(program, "killed", 1e-6)
    found, expected = program.results("killed"), program.results("plain")
    assert found["weights_sha256"] == expected["weights_sha256"]
