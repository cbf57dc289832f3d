"""The parts of an experiment, assembled in this process."""

from __future__ import annotations

import dataclasses
import json

import gin
import pytest

from sentiment_train import config, jobs, overview
from sentiment_train.assembly import Assembly
from sentiment_train.errors import ConfigError
from sentiment_train.experiment import Experiment
from sentiment_train.layers.recurrence import Recurrence
from sentiment_train.models.convolutional import GatedConvolutionClassifier
from sentiment_train.run_directory import RunDirectory
from sentiment_train.schema import ModelInputs

SMALL = [
    "Experiment.source = @PackagedReviews()",
    "PackagedReviews.subset = 'rotten_tomatoes'",
    "Experiment.model = @RecurrentClassifier()",
    "RecurrentClassifier.units = (4,)",
    "RecurrentClassifier.embedding_size = 4",
    "Vocabulary.max_size = 500",
    "Buckets.count = 1",
    "Training.length = '6 steps'",
    "Training.log_every = '2 steps'",
    "Experiment.export = False",
    "Experiment.report = None",
]


@pytest.fixture(autouse=True)
def _float32_again():
    import keras

    yield
    keras.mixed_precision.set_dtype_policy("float32")


def make(*bindings: str) -> Experiment:
    return config.make(Experiment, config.parse([], [*SMALL, *bindings]))


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> str:
    return str(tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_the_precision_that_is_logged_is_that_of_the_layers(cache, precision, tmp_path, capsys):
    experiment = make(f"Runtime.precision = '{precision}'")
    model = Assembly(experiment, cache).model
    assert model.get_layer("lstm_1").compute_dtype == precision
    assert model.get_layer("lstm_1").variable_dtype == "float32"
    assert model.get_layer("logits").compute_dtype == "float32"
    jobs.train(experiment, RunDirectory(str(tmp_path)), cache)
    assert f"precision  {precision} — " in capsys.readouterr().out
    results = json.loads((tmp_path / "results.json").read_text())
    assert 0.5 < results["test"]["loss"] < 0.8


def test_a_new_model_has_the_same_names_and_weights_every_time(cache):
    assembly = Assembly(make(), cache)
    first, second = assembly.model, assembly.new_model()
    assert [v.path for v in first.variables] == [v.path for v in second.variables]
    for one, other in zip(first.weights, second.weights, strict=True):
        assert (one.numpy() == other.numpy()).all()


def test_an_optimizer_without_brackets_is_refused():
    with pytest.raises(ConfigError, match=r"write @Adam\(\) with brackets"):
        make("Experiment.optimizer = @Adam")


def test_the_configuration_of_a_run_gives_the_same_configuration_again(tmp_path, cache):
    make("RecurrentClassifier.dropout = 0.25")
    given, operative = gin.config_str(), gin.operative_config_str()
    for text in (given, operative):
        (tmp_path / "config.gin").write_text(text)
        config.make(Experiment, config.parse([str(tmp_path / "config.gin")], []))
        assert gin.operative_config_str() == operative


@pytest.mark.parametrize(
    "binding, loops, line",
    [
        ("Buckets.pad_to = 'bucket'", "compiled", "xla        only loops over time"),
        ("Buckets.pad_to = 'longest_in_batch'", "plain", "xla        off — nearly every batch"),
    ],
)
def test_loops_are_compiled_for_buckets_only_and_the_log_says_so(
    cache, capsys, binding, loops, line
):
    assembly = Assembly(make(binding, "Buckets.batch_size = 8"), cache)
    overview.print_runtime(assembly)
    assert line in capsys.readouterr().out
    assert assembly.model.get_layer("lstm_1").loops == loops


def test_the_log_speaks_of_no_loops_where_the_model_has_none(cache, capsys):
    experiment = dataclasses.replace(make(), model=GatedConvolutionClassifier())
    overview.print_runtime(Assembly(experiment, cache))
    printed = capsys.readouterr().out
    assert "xla        off — no loop of ours over time" in printed
    assert "cudnn" not in printed


def test_many_lengths_of_one_batch_size_share_the_programs_of_parts(cache, monkeypatch):
    fine = ("Buckets.count = 4", "Buckets.multiple_of = 1", "Buckets.tokens_per_batch = 256")
    one_size = (*fine, "Buckets.batch_size = 8")
    longest = ("Buckets.pad_to = 'longest_in_batch'", "Buckets.batch_size = 8")

    def loops(*bindings):
        return Assembly(make(*bindings), cache).recurrent_loops

    assert loops(*one_size) == "compiled"  # short texts: a part would be more than most of them
    monkeypatch.setattr("sentiment_train.assembly._LONG_TEXT", 4)
    assert [loops(*one_size), loops(*longest)] == ["compiled_parts"] * 2
    assert [loops(*fine), loops("Buckets.batch_size = 8")] == ["compiled"] * 2
    assert loops(*one_size, "Runtime.xla = 'off'") == "plain"


def test_what_is_exported_runs_without_cudnn(tf, cache):
    model = Assembly(make(), cache).new_model(served=True)
    assert type(model.get_layer("lstm_1")) is Recurrence


@gin.configurable
class WrongWidth:
    """A model with one logit too many."""

    def build(self, inputs):
        import keras

        tokens = keras.Input([None], dtype="int32", name="tokens")
        lengths = keras.Input([], dtype="int32", name="lengths")
        x = keras.ops.cast(lengths[:, None], "float32")
        x += keras.ops.cast(tokens, "float32")[:, 0, None]
        logits = keras.layers.Dense(inputs.num_classes + 1)(x)
        return keras.Model({"tokens": tokens, "lengths": lengths}, logits)


def test_a_model_whose_logits_do_not_fit_the_classes_is_refused(cache):
    bindings = [line for line in SMALL if "Recurrent" not in line]
    bindings += ["Experiment.model = @WrongWidth()"]
    experiment = config.make(Experiment, config.parse([], bindings))
    with pytest.raises(ConfigError, match=r"expected float32 \[batch, 1\] or \[batch, 2\]"):
        _ = Assembly(experiment, cache).model


@gin.configurable
class WrongSums(WrongWidth):
    """It says that it is a language model, but gives logits of one class."""

    predicts = "tokens"

    def build(self, inputs):
        return super().build(ModelInputs(inputs.vocabulary_size, num_classes=0))


def test_a_language_model_must_give_the_sums_of_its_texts(cache):
    bindings = [line for line in SMALL if "Recurrent" not in line]
    bindings += ["Experiment.model = @WrongSums()", "Experiment.loss = @NextTokenLoss()"]
    bindings += ["WordEncoder.truncation = 'keep_head'"]
    experiment = config.make(Experiment, config.parse([], bindings))
    with pytest.raises(ConfigError, match=r"for the sums of a language model; expected .*, 3\]"):
        _ = Assembly(experiment, cache).model


@pytest.mark.parametrize(
    "binding, message",
    [
        ("Experiment.loss = @NextTokenLoss()", "predicts tokens, but the model labels"),
        ("Experiment.init_layers = ('embedding',)", "needs a run .*: Experiment.init_from"),
        ("Validation.best_by = 'perplexity'", "is no metric; known: loss, accuracy, macro_f1"),
    ],
)
def test_parts_that_do_not_go_together_are_refused(cache, binding, message):
    with pytest.raises(ConfigError, match=message):
        _ = Assembly(make(binding), cache).data
