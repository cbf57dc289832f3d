"""Experiments with a wide and a deep model, assembled and trained in this process."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal

import keras
import numpy as np
import pytest

from sentiment_train import config, jobs, predict
from sentiment_train.assembly import Assembly
from sentiment_train.errors import CheckpointError, Interrupted
from sentiment_train.experiment import Experiment
from sentiment_train.reports.writers import MetricWriter
from sentiment_train.run import Run
from sentiment_train.run_directory import RunDirectory
from sentiment_train.schema import TrainingExamples

SMALL = [
    "Experiment.source = @PackagedReviews()",
    "PackagedReviews.subset = 'rotten_tomatoes'",
    "Experiment.model = @WideAndDeep()",
    "WideAndDeep.deep = @GatedConvolutionClassifier()",
    "WideAndDeep.wide = @NGrams()",
    "GatedConvolutionClassifier.embedding_size = 4",
    "GatedConvolutionClassifier.units = (4,)",
    "GatedConvolutionClassifier.dropout = 0.0",  # which differs between replicas
    "NGramEncoder.least_texts = 1",
    "Splits.max_examples = 320",
    "Buckets.count = 1",
    "Buckets.batch_size = 128",
    "Runtime.seed = 3",  # the batches of both epochs in the order of two steps in a call
    "Training.length = '2 epochs'",
    "Training.average_decay = 0.9",
    "Experiment.report = None",
]
TEXTS = ["a good film", "a bad film", "", "nothing much, and too long by half an hour"]


def make(*bindings: str) -> Experiment:
    return config.make(Experiment, config.parse([], [*SMALL, *bindings]))


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> str:
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def assemble(cache):
    return lambda *bindings: Assembly(make(*bindings), cache)


@pytest.fixture(scope="module")
def run(tmp_path_factory, cache) -> RunDirectory:
    """A finished one."""
    directory = RunDirectory(str(tmp_path_factory.mktemp("run")))
    jobs.train(make(), directory, cache)
    return directory


def kernel_of(assembly: Assembly) -> np.ndarray:
    """`[n-grams, outputs]` of the wide part."""
    return assembly.model.get_layer("wide").kernel.numpy()


def begun(assembly, path) -> Assembly:
    """With the weights that a run starts from."""
    Run(assembly, RunDirectory(str(path))).initialise()
    return assembly


@pytest.fixture(scope="module")
def fresh(assemble, tmp_path_factory) -> Assembly:
    return begun(assemble(), tmp_path_factory.mktemp("fresh"))


def logits_kept(assembly: Assembly, run: RunDirectory) -> np.ndarray:
    """What the weights that a run keeps say of `TEXTS`, calibrated."""
    with Run(assembly, run).best_weights():
        logits = assembly.logits_of_texts([text.encode() for text in TEXTS])
    return logits / json.loads(run.read("results.json"))["calibration"]["temperature"]


def test_what_is_exported_answers_as_the_weights_of_the_run_do(run, assemble):
    logits = logits_kept(assemble(), run)[:, 0]
    found = [answer["probabilities"][1] for answer in predict.load(run.file("saved_model"))(TEXTS)]
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-logits)), atol=1e-5)


def test_three_classes_are_trained_exported_and_told(cache, tmp_path):
    without = [b for b in SMALL if "PackagedReviews" not in b]
    tweets = ["Experiment.source = @PackagedTweets()", "Training.length = '1 epoch'"]
    experiment = config.make(Experiment, config.parse([], [*without, *tweets]))
    run = RunDirectory(str(tmp_path))
    jobs.train(experiment, run, cache)
    assembly = Assembly(experiment, cache)
    odds = np.exp(logits_kept(assembly, run))
    assert (np.count_nonzero(kernel_of(assembly), axis=0) > 1000).tolist() == [True] * 3
    answers = predict.load(run.file("saved_model"))(TEXTS)
    expected = odds / odds.sum(axis=1, keepdims=True)
    np.testing.assert_allclose([a["probabilities"] for a in answers], expected, atol=1e-5)
    names = assembly.data.class_names
    assert [a["label"] for a in answers] == [names[i] for i in odds.argmax(axis=1)]


@pytest.mark.parametrize("way", ["Runtime.logical_cpus = 2", "Runtime.xla = 'on'"])
def test_two_replicas_and_compiled_steps_two_in_a_call_give_the_numbers_of_one(
    run, assemble, cache, tmp_path, way
):
    bindings = [way, "Training.steps_per_call = 2"]
    orders = [
        [batch.rows.tolist() for epoch in range(2) for batch in a.feeding.order(epoch)]
        for a in (assemble(), assemble(*bindings))
    ]
    assert orders[0] == orders[1]
    assert len(orders[0]) == 4
    other = RunDirectory(str(tmp_path))
    jobs.train(make(*bindings, "Experiment.export = False"), other, cache)
    lines, expected = (
        [json.loads(line) for line in r.read("metrics.jsonl").splitlines()] for r in (other, run)
    )
    for found, wanted in zip(lines, expected, strict=True):
        compared = [name for name in wanted if name.endswith(("loss", "accuracy", "norm"))]
        assert len(compared) > 1
        for name in compared:
            assert found[name] == pytest.approx(wanted[name], rel=1e-4), name
    assert json.loads(other.read("results.json"))["traces"] == 3  # of a call, its loop, a step
    logits = logits_kept(assemble(*bindings), other), logits_kept(assemble(), run)
    np.testing.assert_allclose(*logits, rtol=1e-4, atol=1e-5)


def test_the_ngrams_remain_as_they_were_fitted_and_the_network_learns(run, fresh, cache):
    assembly = Assembly(make(), cache)
    with Run(assembly, run).best_weights():
        trained = {w.path: w.numpy() for w in assembly.model.weights}
    for weight in fresh.model.weights:
        same = np.array_equal(trained[weight.path], weight.numpy())
        fitted = weight.path.startswith("wide/") and weight.path != "wide/bias"
        assert same == fitted, weight.path
    assert np.count_nonzero(trained["wide/kernel"]) > 1000


def test_a_run_that_was_stopped_and_goes_on_is_the_undisturbed_one(cache, tmp_path, monkeypatch):
    """With random numbers in each step, and batches of two shapes."""
    bindings = [
        "GatedConvolutionClassifier.embedding_dropout = 0.3",
        "GatedConvolutionClassifier.dropout = 0.2",
        "Buckets.count = 2",
        "Experiment.export = False",
    ]
    run, directory = (RunDirectory(str(tmp_path / name)) for name in ("run", "stopped"))
    jobs.train(make(*bindings), run, cache)
    scalars = MetricWriter.scalars

    def stop_after_the_first_epoch(writer, step, values):
        scalars(writer, step, values)
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(MetricWriter, "scalars", stop_after_the_first_epoch)
        with pytest.raises(Interrupted, match="saved at step"):
            jobs.train(make(*bindings), directory, cache)
    (tmp_path / "stopped" / "ngrams.npy").unlink()  # what is missing is written again
    jobs.train(make(*bindings), directory, cache)
    first, second = (tmp_path / name / "ngrams.npy" for name in ("run", "stopped"))
    assert first.read_bytes() == second.read_bytes()
    found, expected = (json.loads(r.read("results.json")) for r in (directory, run))
    for name in ("weights_sha256", "test", "validation", "steps", "best_step"):
        assert found[name] == expected[name], name


def test_batches_that_are_read_together_are_checked_as_all_others(assemble):
    assembly = assemble("Training.steps_per_call = 2")
    train = assembly.data.splits["train"]
    wrong = dataclasses.replace(train, labels=train.labels.astype(np.int64))
    assembly.data.splits["train"] = wrong
    with pytest.raises(ValueError, match=r"batch\.labels: expected int32 \(128,\), found int64"):
        next(assembly.feeding.feed(0, 0, 0, lambda: 2))


def test_weights_of_another_run_come_after_those_that_are_made_from_the_texts(
    run, assemble, fresh, tmp_path
):
    other = ["NGrams.inverse_penalty = 1.0", f"Experiment.init_from = '{run.path}'"]
    assembly = begun(assemble(*other, "Experiment.init_layers = ('embedding',)"), tmp_path)
    kernels = [kernel_of(a) for a in (assembly, fresh)]
    assert not np.array_equal(*kernels)
    wide = [*other, "Experiment.init_layers = ('wide',)"]
    np.testing.assert_array_equal(kernel_of(begun(assemble(*wide), tmp_path)), kernels[1])
    others = assemble(*wide, "NGramEncoder.orders = (1, 2)")
    with pytest.raises(CheckpointError, match="wide has a row for each n-gram, and"):
        Run(others, RunDirectory(str(tmp_path))).rehearse()
    copied = shutil.copytree(run.path, tmp_path / "copy")
    np.save(copied / "ngrams.npy", np.arange(assembly.data.encoder.size - 1))
    changed = assemble(*wide, f"Experiment.init_from = '{copied}'")
    with pytest.raises(CheckpointError, match=r"ngrams\.npy is not what the checkpoints"):
        Run(changed, RunDirectory(str(tmp_path))).rehearse()


def test_ngrams_are_fitted_to_the_loss_with_its_class_weights(assemble, fresh, tmp_path):
    """As if each text had the weight of its class."""
    weights = {"negative": 0.25, "positive": 2.0}
    bindings = ["Experiment.loss = @CrossEntropy()", f"CrossEntropy.class_weights = {weights}"]
    assembly = begun(assemble(*bindings), tmp_path)
    train, layer = assembly.data.splits["train"], fresh.model.get_layer("wide")
    of_texts = np.array([*weights.values()], np.float32)[train.labels]
    rows = assembly.trained_rows
    examples = TrainingExamples(train.tokens, train.offsets, train.labels, of_texts, rows, 2)
    (fitted,) = layer.regression.fit(examples, layer.size, [1])
    kernel = kernel_of(assembly)[:, 0]
    np.testing.assert_allclose(kernel, fitted.of_all.weights, rtol=1e-4, atol=1e-5)
    assert np.abs(kernel - kernel_of(fresh)[:, 0]).max() > 0.1


def test_a_dry_run_makes_nothing_from_the_texts(assemble, tmp_path):
    run = Run(assemble(), RunDirectory(str(tmp_path)))
    assert run.rehearse() is None
    assert not kernel_of(run.assembly).any()


def test_averages_begin_at_the_weights_that_are_made_from_the_texts(assemble, tmp_path):
    run = Run(assemble(), RunDirectory(str(tmp_path)))
    run.initialise()
    for average, weight in zip(run.step.average.averages, run.step.weights, strict=True):
        np.testing.assert_array_equal(average.numpy(), weight.numpy())
    (bias,) = (w.numpy() for w in run.step.weights if w.path == "wide/bias")
    assert bias[0] != 0.0


def test_in_bfloat16_it_answers_nearly_the_same(fresh, assemble):
    short = assemble("Runtime.precision = 'bfloat16'")
    try:
        short.model.set_weights(fresh.model.get_weights())
        texts = [text.encode() for text in TEXTS]
        found = short.logits_of_texts(texts)
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    np.testing.assert_allclose(found, fresh.logits_of_texts(texts), atol=0.02)
    layers = {layer.name: layer.compute_dtype for layer in short.model.layers}
    found = [layers[name] for name in ("convolution_1", "wide", "sum")]
    assert found == ["bfloat16", "float32", "float32"]


def test_an_answer_does_not_depend_on_the_other_texts(fresh):
    texts = [text.encode() for text in (TEXTS[0], TEXTS[-1])]
    alone = [fresh.logits_of_texts([text])[0] for text in texts]
    np.testing.assert_allclose(fresh.logits_of_texts(texts), alone, rtol=1e-5, atol=1e-6)


def test_without_hints_the_answer_is_the_sum_of_both_parts(assemble, tmp_path):
    """Each of the parts is a model of its own, on the same data and batches."""
    parts, fresh = {}, begun(assemble("WideAndDeep.hints = False"), tmp_path / "both")
    for part in ("deep", "wide"):
        assembly = begun(assemble(f"WideAndDeep.parts = '{part}'"), tmp_path / part)
        own = {w.path: w for w in fresh.model.weights}
        assembly.model.set_weights([own[w.path].numpy() for w in assembly.model.weights])
        parts[part] = assembly.predict(assembly.data.splits["test"], assembly.buckets).logits
    found = fresh.predict(fresh.data.splits["test"], fresh.buckets).logits
    np.testing.assert_allclose(found, parts["deep"] + parts["wide"], rtol=1e-5, atol=1e-6)
    assert np.ptp(parts["deep"]) > 0
    assert np.ptp(parts["wide"]) > 0


def test_of_the_wide_model_alone_only_the_bias_moves(cache, tmp_path):
    wide = ["WideAndDeep.parts = 'wide'", "Training.length = '2 steps'"]
    directory = RunDirectory(str(tmp_path))
    jobs.train(make(*wide, "Experiment.export = False"), directory, cache)
    assembly = begun(Assembly(make(*wide), cache), tmp_path / "fresh")
    first = {w.path: w.numpy() for w in assembly.model.weights}
    with Run(assembly, directory).best_weights():
        assert {
            w.path: np.array_equal(w.numpy(), first[w.path]) for w in assembly.model.weights
        } == {
            "wide/squares": True,
            "wide/kernel": True,
            "wide/held_out": True,
            "wide/held_out_bias": True,
            "wide/bias": False,
        }


@pytest.mark.parametrize("deep", ["RecurrentClassifier", "MlpClassifier"])
def test_every_model_of_words_can_be_the_deep_one(assemble, deep):
    without = [b for b in SMALL if not b.startswith("GatedConvolution")]
    small = [f"WideAndDeep.deep = @{deep}()", f"{deep}.embedding_size = 4"]
    small += ["MlpClassifier.pooling = 'mean'"] if deep == "MlpClassifier" else []
    experiment = config.make(Experiment, config.parse([], [*without, *small]))
    assembly = Assembly(experiment, assemble().cache)
    assert assembly.logits_of_texts([b"good"]).shape == (1, 1)
