import itertools

import keras
import numpy as np
import pytest

from sentiment_train.errors import ConfigError
from sentiment_train.layers.dropout import random_key
from sentiment_train.layers.recurrence import KerasRecurrence, Recurrence
from sentiment_train.models.recurrent import RecurrentClassifier, layer_outputs
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
POOLINGS = ["last", "mean", "max", "mean+max", "mean_logits", "mean_probabilities"]
DIRECTIONS = [(False, "concat"), *((True, merge) for merge in MERGES)]


def build(num_classes=3, use_cudnn=False, seed=0, max_length=None, **settings):
    settings = {"embedding_size": 5, "units": (4,), **settings}
    inputs = ModelInputs(VOCABULARY, num_classes, use_cudnn, max_length)
    model = RecurrentClassifier(**settings).build(inputs)
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


@pytest.mark.parametrize("use_cudnn", [False, True])
@pytest.mark.parametrize("recurrence", ["auto", "own", "keras"])
@pytest.mark.parametrize("cell", CELLS)
def test_keras_layers_are_taken_where_cudnn_is(cell, recurrence, use_cudnn):
    model = build(cell=cell, recurrence=recurrence, use_cudnn=use_cudnn)
    from_keras = recurrence == "keras" or (recurrence == "auto" and use_cudnn and cell != "simple")
    expected = KerasRecurrence if from_keras else Recurrence
    assert type(model.get_layer(f"{cell}_1")) is expected


@pytest.mark.parametrize(
    "cores, bidirectional, pieces",
    [(1, False, 1), (1, True, 1), (2, False, 2), (2, True, 1), (64, False, 4), (64, True, 4)],
)
def test_a_batch_is_cut_for_the_cores_of_each_direction_but_into_few_pieces(
    cores, bidirectional, pieces
):
    inputs = ModelInputs(VOCABULARY, 3, recurrent_loops="compiled", cores=cores)
    config = RecurrentClassifier(embedding_size=5, units=(4,), bidirectional=bidirectional)
    layer = config.build(inputs).get_layer("lstm_1")
    assert (layer.loops, layer.pieces) == ("compiled", pieces)


@pytest.mark.parametrize("cell", CELLS)
def test_both_kinds_of_layers_give_one_model(cell):
    """Same weights in the same order: what was trained with cuDNN is served without it."""
    settings = {"cell": cell, "units": (4, 3), "bidirectional": True, "initial_state": "learned"}
    own, from_keras = (build(recurrence=kind, **settings) for kind in ("own", "keras"))
    assert [v.shape for v in own.variables] == [v.shape for v in from_keras.variables]
    rows = some_rows()
    np.testing.assert_allclose(logits(own, rows, 9), logits(from_keras, rows, 9), atol=1e-5)


@pytest.mark.parametrize("merge", MERGES)
@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_a_stack_equals_the_keras_model_of_the_same_weights(merge, pooling):
    """Two bidirectional simple RNNs in each merge mode, as document 003 stacks them."""
    model = build(cell="simple", units=(4, 3), bidirectional=True, merge=merge, pooling=pooling)
    tokens = keras.Input([None], dtype="int32")
    x = keras.layers.Embedding(VOCABULARY, 5, mask_zero=True)(tokens)
    for units, sequences in ((4, True), (3, pooling != "last")):
        rnn = keras.layers.SimpleRNN(units, return_sequences=sequences)
        x = keras.layers.Bidirectional(rnn, merge_mode=merge)(x)
    if pooling == "mean":
        x = keras.layers.GlobalAveragePooling1D()(x)
    reference = keras.Model(tokens, keras.layers.Dense(3)(x))
    reference.set_weights(model.get_weights())
    batch = features(some_rows(), 9)
    np.testing.assert_allclose(model(batch), reference(batch["tokens"]), atol=1e-5)


def test_the_states_of_every_layer_can_be_had():
    model = build(units=(4, 3), bidirectional=True)
    outputs = layer_outputs(model)(features(some_rows(), 7))
    assert {name: tuple(states.shape) for name, states in outputs.items()} == {
        "embedding": (VOCABULARY, 5),
        "lstm_1": (4, 7, 4),
        "lstm_1_backward": (4, 7, 4),
        "lstm_2": (4, 3),
        "lstm_2_backward": (4, 3),
        "logits": (4, 3),
    }


