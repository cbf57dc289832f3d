"""The spread of embeddings: its scale, the texts it is taken of, and the warning."""

import json

import gin
import numpy as np
import pytest

from sentiment_train import config, jobs
from sentiment_train.evaluation.spread import SpreadWatch, rows_looked_at, spread_of
from sentiment_train.experiment import Experiment
from sentiment_train.models.recurrent import RecurrentClassifier
from sentiment_train.run_directory import RunDirectory


@pytest.mark.parametrize("dimension", [3, 64, 512])
def test_isotropic_vectors_have_spread_1_whatever_their_length_and_dimension(dimension):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(2000, dimension)) * rng.uniform(0.1, 9, size=(2000, 1))
    assert spread_of(vectors) == pytest.approx(1.0, abs=0.02)


def test_one_direction_has_spread_0_and_a_common_part_lowers_it():
    rng = np.random.default_rng(0)
    lengths = rng.uniform(0.1, 9, size=(50, 1))
    assert spread_of(lengths * np.ones((50, 8))) == pytest.approx(0.0, abs=1e-7)
    vectors = rng.normal(size=(2000, 64))
    assert 0.1 < spread_of(vectors + 3.0) < 0.5


def test_it_is_the_formula():
    vectors = np.array([[3.0, 4.0], [0.0, 2.0], [1.0, 0.0]], np.float32)
    unit = np.array([[0.6, 0.8], [0.0, 1.0], [1.0, 0.0]])
    expected = np.sqrt(((unit - unit.mean(axis=0)) ** 2).mean(axis=0)).mean() * np.sqrt(2)
    assert spread_of(vectors) == pytest.approx(expected)


def test_a_vector_of_zeros_is_no_division_by_zero():
    assert spread_of(np.zeros((4, 3), np.float32)) == 0.0


@pytest.mark.parametrize("texts, count", [(1, 1), (3, 3), (512, 512), (513, 512), (20_000, 512)])
def test_at_most_512_texts_are_looked_at_over_the_whole_split(texts, count):
    rows = rows_looked_at(texts)
    assert len(rows) == len(set(rows.tolist())) == count
    assert (rows[0], rows[-1]) == (0, texts - 1)


def test_it_warns_once_for_each_fall_under_a_tenth_of_the_start():
    values = iter([0.5, 0.081, 0.079, 0.01, 0.2, 0.05])
    said = []
    watch = SpreadWatch(lambda: next(values), said.append)
    counts = []
    for value in (0.5, 0.081, 0.079, 0.01, 0.2, 0.05):
        assert watch.look(0.8) == value
        counts.append(len(said))
    assert counts == [0, 0, 1, 1, 1, 2]
    assert "spread is 0.079, it was 0.8 before the training" in said[0]
    assert "ParameterGroup.learning_rate" in said[0]


def test_without_a_value_of_the_start_it_does_not_warn():
    said = []
    SpreadWatch(lambda: 0.0, said.append).look(-1.0)
    assert said == []


@gin.configurable
class WithEmbeddings:
    """A recurrent classifier that says which layer gives the vector of a text."""

    def build(self, inputs):
        settings = RecurrentClassifier(4, cell="gru", units=(4,), pooling="mean")
        model = settings.build(inputs)
        model.embeddings = "pooling"
        return model


EXPERIMENT = [
    "Experiment.source = @PackagedReviews()",
    "PackagedReviews.subset = 'rotten_tomatoes'",
    "Experiment.model = @WithEmbeddings()",
    "Splits.max_examples = 400",
    "Vocabulary.max_size = 300",
    "WordEncoder.max_length = 30",
    "Buckets.count = 1",
    "Training.length = '4 steps'",
    "Validation.every = '2 steps'",
    "Checkpointing.every = '1 step'",
    "Experiment.export = False",
    "Experiment.report = None",
    "Runtime.logical_cpus = 2",
]


@pytest.mark.usefixtures("tf")
def test_a_run_measures_it_before_the_first_step_and_at_every_validation(tmp_path):
    experiment = config.make(Experiment, config.parse([], EXPERIMENT))
    jobs.train(experiment, RunDirectory(str(tmp_path / "run")), str(tmp_path / "cache"))
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    tag = "validation/embedding_spread"
    spread = {p["step"]: p[tag] for line in lines if tag in (p := json.loads(line))}
    assert list(spread) == [0, 2, 4]
    assert all(0 < value < 2 for value in spread.values())
    manifests = (tmp_path / "run" / "checkpoints").glob("*/manifest.json")
    states = [json.loads(path.read_text())["state"] for path in manifests]
    assert {state["spread_at_start"] for state in states} == {spread[0]}
