import itertools

import keras
import numpy as np
import pytest

from sentiment_train.errors import ConfigError
from sentiment_train.layers.dropout import random_key
from sentiment_train.models.recurrent import RecurrentClassifier
from sentiment_train.schema import ModelConfig, ModelInputs

pytestmark = pytest.mark.usefixtures("tf")

VOCABULARY = 30
KERAS_CELLS = {
    "simple": keras.layers.SimpleRNN,
    "gru": keras.layers.GRU,
    "lstm": keras.layers.LSTM,
}
CELLS = list(KERAS_CELLS)
MERGES = ["concat", "sum", "ave", "mul"]
POOLINGS = ["last", "mean", "max", "mean+max"]
DIRECTIONS = [(False, "concat"), *((True, merge) for merge in MERGES)]


def build(num_classes=3, use_cudnn="auto", seed=0, **settings):
    settings = {"embedding_size": 5, "units": (4,), **settings}
    model = RecurrentClassifier(**settings).build(ModelInputs(VOCABULARY, num_classes, use_cudnn))
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(0, 0.5, w.shape) for w in model.weights])  # biases as well
    return model


def features(rows, width):
    tokens = np.zeros((len(rows), width), np.int32)
    for place, row in enumerate(rows):
        tokens[place, : len(row)] = row
    return {"tokens": tokens, "lengths": np.array([len(r) for r in rows], np.int32)}


def some_rows(lengths=(3, 7, 1, 5), seed=1):
    rng = np.random.default_rng(seed)
    return [rng.integers(1, VOCABULARY, n) for n in lengths]


def logits(model, rows, width):
    return model(features(rows, width), training=False).numpy()


def test_it_is_a_model_config():
    assert isinstance(RecurrentClassifier(), ModelConfig)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("bidirectional, merge", DIRECTIONS)
@pytest.mark.parametrize("cell", CELLS)
def test_a_row_gives_the_same_padded_unpadded_and_alone(cell, bidirectional, merge, pooling):
    model = build(cell=cell, bidirectional=bidirectional, merge=merge, pooling=pooling)
    rows = some_rows()
    together = logits(model, rows, 7)
    assert together.shape == (4, 3)
    np.testing.assert_allclose(logits(model, rows, 13), together, atol=1e-5)
    for row, expected in zip(rows, together, strict=True):
        np.testing.assert_allclose(logits(model, [row], len(row))[0], expected, atol=1e-5)


def test_what_stands_in_the_padding_does_not_matter():
    model, rows = build(bidirectional=True), some_rows()
    clean, dirty = features(rows, 9), features(rows, 9)
    padding = np.arange(9) >= dirty["lengths"][:, None]
    dirty["tokens"][padding] = VOCABULARY - 1
    np.testing.assert_allclose(model(dirty), model(clean), atol=1e-6)


def test_id_0_inside_a_text_is_a_token():
    model = build()
    assert not np.allclose(logits(model, [[5, 0, 7]], 3), logits(model, [[5, 7]], 2), atol=1e-4)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_a_keras_model_of_the_same_weights_gives_the_same_logits(cell, bidirectional):
    model = build(cell=cell, units=(4, 3), bidirectional=bidirectional, dense_units=(6,))
    wrap = keras.layers.Bidirectional if bidirectional else (lambda layer: layer)
    twin = keras.Sequential(
        [
            keras.layers.Embedding(VOCABULARY, 5, mask_zero=True),
            wrap(KERAS_CELLS[cell](4, return_sequences=True)),
            wrap(KERAS_CELLS[cell](3)),
            keras.layers.Dense(6, activation="relu"),
            keras.layers.Dense(3),
        ]
    )
    rows = some_rows()
    twin(features(rows, 9)["tokens"])
    twin.set_weights(model.get_weights())
    np.testing.assert_allclose(
        logits(model, rows, 9), twin(features(rows, 9)["tokens"]), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    "output, num_classes, width",
    [("auto", 2, 1), ("sigmoid", 2, 1), ("softmax", 2, 2), ("auto", 3, 3), ("softmax", 3, 3)],
)
def test_the_head_has_one_logit_or_one_for_each_class(output, num_classes, width):
    model = build(num_classes, output=output)
    assert model.output_shape == (None, width)
    assert model.output.dtype == "float32"


def test_a_sigmoid_for_three_classes_is_refused():
    with pytest.raises(ConfigError, match=r"RecurrentClassifier.output = 'sigmoid' is for two"):
        build(3, output="sigmoid")


class FirstState(keras.layers.Layer):
    def call(self, states, mask):
        return states[:, 0]


def test_a_pooling_class_of_ones_own_is_called_with_states_and_mask():
    model = build(pooling=FirstState)
    short, long = logits(model, [[5, 6], [5, 6, 7, 8]], 4)
    np.testing.assert_allclose(short, long, atol=1e-6)


# Of one direction: input kernel, recurrent kernel, bias (Keras' GRU has two).
def parameters(cell, inputs, units):
    gates, biases = {"simple": (1, 1), "gru": (3, 2), "lstm": (4, 1)}[cell]
    return gates * units * (inputs + units + biases)


@pytest.mark.parametrize("cell, bidirectional", itertools.product(CELLS, [False, True]))
def test_the_parameters_are_those_of_the_formula(cell, bidirectional):
    model = build(cell=cell, units=(4, 3), bidirectional=bidirectional, dense_units=(6, 2))
    directions = 2 if bidirectional else 1
    recurrent = directions * (parameters(cell, 5, 4) + parameters(cell, 4 * directions, 3))
    head = (3 * directions + 1) * 6 + (6 + 1) * 2 + (2 + 1) * 3
    assert model.count_params() == VOCABULARY * 5 + recurrent + head


def test_every_layer_trains(tf):
    model = build(units=(4, 3), bidirectional=True, dense_units=(6,), pooling="mean+max")
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(features(some_rows(), 9)) ** 2)
    gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
    sizes = [float(tf.reduce_max(tf.abs(tf.convert_to_tensor(g)))) for g in gradients]
    assert min(sizes) > 0


def test_dropout_acts_on_embedding_and_head_while_training(tf):
    for settings in ({"embedding_dropout": 0.5}, {"dropout": 0.5}):
        model, batch = build(**settings), features(some_rows(), 7)
        still = model(batch, training=False).numpy()
        with random_key(tf.constant([0, 1])):
            one = model(batch, training=True).numpy()
            same = model(batch, training=True).numpy()
        with random_key(tf.constant([0, 2])):
            other = model(batch, training=True).numpy()
        np.testing.assert_array_equal(one, same)
        assert not np.allclose(one, other)
        assert not np.allclose(one, still)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_both_directions_do_without_cudnn_where_asked_to(cell, bidirectional):
    model = build(cell=cell, bidirectional=bidirectional, use_cudnn=False)
    layers = [layer for layer in model._flatten_layers() if hasattr(layer, "use_cudnn")]
    assert len(layers) == (2 if bidirectional else 1)
    assert all(layer.use_cudnn is False for layer in layers)


@pytest.mark.parametrize(
    "setting",
    [
        {"units": ()},
        {"units": (4, 0)},
        {"embedding_size": 0},
        {"dense_units": (0,)},
        {"dropout": 1.0},
        {"embedding_dropout": -0.1},
        {"pooling": "first"},
        {"cell": "rnn"},
        {"merge": "max"},
        {"output": "tanh"},
    ],
)
def test_settings_out_of_range_are_refused_by_name(setting):
    (name,) = setting
    with pytest.raises(ConfigError, match=rf"RecurrentClassifier\.{name} = "):
        RecurrentClassifier(**setting)
