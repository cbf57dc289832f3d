"""The loss of a language model: neither replicas nor filler rows change what is learned."""

import numpy as np
import pytest
from small_training import VOCABULARY, assert_close, random_split, whole_batch

from sentiment_train.data.batches import FILLER
from sentiment_train.evaluation.metrics import Predictions
from sentiment_train.models.language_model import LanguageModel
from sentiment_train.schema import Batch, ModelInputs
from sentiment_train.training.losses import NextTokenLoss

pytestmark = pytest.mark.usefixtures("tf")

SPLIT = random_split()
OUTPUTS = np.array([[-6.0, 3, 1], [-1.0, 1, 1], [-20.0, 10, 4]], np.float32)


def language_model():
    settings = LanguageModel(embedding_size=4, cell="simple", units=(3,))
    return settings.build(ModelInputs(VOCABULARY, 2, use_cudnn=False))


def test_a_text_counts_as_its_weight_times_its_predictions(tf):
    weights = tf.constant([2.0, 0.0, 0.5])
    batch = Batch({}, tf.constant([0, 1, 0]), weights)
    found = NextTokenLoss().sums(batch, tf.constant(OUTPUTS), class_weights=None)
    np.testing.assert_allclose(found, [2 * 6 + 0.5 * 20, 2 * 3 + 0.5 * 10, 2 * 1 + 0.5 * 4])


def test_perplexity_is_divided_once_for_the_whole_split():
    predictions = Predictions(OUTPUTS, np.zeros(3, np.int32), np.array([2, 0, 0.5], np.float32))
    found = NextTokenLoss().measure(predictions, ("no", "yes"))
    assert found == {
        "loss": 22 / 11,
        "perplexity": pytest.approx(np.exp(2)),
        "accuracy": 4 / 11,
        "tokens": 14,
        "examples": 3,
    }
    assert set(NextTokenLoss().metric_names(("no", "yes"))) < set(found)


def test_labels_do_not_count():
    weights = NextTokenLoss().weights_of_classes(("a", "b"), np.array([0, 0, 1]))
    np.testing.assert_array_equal(weights, [1, 1])


def test_the_measures_of_a_step_are_those_of_the_model(tf, trainer):
    t = trainer(model=language_model, loss=NextTokenLoss())
    batch = whole_batch(SPLIT, range(7))
    sums = (t.step.model(batch.features).numpy() * batch.weights[:, None]).sum(axis=0)
    found = t.train(SPLIT, range(7))
    np.testing.assert_allclose(found[:3], sums * [-1, 1, 1], rtol=1e-5)


def test_three_replicas_learn_what_one_learns(trainer):
    """From rows that they cannot divide, and from one row, so that two have nothing but filler."""
    one, three = (trainer(n, model=language_model, loss=NextTokenLoss()) for n in (1, 3))
    for rows in ([*range(7), FILLER], [12]):
        np.testing.assert_allclose(three.train(SPLIT, rows), one.train(SPLIT, rows), rtol=1e-5)
    assert_close(three.weights(), one.weights())
