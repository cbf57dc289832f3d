import keras
import numpy as np
import pytest
import tensorflow as tf

from sentiment_train.layers import recurrence
from sentiment_train.layers.cells import CELLS
from sentiment_train.layers.recurrence import KerasRecurrence, Recurrence
from sentiment_train.layers.through_time import Loop, states_through_time

pytestmark = pytest.mark.usefixtures("tf")

KERAS = {"simple": keras.layers.SimpleRNN, "gru": keras.layers.GRU, "lstm": keras.layers.LSTM}
KINDS = list(CELLS)
BATCH, LENGTH, FEATURES, UNITS, VOCABULARY = 6, 9, 5, 4, 11


def random_weights(shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(0, 0.6, shape).astype(np.float32) for shape in shapes]


def masked_batch(seed=1, length=LENGTH):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, length + 1, BATCH).astype(np.int32)
    lengths[:2] = 1, length
    vectors = rng.normal(0, 1, (BATCH, length, FEATURES)).astype(np.float32)
    return tf.constant(vectors), tf.constant(lengths)


def keras_layer(kind, backward, sequences, weights):
    layer = KERAS[kind](UNITS, go_backwards=backward, return_sequences=sequences)
    layer.build((None, None, FEATURES))
    layer.set_weights(weights)
    return layer


def ours(kind, weights=None, layer=Recurrence, **options):
    made = layer(kind, UNITS, **options)
    inputs, lengths = masked_batch()
    made(inputs, lengths)
    if weights is None:
        weights = random_weights([w.shape for w in made.weights])
    made.set_weights(weights)
    return made


def values_and_gradients(call, inputs, variables):
    """The outputs, and the gradients of a sum that weighs every output differently."""
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = call(inputs)
        factors = np.random.default_rng(3).normal(0, 1, outputs.shape).astype(np.float32)
        total = tf.reduce_sum(outputs * factors)
    return outputs, tape.gradient(total, [inputs, *variables])


# How it is executed, and whether it is differentiated by hand, as in training.
WAYS = {
    "automatic": ({}, False),
    "by hand": ({}, True),
    "compiled": ({"loops": "compiled"}, True),
    "compiled in pieces": ({"loops": "compiled", "pieces": 2}, True),
    "compiled in parts": ({"loops": "compiled_parts"}, True),
}


@pytest.fixture
def pieces_of_two_rows(monkeypatch):
    monkeypatch.setattr(recurrence, "_LEAST_ROWS", 2)


