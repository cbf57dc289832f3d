"""Experiments with a sentence encoder, assembled and trained in this process."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from hashing_encoder import FittedFrozenText, pretrained, vector_of

from sentiment_train import config, jobs, overview, predict
from sentiment_train.assembly import Assembly
from sentiment_train.duration import to_steps
from sentiment_train.errors import ConfigError
from sentiment_train.experiment import Experiment
from sentiment_train.export.saved_model import GOLDEN_TEXTS
from sentiment_train.run_directory import RunDirectory

SMALL = [
    "Experiment.source = @PackagedReviews()",
    "PackagedReviews.subset = 'rotten_tomatoes'",
    "Experiment.model = @SentenceEncoderClassifier()",
    "SentenceEncoderClassifier.encoder = @HashingEncoder()",
    "Splits.max_examples = 320",
    "Buckets.count = 2",
    "Buckets.batch_size = 32",
    "Training.length = '12 steps'",
    "Validation.every = '6 steps'",
    "Experiment.report = None",
]


def make(mode: str, *bindings: str) -> Experiment:
    mode = f"SentenceEncoderClassifier.mode = '{mode}'"
    return config.make(Experiment, config.parse([], [*SMALL, mode, *bindings]))


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> str:
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def assemble(cache):
    return lambda *bindings: Assembly(make(*bindings), cache)


def test_what_was_trained_in_parts_is_exported_with_all_its_weights(tmp_path, cache):
    """And it answers as the encoder with these weights does, computed by hand."""
    parts = "SentenceEncoderClassifier.unfreeze = ('2 steps', '3 steps')"
    last = ["Validation.best_by = None", "Buckets.count = 1", "Validation.every = '12 steps'"]
    jobs.train(make("gradual", parts, *last), RunDirectory(str(tmp_path)), cache)
    classify = predict.load(f"{tmp_path}/saved_model")
    variables = classify.model.signatures["serving_default"].variables
    exported = {v.name.partition(":")[0]: v.numpy() for v in variables}
    weights = {name: exported[f"encoder/{name}"] for name in pretrained(50)}
    for name, value in pretrained(50).items():
        assert 1e-5 < np.abs(weights[name] - value).max() < 0.1
    names = ("dense_1/kernel", "dense_1/bias", "logits/kernel", "logits/bias")
    kernel, bias, out, out_bias = (exported[name] for name in names)
    texts = ["a good film", "a bad film", "", "nothing much"]
    vectors = np.array([vector_of(text.encode(), weights) for text in texts])
    logits = np.maximum(vectors @ kernel + bias, 0) @ out + out_bias
    positive = [answer["probabilities"][1] for answer in classify(texts)]
    np.testing.assert_allclose(positive, 1 / (1 + np.exp(-logits[:, 0])), atol=2e-6)
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["parameters"] == (50 * 4 + 4 * 4) + (4 * 64 + 64) + (64 + 1)


def test_a_frozen_encoder_is_not_asked_again(cache, assemble, monkeypatch):
    def fail(*arguments):
        raise AssertionError("the store has the vectors")

    first = assemble("frozen")
    assert first.data.vectors
    monkeypatch.setattr(FittedFrozenText, "encode", fail)
    again = assemble("frozen")
    split = again.data.splits["train"]
    assert (split.tokens.dtype, split.tokens.shape) == ("float32", (len(split), 4))
    for epoch in (0, 1):
        planned = again.feeding.order(epoch)
        for plan, batch in zip(planned, again.feeding.read(planned), strict=True):
            assert batch.features["tokens"].shape == (32, 1, 4)
            for row, vector in zip(plan.rows, batch.features["tokens"].numpy(), strict=True):
                expected = vector_of(split.texts[row].encode(), pretrained(50)) if row >= 0 else 0
                np.testing.assert_allclose(vector[0], expected * np.ones(4), atol=1e-6)


def test_vectors_have_one_shape_whatever_the_texts(assemble):
    table = assemble("frozen").buckets
    assert (table.lengths, table.batch_sizes) == ((1,), (32,))


@pytest.mark.parametrize("mode", ["frozen", "fine_tune"])
def test_every_way_to_compute_logits_of_texts_is_the_same(assemble, mode):
    assembly = assemble(mode)
    logits = assembly.logits_of_texts(GOLDEN_TEXTS)
    head = {w.path: w.numpy() for w in assembly.model.weights}
    vectors = np.array([vector_of(text, pretrained(50)) for text in GOLDEN_TEXTS])
    hidden = np.maximum(vectors @ head["dense_1/kernel"] + head["dense_1/bias"], 0)
    expected = hidden @ head["logits/kernel"] + head["logits/bias"]
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", ["frozen", "fine_tune"])
def test_two_replicas_answer_as_one(tf, assemble, mode):
    one = assemble(mode)
    two = assemble(mode, "Runtime.logical_cpus = 2")
    two.model.set_weights(one.model.get_weights())
    predictions = [a.predict(a.data.splits["test"], a.buckets).logits for a in (one, two)]
    np.testing.assert_allclose(*predictions, rtol=1e-5, atol=1e-6)
    (batch, *_) = two.feeding.read(two.feeding.order(0))
    for feature in batch.features.values():
        assert len(feature.values) == 2


def test_the_shapes_of_a_bucket_are_the_same_in_every_batch(assemble):
    assembly = assemble("fine_tune")
    shapes = {length: set() for length in assembly.buckets.lengths}
    for epoch in (0, 1):
        planned = assembly.feeding.order(epoch)
        for plan, batch in zip(planned, assembly.feeding.read(planned), strict=True):
            shapes[plan.length].add(tuple(tuple(f.shape) for f in batch.features.values()))
    assert [len(found) for found in shapes.values()] == [1, 1]


@pytest.mark.parametrize("mode", ["frozen", "fine_tune"])
def test_the_overview_says_what_is_kept_of_the_texts_and_what_is_trained(assemble, mode, capsys):
    overview.print_all(assemble(mode), with_table=False)
    shown = capsys.readouterr().out
    if mode == "frozen":
        assert "text       a vector of 4 numbers each, made once; 0 MB kept" in shown
        assert "385 parameters; dense_1 320, logits 65" in shown
    else:
        assert "encoder    cut at border_0 (ids), border_1 (texts)" in shown
        assert "601 parameters; encoder 216, dense_1 320, logits 65" in shown
        assert "encoder: 216 parameters, learning rate 0.0001" in shown


def test_what_stays_float32_is_printed(assemble, capsys):
    try:
        overview.print_model(assemble("fine_tune", "Runtime.precision = 'bfloat16'"))
    finally:
        import keras

        keras.mixed_precision.set_dtype_policy("float32")
    assert "in float32 all the same: encoder, logits" in capsys.readouterr().out


@pytest.mark.parametrize(
    "mode, bindings, message",
    [
        ("fine_tune", ["Runtime.xla = 'on'"], r"Runtime.xla cannot compile .* differ by batch"),
        ("fine_tune", ["Runtime.logical_cpus = 3"], "several replicas need batches of equal"),
        (
            "fine_tune",
            ["Training.steps_per_call = 2"],
            "steps_per_call = 2 needs batches of equal shapes: its shapes differ by batch",
        ),
    ],
)
def test_an_encoder_whose_shapes_vary_is_refused_where_they_may_not(
    assemble, mode, bindings, message
):
    dynamic = "HashingEncoder.static_shapes = False"
    with pytest.raises(ConfigError, match=message):
        _ = assemble(mode, dynamic, *bindings).buckets


@pytest.mark.parametrize(
    "mode, binding, message",
    [
        ("frozen", "Buckets.lengths = (300,)", "lengths = .* here each is one vector"),
        ("frozen", "Buckets.leave_out_above = 9", "leave_out_above = 9 .* here each is one vector"),
        ("fine_tune", "Buckets.pad_to = 'longest_in_batch'", "a cut model go by buckets"),
    ],
)
def test_batches_that_features_cannot_have_are_refused(assemble, mode, binding, message):
    with pytest.raises(ConfigError, match=message):
        _ = assemble(mode, binding).buckets


def test_a_model_with_an_encoder_of_its_own_takes_no_other():
    with pytest.raises(ConfigError, match=r"SentenceEncoderClassifier brings its own"):
        make("frozen", "Experiment.encoder = @WordEncoder()")
    with pytest.raises(ConfigError, match=r"nothing reads WordEncoder.max_length"):
        make("frozen", "WordEncoder.max_length = 100")
    make("frozen", "Experiment.encoder = None")


@pytest.mark.parametrize("name", ["use.gin", "use_multilingual.gin"])
def test_unfreezing_ends_before_the_training_does(name):
    experiment = config.make(Experiment, config.parse([name, "model/gradual.gin"], []))
    assert experiment.model.mode == "gradual"
    last = to_steps(experiment.model.unfreeze[-1], 100)
    assert last <= to_steps(experiment.training.length, 100) / 2


def test_a_configuration_reads_no_encoder_and_touches_no_device():
    """The devices are chosen before any other operation of TensorFlow."""
    code = (
        "import sys; from sentiment_train import config; from sentiment_train.experiment import *\n"
        "for name in ('use.gin', 'use_multilingual.gin', 'use_multilingual_frozen.gin'):\n"
        "    config.make(Experiment, config.parse([name], []))\n"
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
