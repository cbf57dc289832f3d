import numpy as np
import pytest
from scipy.special import log_softmax

from sentiment_train.errors import ConfigError
from sentiment_train.training.losses import CrossEntropy, predicted_classes

pytestmark = pytest.mark.usefixtures("tf")


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("width", [1, 2, 3])
def test_the_loss_of_each_row_is_numpys(tf, width, smoothing):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 5, (20, width)).astype(np.float32)
    classes = max(width, 2)
    labels = rng.integers(0, classes, 20).astype(np.int32)
    all_logits = np.concatenate([0 * logits, logits], axis=1) if width == 1 else logits
    targets = np.eye(classes)[labels] * (1 - smoothing) + smoothing / classes
    expected = -(targets * log_softmax(all_logits.astype(np.float64), axis=1)).sum(axis=1)
    found = CrossEntropy(label_smoothing=smoothing).per_example(labels, tf.constant(logits))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(predicted_classes(tf.constant(logits)), all_logits.argmax(1))


def test_very_sure_logits_give_a_finite_loss(tf):
    for logits in ([[-1e4]], [[1e4, -1e4]]):
        assert CrossEntropy().per_example([1], tf.constant(logits)).numpy()[0] >= 1e4


LABELS = np.array([0, 0, 0, 1, 2, 2])


@pytest.mark.parametrize(
    "setting, expected",
    [
        (None, [1, 1, 1]),
        ("balanced", [6 / 9, 6 / 3, 6 / 6]),
        ({"c": 3.0, "a": 1, "b": 0.5}, [1, 0.5, 3]),
    ],
)
def test_class_weights_are_in_the_order_of_the_classes(setting, expected):
    weights = CrossEntropy(class_weights=setting).weights_of_classes(("a", "b", "c"), LABELS)
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, expected, rtol=1e-6)


def test_a_class_without_training_rows_has_a_finite_balanced_weight():
    weights = CrossEntropy(class_weights="balanced").weights_of_classes(tuple("abcd"), LABELS)
    assert np.isfinite(weights).all()


@pytest.mark.parametrize("weights", [{"a": 1.0}, {"a": 1.0, "b": 1.0, "c": 1.0, "x": 1.0}])
def test_class_weights_must_name_exactly_the_classes(weights):
    loss = CrossEntropy(class_weights=weights)
    with pytest.raises(ConfigError, match=r"class_weights = .* must name exactly .*'a', 'b', 'c'"):
        loss.weights_of_classes(("a", "b", "c"), LABELS)


@pytest.mark.parametrize(
    "setting",
    [{"label_smoothing": 1.0}, {"class_weights": {"a": -1.0}}, {"class_weights": "inverse"}],
)
def test_settings_out_of_range_are_refused_by_name(setting):
    (name,) = setting
    with pytest.raises(ConfigError, match=rf"CrossEntropy\.{name} = "):
        CrossEntropy(**setting)