@pytest.mark.usefixtures("pieces_of_two_rows")
@pytest.mark.parametrize(
    "way, length, graph, sequences",
    [
        ("automatic", LENGTH, False, True),
        ("by hand", LENGTH, True, True),
        ("by hand", 4, False, False),
        ("by hand", 1, False, True),
        ("compiled", LENGTH, True, False),
        ("compiled in pieces", LENGTH, True, True),
        ("compiled in pieces", 1, False, True),
        ("compiled in parts", 75, True, True),
    ],
)
@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_it_equals_the_keras_layer_on_masked_batches(kind, backward, way, length, graph, sequences):
    options, training = WAYS[way]
    layer = ours(kind, backward=backward, return_sequences=sequences, **options)
    inputs, lengths = masked_batch(length=length)
    reference = keras_layer(kind, backward, sequences, layer.get_weights())
    mask = tf.sequence_mask(lengths, length)

    def keras_states(x):
        states = reference(x, mask=mask)
        return tf.reverse(states, [1]) if backward and sequences else states

    def our_states(x):
        return layer(x, lengths, training=training)

    if graph:
        our_states = tf.function(our_states)
    expected, expected_gradients = values_and_gradients(
        keras_states, inputs, [w.value for w in reference.trainable_weights]
    )
    found, gradients = values_and_gradients(
        our_states, inputs, [w.value for w in layer.trainable_weights]
    )
    np.testing.assert_allclose(found, expected, atol=1e-5)
    for gradient, expected_gradient in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(gradient, expected_gradient, atol=1e-4)


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_back_propagation_by_hand_equals_automatic_differentiation(kind, backward):
    """Of the same equations, unrolled step by step, with respect to every argument."""
    cell = CELLS[kind]()
    gates = cell.gates * UNITS
    arguments = random_weights(
        [(7, BATCH, gates), (UNITS, gates), (gates,), *[(BATCH, UNITS)] * cell.states]
    )
    x, kernel, bias, *initial = map(tf.constant, arguments)
    bias = bias if cell.has_recurrent_bias else None
    watched = [x, kernel, *initial] + ([bias] if bias is not None else [])

    def unrolled():
        states, kept = tuple(initial), []
        for t in range(7):
            u = states[0] @ kernel + (0.0 if bias is None else bias)
            states, _ = cell.step([gate[t] for gate in tf.split(x, cell.gates, axis=-1)], u, states)
            kept.append(states)
        return [tf.stack(s) for s in zip(*kept, strict=True)]

    def by_hand():
        loop = Loop(kind, returned=cell.states, per_iteration=7)
        of_gates = tf.split(x, cell.gates, axis=-1)
        return states_through_time(loop, of_gates, kernel, bias, initial, by_hand=True)

    results = []
    for run in (unrolled, by_hand):
        with tf.GradientTape() as tape:
            tape.watch(watched)
            states = run()
            weights = random_weights([s.shape for s in states], seed=5)
            if backward:  # only the last step counts
                states = [s[-1:] for s in states]
                weights = [w[-1:] for w in weights]
            total = tf.add_n([tf.reduce_sum(s * w) for s, w in zip(states, weights, strict=True)])
        results.append([*states, *tape.gradient(total, watched)])
    for expected, found in zip(*results, strict=True):
        np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_is_that_of_finite_differences(kind):
    layer = ours(kind)
    inputs, lengths = masked_batch()
    kernel = layer.recurrent_kernel

    def total(value):
        kernel.assign(value)
        return float(tf.reduce_sum(tf.square(tf.cast(layer(inputs, lengths), tf.float64))))

    start = kernel.numpy()
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(tf.square(layer(inputs, lengths)))
    gradient = tape.gradient(value, kernel.value).numpy()
    for place in [(0, 0), (1, 2), (3, start.shape[1] - 1)]:
        step = np.zeros_like(start)
        step[place] = 1e-2
        slope = (total(start + step) - total(start - step)) / 2e-2
        np.testing.assert_allclose(gradient[place], slope, rtol=2e-2, atol=2e-3)


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_what_stands_in_the_padding_changes_neither_states_nor_gradients(kind, backward):
    layer = ours(kind, backward=backward, return_sequences=True)
    inputs, lengths = masked_batch()
    real = tf.cast(tf.sequence_mask(lengths, LENGTH), tf.float32)[:, :, None]
    results = []
    for padding in (0.0, 1e3):
        x = inputs * real + padding * (1 - real)
        states, (d_x, *d_weights) = values_and_gradients(
            lambda x: layer(x, lengths), x, [w.value for w in layer.trainable_weights]
        )
        np.testing.assert_array_equal(d_x * (1 - real), 0)
        results.append([states, *d_weights])
    for clean, dirty in zip(*results, strict=True):
        np.testing.assert_allclose(dirty, clean, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_state_is_carried_through_padding(kind):
    inputs, lengths = masked_batch()
    forward = ours(kind, return_sequences=True)(inputs, lengths).numpy()
    backward = ours(kind, return_sequences=True, backward=True)(inputs, lengths).numpy()
    for row, n in enumerate(lengths.numpy()):
        np.testing.assert_array_equal(
            forward[row, n:], np.tile(forward[row, n - 1], (LENGTH - n, 1))
        )
        np.testing.assert_array_equal(backward[row, n:], 0)  # the start of a backward layer


@pytest.mark.parametrize("layer", [Recurrence, KerasRecurrence])
@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_returned_states_are_those_that_keras_returns(kind, backward, layer):
    made = ours(kind, layer=layer, backward=backward, return_sequences=True, return_state=True)
    inputs, lengths = masked_batch()
    reference = KERAS[kind](UNITS, return_state=True, go_backwards=backward)
    reference.build((None, None, FEATURES))
    reference.set_weights(made.get_weights())
    _, *expected = reference(inputs, mask=tf.sequence_mask(lengths, LENGTH))
    states, *found = made(inputs, lengths)
    assert len(found) == (2 if kind == "lstm" else 1)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    first_or_last = states[:, 0] if backward else states[:, -1]
    np.testing.assert_allclose(first_or_last, found[0], atol=1e-6)


@pytest.mark.parametrize("start", ["zero", "learned"])
@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_both_layers_have_the_same_weights_and_give_the_same(kind, backward, start):
    options = {"backward": backward, "return_sequences": True, "initial_state": start}
    a, b = ours(kind, **options), ours(kind, layer=KerasRecurrence, **options)
    assert [w.shape for w in a.variables] == [w.shape for w in b.variables]
    assert [w.name for w in a.variables] == [w.name for w in b.variables]
    inputs, lengths = masked_batch()
    np.testing.assert_allclose(a(inputs, lengths), b(inputs, lengths), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_learned_start_is_trained(kind):
    layer = ours(kind, initial_state="learned")
    inputs, lengths = masked_batch()
    starts = [w.value for w in layer.weights if w.name in ("hidden", "cell")]
    _, (_, *gradients) = values_and_gradients(lambda x: layer(x, lengths), inputs, starts)
    assert len(gradients) == (2 if kind == "lstm" else 1)
    assert all(np.abs(gradient).max() > 1e-3 for gradient in gradients)


def test_a_fresh_lstm_remembers():
    """The forget gate starts open, as Keras' does."""
    bias = Recurrence("lstm", UNITS)
    bias(*masked_batch())
    reference = keras.layers.LSTM(UNITS)
    reference.build((None, None, FEATURES))
    np.testing.assert_array_equal(bias.get_weights()[2], reference.get_weights()[2])


@pytest.mark.parametrize(
    "layer, options",
    [
        (Recurrence, {}),
        (Recurrence, {"loops": "compiled", "pieces": 2}),
        (KerasRecurrence, {}),
    ],
)
@pytest.mark.parametrize("vocabulary", [VOCABULARY, 5000])  # projected once, or token by token
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("pieces_of_two_rows")
def test_ids_and_a_table_are_the_same_as_the_looked_up_vectors(kind, vocabulary, layer, options):
    made = ours(kind, layer=layer, backward=True, **options)
    _, lengths = masked_batch()
    rng = np.random.default_rng(0)
    table = tf.constant(rng.normal(0, 1, (vocabulary, FEATURES)).astype(np.float32))
    ids = tf.constant(rng.integers(0, vocabulary, (BATCH, LENGTH)).astype(np.int32))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(table)
        by_id = made(ids, lengths, table=table, training=True)
        by_vector = made(tf.gather(table, ids), lengths, training=True)
        totals = [tf.reduce_sum(by_id**2), tf.reduce_sum(by_vector**2)]
    np.testing.assert_allclose(by_id, by_vector, atol=1e-5)
    gradients = [tf.convert_to_tensor(tape.gradient(total, table)) for total in totals]
    np.testing.assert_allclose(*gradients, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_ids_without_a_table_are_one_hot_vectors(kind):
    layer = Recurrence(kind, UNITS, one_hot_size=VOCABULARY)
    _, lengths = masked_batch()
    ids = tf.constant(np.random.default_rng(0).integers(0, VOCABULARY, (BATCH, LENGTH)), tf.int32)
    layer(ids, lengths)
    layer.set_weights(random_weights([w.shape for w in layer.weights]))
    reference = KERAS[kind](UNITS)
    reference.build((None, None, VOCABULARY))
    reference.set_weights(layer.get_weights())
    one_hot = tf.one_hot(ids, VOCABULARY)
    expected = reference(one_hot, mask=tf.sequence_mask(lengths, LENGTH))
    np.testing.assert_allclose(layer(ids, lengths), expected, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_xla_compiles_forward_and_backward(kind):
    layer = ours(kind, backward=True, loops="xla")
    inputs, lengths = masked_batch()
    variables = [w.value for w in layer.trainable_weights]

    def run(x):
        return values_and_gradients(lambda x: layer(x, lengths, training=True), x, variables)

    plain, compiled = run(inputs), tf.function(run, jit_compile=True)(inputs)
    for expected, found in zip(tf.nest.flatten(plain), tf.nest.flatten(compiled), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("rows", [BATCH, 1])  # of 1 row two pieces have none
def test_a_batch_of_any_number_of_rows_is_cut_into_pieces(rows):
    layer = ours("gru", loops="compiled", pieces=3)
    _, lengths = (part[:rows] for part in masked_batch())
    ids = tf.constant(np.random.default_rng(0).integers(0, VOCABULARY, (rows, LENGTH)), tf.int32)
    table = tf.Variable(np.random.default_rng(1).normal(0, 1, (VOCABULARY, FEATURES)), tf.float32)
    variables = [*(w.value for w in layer.trainable_weights), table]

    shapes = tf.TensorSpec([None, LENGTH], tf.int32), tf.TensorSpec([None], tf.int32)
    cut = tf.function(lambda x, n: layer(x, n, table, training=True), input_signature=shapes)
    with tf.GradientTape() as tape:
        outputs = cut(ids, lengths)
        gradients = tape.gradient(tf.reduce_sum(outputs**2), variables)
    with tf.GradientTape() as tape:
        expected = layer(ids, lengths, table)
        expected_gradients = tape.gradient(tf.reduce_sum(expected**2), variables)
    np.testing.assert_allclose(outputs, expected, atol=1e-5)
    for gradient, expected_gradient in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(gradient, expected_gradient, atol=1e-4)


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_stays_near(kind, dtype):
    full = ours(kind)
    half = ours(kind, full.get_weights(), dtype=dtype)
    inputs, lengths = masked_batch()
    found = half(inputs, lengths, training=True)
    assert found.dtype == dtype.removeprefix("mixed_")
    np.testing.assert_allclose(tf.cast(found, tf.float32), full(inputs, lengths), atol=0.08)


@pytest.mark.parametrize("one_hot", [False, True])
def test_the_gradient_of_common_words_is_right_in_half_precision(one_hot):
    """It is a sum over thousands of places, which bfloat16 cannot add up."""
    vocabulary, rng = 20, np.random.default_rng(0)
    ids = tf.constant(np.minimum(rng.geometric(0.3, (32, 250)), vocabulary) - 1, tf.int32)
    lengths = tf.fill([32], 250)
    table = tf.constant(rng.normal(0, 0.1, (vocabulary, FEATURES)).astype(np.float32))
    gradients = []
    for dtype in ("float32", "mixed_bfloat16"):
        options = {"one_hot_size": vocabulary} if one_hot else {}
        layer = Recurrence("gru", 8, return_sequences=True, dtype=dtype, **options)
        inputs = {} if one_hot else {"table": table}
        layer(ids, lengths, **inputs)
        layer.set_weights(random_weights([w.shape for w in layer.weights]))
        watched = [w.value for w in layer.trainable_weights] + ([] if one_hot else [table])
        with tf.GradientTape() as tape:
            tape.watch(watched)
            states = layer(ids, lengths, **inputs, training=True)
            total = tf.reduce_sum(tf.cast(states, tf.float32))
        gradients.append([tf.convert_to_tensor(g) for g in tape.gradient(total, watched)])
    for exact, half in zip(*gradients, strict=True):
        assert tf.norm(tf.cast(half, tf.float32) - exact) < 0.05 * tf.norm(exact)
