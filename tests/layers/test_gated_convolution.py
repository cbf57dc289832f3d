import keras
import numpy as np
import pytest

from sentiment_train.layers.gated_convolution import GatedConvolution

LENGTHS = (7, 1, 4)
FEATURES = 3


@pytest.fixture
def states(tf):
    """`[3, 9, 3]`: three texts and, behind them, numbers that are no part of them."""
    return np.random.default_rng(0).normal(0, 1, (len(LENGTHS), 9, FEATURES)).astype(np.float32)


def made(units, width):
    layer = GatedConvolution(units, width)
    layer.build([None, None, FEATURES])
    rng = np.random.default_rng(1)
    layer.set_weights([rng.normal(0, 0.5, w.shape) for w in layer.weights])
    return layer


def of_rows(layer, states, places):
    """The states of some places of each text, padded or not."""
    mask = np.arange(places) < np.array(LENGTHS)[:, None]
    return layer(states[:, :places], mask=mask)


def keras_layers(layer):
    """The same as two convolutions of Keras, for a text without padding."""
    kernel, bias = layer.get_weights()
    halves = [
        keras.layers.Conv1D(layer.units, layer.width, padding="same", activation=activation)
        for activation in (None, "sigmoid")
    ]
    for half, k, b in zip(halves, np.split(kernel, 2, -1), np.split(bias, 2), strict=True):
        half.build([None, None, FEATURES])
        half.set_weights([k, b])
    linear, gate = halves
    return lambda x: linear(x) * gate(x) + (x if layer.residual else 0.0)


@pytest.mark.parametrize("width", [1, 2, 3, 5])
@pytest.mark.parametrize("units", [FEATURES, 4])
def test_of_a_padded_text_it_is_what_keras_makes_of_the_text_alone(tf, states, units, width):
    layer = made(units, width)
    assert layer.residual == (units == FEATURES)
    reference, found = keras_layers(layer), of_rows(layer, states, 9)
    for row, length in enumerate(LENGTHS):
        expected = reference(states[row : row + 1, :length])[0]
        np.testing.assert_allclose(found[row, :length], expected, atol=1e-5)


def test_its_gradients_are_those_of_keras(tf, states):
    layer = made(FEATURES, 3)
    row = tf.constant(states[:1, :7])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(row)
        ours = tf.reduce_sum(tf.sin(layer(row, mask=tf.fill([1, 7], True))))
        theirs = tf.reduce_sum(tf.sin(keras_layers(layer)(row)))
    np.testing.assert_allclose(tape.gradient(ours, row), tape.gradient(theirs, row), atol=1e-4)


def test_a_gradient_does_not_depend_on_padding(tf, states):
    layer = made(4, 3)
    mask = np.arange(9) < np.array(LENGTHS)[:, None]

    def gradients(places):
        with tf.GradientTape() as tape:
            outputs = of_rows(layer, states, places)
            loss = tf.reduce_sum(tf.sin(outputs[mask[:, :places]]))
        return tape.gradient(loss, [w.value for w in layer.weights])

    for padded, exact in zip(gradients(9), gradients(7), strict=True):
        np.testing.assert_allclose(padded, exact, atol=1e-4)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_in_a_short_precision_it_stays_near(tf, states, precision):
    layer = made(FEATURES, 3)
    short = GatedConvolution(FEATURES, 3, dtype=precision)
    short.build([None, None, FEATURES])
    short.set_weights(layer.get_weights())
    found = of_rows(short, tf.cast(states, short.compute_dtype), 9)
    assert found.dtype == short.compute_dtype
    np.testing.assert_allclose(tf.cast(found, tf.float32), of_rows(layer, states, 9), atol=0.1)


def test_it_compiles(tf, states):
    layer = made(4, 3)
    compiled = tf.function(lambda x: of_rows(layer, x, 9), jit_compile=True)
    np.testing.assert_allclose(compiled(states), of_rows(layer, states, 9), atol=1e-5)
