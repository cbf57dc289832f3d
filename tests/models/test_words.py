"""What all models over words do with their vectors."""

import numpy as np
import pytest

from sentiment_train.errors import ConfigError
from sentiment_train.layers.dropout import random_key
from sentiment_train.layers.perturbation import word_vectors
from sentiment_train.models.convolutional import GatedConvolutionClassifier
from sentiment_train.models.language_model import LanguageModel
from sentiment_train.models.mlp import MlpClassifier
from sentiment_train.models.recurrent import RecurrentClassifier
from sentiment_train.models.stack import token_inputs
from sentiment_train.schema import ModelInputs

pytestmark = pytest.mark.usefixtures("tf")

VOCABULARY = 11
MODELS = {
    "last state": (RecurrentClassifier, {"units": (3,)}),
    "two directions": (RecurrentClassifier, {"units": (3,), "bidirectional": True}),
    "padding seen": (RecurrentClassifier, {"units": (3,), "masked": False, "pad_to": 6}),
    "flat": (MlpClassifier, {"pad_to": 6, "padding": "left"}),
    "mean": (MlpClassifier, {"pooling": "mean"}),
    "convolution": (GatedConvolutionClassifier, {"units": (4,)}),
    "language": (LanguageModel, {"units": (4,), "tie_embeddings": True}),
}
OF_MODELS = pytest.mark.parametrize("kind", MODELS)


def built(kind, **more):
    """A model of four units a word, with random weights."""
    model_class, settings = MODELS[kind]
    config = model_class(embedding_size=4, **settings, **more)
    model = config.build(ModelInputs(VOCABULARY, 2, max_length=6))
    rng = np.random.default_rng(0)
    for weight in model.trainable_variables:
        weight.assign(rng.normal(0, 0.5, weight.shape))
    return model


def batch():
    rng = np.random.default_rng(1)
    return {
        "tokens": rng.integers(1, VOCABULARY, (3, 6)).astype(np.int32),
        "lengths": np.array([6, 2, 4], np.int32),
    }


@OF_MODELS
def test_a_model_of_normalised_words_is_one_whose_table_is_the_normalised_one(kind):
    normalised, plain = built(kind, normalized_embedding=True), built(kind)
    embedding = normalised.get_layer("embedding")
    embedding.frequencies.assign(np.arange(VOCABULARY))
    table = embedding(batch()["tokens"])
    plain.get_layer("embedding").embeddings.assign(table)
    np.testing.assert_allclose(normalised(batch()), plain(batch()), rtol=1e-4, atol=1e-5)


@OF_MODELS
def test_the_words_that_a_model_shows_are_those_that_it_reads(tf, kind):
    model = built(kind, normalized_embedding=True)
    with tf.GradientTape() as tape, word_vectors(tape) as words, random_key((0, 0)):
        total = tf.reduce_sum(model(batch(), training=True))
    by_words = words.of_real_tokens(tape.gradient(total, words.seen())).numpy()
    at_once = model(batch()).numpy().sum()
    with tf.GradientTape() as tape, word_vectors(tape, 1e-3 * by_words):
        moved = model(batch()).numpy().sum()
    assert moved - at_once == pytest.approx(1e-3 * (by_words**2).sum(), rel=0.05)


@pytest.mark.parametrize("setting", [{"embedding_dropout": 0.1}, {"normalized_embedding": True}])
@pytest.mark.parametrize("kind", [RecurrentClassifier, LanguageModel])
def test_one_hot_vectors_are_neither_dropped_nor_normalised(kind, setting):
    (name,) = setting
    with pytest.raises(ConfigError, match=rf"{kind.__name__}\.{name} = .* no embedding to work on"):
        kind(input="one_hot", **setting)


def hinted(kind):
    """With what each word adds as a feature, in place of a model that tells it."""
    import keras

    model_class, settings = MODELS[kind]
    added = keras.Input([None, 2], name="added")
    inputs = ModelInputs(VOCABULARY, 2, max_length=6, added_by_words=added)
    features = token_inputs()
    logits = model_class(embedding_size=4, **settings).logits(**features, inputs=inputs)
    return keras.Model({**features, "added": added}, logits)


@pytest.mark.parametrize("kind", ["last state", "two directions", "mean", "convolution"])
def test_hints_are_added_to_the_words_and_padding_has_none(kind):
    model, plain = hinted(kind), built(kind)
    tables = {w.path: w.numpy() for w in plain.weights}
    for weight in model.weights:
        weight.assign(tables.get(weight.path, weight))
    kernel = model.get_layer("hints").kernel
    added = np.random.default_rng(2).normal(0, 0.1, (3, 6, 2)).astype(np.float32)
    there = np.arange(6) < batch()["lengths"][:, None]
    answer = model({**batch(), "added": added})
    other = np.where(there[:, :, None], added, 9.0)
    np.testing.assert_allclose(model({**batch(), "added": other}), answer, rtol=1e-5, atol=1e-6)
    assert np.abs(answer - plain(batch())).max() > 1e-3
    kernel.assign(np.zeros(kernel.shape))
    np.testing.assert_allclose(
        model({**batch(), "added": added}), plain(batch()), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("kind", ["padding seen", "flat"])
def test_models_that_move_words_to_other_places_refuse_hints(kind):
    with pytest.raises(
        ConfigError, match=r"moved to other places\. Set WideAndDeep\.hints = False\."
    ):
        hinted(kind)