@pytest.mark.parametrize("num_classes", [2, 3])
def test_averaged_answers_are_the_averages_of_the_steps(tf, num_classes):
    rows = some_rows()
    for pooling in ("mean_logits", "mean_probabilities"):
        model = build(num_classes, pooling=pooling)
        by_step = layer_outputs(model)(features(rows, 9))["logits"]
        found = logits(model, rows, 9)
        for row, answer, steps in zip(rows, found, by_step, strict=True):
            steps = steps[: len(row)]
            if pooling == "mean_logits":
                np.testing.assert_allclose(answer, np.mean(steps, axis=0), atol=1e-5)
            elif num_classes == 2:
                np.testing.assert_allclose(
                    tf.sigmoid(answer), np.mean(tf.sigmoid(steps), axis=0), atol=1e-5
                )
            else:
                np.testing.assert_allclose(
                    tf.nn.softmax(answer), np.mean(tf.nn.softmax(steps), axis=0), atol=1e-5
                )


def test_one_hot_input_learns_no_vectors():
    model = build(input="one_hot", units=(4, 3), bidirectional=True)
    assert model.get_layer("lstm_1").kernel.shape == (VOCABULARY, 16)
    assert not [layer for layer in model.layers if layer.name == "embedding"]
    rows = some_rows()
    np.testing.assert_allclose(logits(model, rows, 12), logits(model, rows, 7), atol=1e-5)


# As `keras.utils.pad_sequences(rows, maxlen=10)` pads, before a Keras model without a mask.
@pytest.mark.parametrize("padding, side", [("right", "post"), ("left", "pre")])
def test_unmasked_padding_is_seen_as_in_keras(padding, side):
    model = build(masked=False, padding=padding, pad_to=10, max_length=10)
    tokens = keras.Input([10], dtype="int32")
    x = keras.layers.LSTM(4)(keras.layers.Embedding(VOCABULARY, 5)(tokens))
    reference = keras.Model(tokens, keras.layers.Dense(3)(x))
    reference.set_weights(model.get_weights())
    rows = some_rows()
    padded = keras.utils.pad_sequences(rows, maxlen=10, padding=side)
    expected = reference(padded)
    for width in (7, 10):  # however the batch was padded
        np.testing.assert_allclose(logits(model, rows, width), expected, atol=1e-5)
    dirty = features(rows, 9)
    dirty["tokens"][np.arange(9) >= dirty["lengths"][:, None]] = VOCABULARY - 1
    np.testing.assert_allclose(model(dirty), expected, atol=1e-5)


def test_unmasked_without_pad_to_an_answer_depends_on_the_batch():
    settings = {"masked": False}
    model, rows = build(**settings), some_rows()
    assert not np.allclose(logits(model, rows, 7), logits(model, rows, 20), atol=1e-4)
    assert RecurrentClassifier(**settings).depends_on_padding
    assert not RecurrentClassifier(**settings, pad_to=200).depends_on_padding
    assert not RecurrentClassifier().depends_on_padding


@pytest.mark.parametrize("max_length", [None, 11])
def test_texts_that_may_be_longer_than_pad_to_are_refused(max_length):
    with pytest.raises(ConfigError, match=r"RecurrentClassifier.pad_to = 10 is too short: texts"):
        build(masked=False, pad_to=10, max_length=max_length)


@pytest.mark.parametrize(
    "settings, name",
    [
        ({"padding": "left"}, "padding"),
        ({"pad_to": 200}, "pad_to"),
        ({"input": "one_hot", "recurrence": "keras"}, "recurrence"),
        ({"input": "one_hot", "embedding_dropout": 0.1}, "embedding_dropout"),
    ],
)
def test_settings_without_effect_are_refused(settings, name):
    with pytest.raises(ConfigError, match=rf"RecurrentClassifier\.{name} = "):
        RecurrentClassifier(**settings)


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
