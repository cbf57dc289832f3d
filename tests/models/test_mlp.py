import keras
import numpy as np
import pytest

from sentiment_train.errors import ConfigError
from sentiment_train.models.mlp import MlpClassifier
from sentiment_train.schema import ModelConfig, ModelInputs

pytestmark = pytest.mark.usefixtures("tf")

VOCABULARY = 30
ROWS = [[3, 4, 5], [7], [9, 8, 7, 6, 5, 4], [2, 0, 2]]


def build(num_classes=2, max_length=8, **settings):
    settings = {"embedding_size": 5, "dense_units": (4, 3), **settings}
    inputs = ModelInputs(VOCABULARY, num_classes, max_length=max_length)
    model = MlpClassifier(**settings).build(inputs)
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(0, 0.5, w.shape) for w in model.weights])
    return model


def logits(model, rows, width):
    tokens = np.zeros((len(rows), width), np.int32)
    for place, row in enumerate(rows):
        tokens[place, : len(row)] = row
    lengths = np.array([len(row) for row in rows], np.int32)
    return model({"tokens": tokens, "lengths": lengths}, training=False).numpy()


def test_it_is_a_model_config():
    assert isinstance(MlpClassifier(pad_to=8), ModelConfig)


@pytest.mark.parametrize("padding, side", [("right", "post"), ("left", "pre")])
def test_flattened_it_equals_the_keras_model_of_padded_sequences(padding, side):
    model = build(pad_to=8, padding=padding)
    reference = keras.Sequential(
        [
            keras.Input([8], dtype="int32"),
            keras.layers.Embedding(VOCABULARY, 5),
            keras.layers.Flatten(),
            keras.layers.Dense(4, activation="relu"),
            keras.layers.Dense(3, activation="relu"),
            keras.layers.Dense(1),
        ]
    )
    reference.set_weights(model.get_weights())
    expected = reference(keras.utils.pad_sequences(ROWS, maxlen=8, padding=side))
    for width in (6, 8):
        np.testing.assert_allclose(logits(model, ROWS, width), expected, atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "max", "mean+max"])
def test_pooled_it_does_not_see_padding(pooling):
    model = build(num_classes=3, pooling=pooling, max_length=None)
    together = logits(model, ROWS, 9)
    assert together.shape == (4, 3)
    for row, expected in zip(ROWS, together, strict=True):
        np.testing.assert_allclose(logits(model, [row], len(row))[0], expected, atol=1e-5)


@pytest.mark.parametrize("max_length", [None, 9])
def test_texts_that_may_be_longer_than_pad_to_are_refused(max_length):
    with pytest.raises(ConfigError, match=r"MlpClassifier.pad_to = 8 is too short: texts have"):
        build(pad_to=8, max_length=max_length)


@pytest.mark.parametrize(
    "settings, name",
    [
        ({}, "pad_to"),
        ({"pad_to": 0}, "pad_to"),
        ({"pooling": "mean", "pad_to": 8}, "pad_to"),
        ({"pooling": "mean", "padding": "left"}, "padding"),
        ({"pad_to": 8, "dropout": 1.0}, "dropout"),
        ({"pad_to": 8, "embedding_size": 0}, "embedding_size"),
        ({"pad_to": 8, "dense_units": (0,)}, "dense_units"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(settings, name):
    with pytest.raises(ConfigError, match=rf"MlpClassifier\.{name} = "):
        MlpClassifier(**settings)


def test_a_sigmoid_for_three_classes_is_refused():
    with pytest.raises(ConfigError, match=r"MlpClassifier.output = 'sigmoid' is for two"):
        build(3, pad_to=8, output="sigmoid")
