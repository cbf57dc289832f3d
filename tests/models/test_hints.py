"""What a network reads of the linear model beside it, and how their answers are added."""

import numpy as np
import pytest

from sentiment_train.data.encoders import WordEncoder, features_of
from sentiment_train.data.ngrams import NGramEncoder
from sentiment_train.errors import ConfigError
from sentiment_train.models.convolutional import GatedConvolutionClassifier
from sentiment_train.models.mlp import MlpClassifier
from sentiment_train.models.wide_and_deep import NGrams, WideAndDeep
from sentiment_train.schema import ModelInputs

TEXTS = ["a good film", "a bad film", "not a good film, and too long by half an hour"]


@pytest.fixture(scope="module")
def encoder(tf):
    return NGramEncoder(least_texts=1, words=WordEncoder()).fit(TEXTS)


def built(encoder, output="auto", **options):
    """With random weights, the same of all that have one shape."""
    deep = GatedConvolutionClassifier(embedding_size=4, units=(4,), output=output)
    config = WideAndDeep(deep=deep, wide=NGrams(), **options)
    model = config.build(ModelInputs(encoder.vocabulary_size, 2, encoder=encoder))
    for weight in model.weights:
        rng = np.random.default_rng(weight.shape[0])
        weight.assign(np.abs(rng.normal(0, 0.5, weight.shape)))
    return model


def test_two_logits_differ_by_the_one_of_the_same_model(tf, encoder):
    one, two = built(encoder), built(encoder, "softmax")
    kernel, bias = (w.numpy() for w in one.get_layer("logits").weights)
    two.get_layer("logits").set_weights(
        [np.concatenate([-kernel / 2, kernel / 2], axis=1), np.concatenate([-bias / 2, bias / 2])]
    )
    features = features_of(encoder, tf.constant(TEXTS))
    for training in (False, True):
        both = two(features, training=training).numpy()
        expected = one(features, training=training).numpy()[:, 0]
        np.testing.assert_allclose(both[:, 1] - both[:, 0], expected, rtol=1e-4, atol=1e-5)


def test_the_network_reads_what_the_linear_model_adds(tf, encoder):
    features = features_of(encoder, tf.constant(TEXTS))
    for hints in (True, False):
        model = built(encoder, hints=hints)
        before = model(features).numpy()
        wide = model.get_layer("wide")
        added = wide(features["tokens"])[0].numpy()
        wide.kernel.assign(-wide.kernel)
        alone = wide(features["tokens"])[0].numpy() - added
        moved = model(features).numpy() - before
        assert np.allclose(moved, alone, atol=1e-4) == (not hints)


class Deaf(MlpClassifier):
    """A part that somebody wrote before there were hints."""

    def logits(self, tokens, lengths, inputs):
        import keras

        vectors = keras.layers.Embedding(inputs.vocabulary_size, 3)(tokens)
        return keras.layers.Dense(1)(keras.ops.mean(vectors, axis=1))


def test_a_network_that_does_not_read_hints_is_refused_unless_they_are_off(encoder):
    inputs = ModelInputs(encoder.vocabulary_size, 2, encoder=encoder)
    deaf = Deaf(pooling="mean")
    with pytest.raises(ConfigError, match="is read by no layer of Deaf; set it to False"):
        WideAndDeep(deep=deaf, wide=NGrams()).build(inputs)
    model = WideAndDeep(deep=deaf, wide=NGrams(), hints=False).build(inputs)
    assert model.output_shape == (None, 1)
