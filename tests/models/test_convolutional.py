import numpy as np
import pytest

from sentiment_train.errors import ConfigError
from sentiment_train.models.convolutional import GatedConvolutionClassifier
from sentiment_train.schema import ModelConfig, ModelInputs

pytestmark = pytest.mark.usefixtures("tf")

ROWS = [[3, 4, 5], [7], [9, 8, 7, 6, 5, 4], [2, 0, 2]]


def logits(model, rows, width):
    tokens = np.zeros((len(rows), width), np.int32)
    for place, row in enumerate(rows):
        tokens[place, : len(row)] = row
    lengths = np.array([len(row) for row in rows], np.int32)
    return model({"tokens": tokens, "lengths": lengths}, training=False).numpy()


def test_it_is_a_model_config():
    assert isinstance(GatedConvolutionClassifier(), ModelConfig)


@pytest.mark.parametrize("pooling", ["mean", "max", "mean+max"])
def test_it_does_not_see_padding(pooling):
    config = GatedConvolutionClassifier(4, (4, 6), 3, pooling, dense_units=(5,))
    model = config.build(ModelInputs(30, 3))
    together = logits(model, ROWS, 9)
    assert together.shape == (4, 3)
    for row, expected in zip(ROWS, together, strict=True):
        np.testing.assert_allclose(logits(model, [row], len(row))[0], expected, atol=1e-5)


def test_the_order_of_the_words_matters():
    model = GatedConvolutionClassifier(4, (4,)).build(ModelInputs(30, 2))
    (forward,), (backward,) = logits(model, [[3, 4, 5, 6], [6, 5, 4, 3]], 4)
    assert abs(forward - backward) > 1e-6


@pytest.mark.parametrize(
    "settings, name",
    [
        ({"units": ()}, "units"),
        ({"units": (4, 0)}, "units"),
        ({"width": 0}, "width"),
        ({"pooling": "last"}, "pooling"),
        ({"embedding_size": 0}, "embedding_size"),
        ({"embedding_dropout": 1.0}, "embedding_dropout"),
        ({"dropout": 1.0}, "dropout"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(settings, name):
    with pytest.raises(ConfigError, match=rf"GatedConvolutionClassifier\.{name} = "):
        GatedConvolutionClassifier(**settings)


def test_a_sigmoid_for_three_classes_is_refused():
    with pytest.raises(ConfigError, match=r"GatedConvolutionClassifier.output = 'sigmoid' is for"):
        GatedConvolutionClassifier(output="sigmoid").build(ModelInputs(30, 3))
