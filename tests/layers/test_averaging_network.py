"""The network of the Universal Sentence Encoder with few random weights is its formula."""

import keras
import numpy as np
import pytest

from sentiment_train.layers.averaging_network import (
    CHUNKS,
    EPSILON,
    ORDERS,
    AveragingNetwork,
    network_shapes,
    packed_shapes,
)
from sentiment_train.layers.dropout import random_key

pytestmark = pytest.mark.usefixtures("tf")

PIECES, LENGTH = 40, 9
SHAPES = network_shapes(PIECES, units=8, ngram_units=4, hidden_units=6)
LENGTHS = np.array([9, 1, 4, 7, 2, 8], np.int32)


def some_weights(name):
    rng = np.random.default_rng(sum(map(ord, name)))
    if name == "piece_codes":
        return rng.integers(0, 64, SHAPES["piece_embeddings"]).astype(np.uint8)
    shape = {"code_scales": (CHUNKS,), "code_offsets": (CHUNKS,)}.get(name) or SHAPES[name]
    return rng.normal(0, 0.5, shape).astype(np.float32)


def make(packed=False, **options):
    shapes = packed_shapes(SHAPES) if packed else SHAPES
    layer = AveragingNetwork(shapes, some_weights, name="encoder", **options)
    layer.build()
    return layer


@pytest.fixture(scope="module")
def network(tf):
    return make()


def features(padding=0):
    """tokens `[6, 9]`, lengths `[6]`."""
    tokens = (
        np.random.default_rng(1).integers(0, PIECES - 1, (len(LENGTHS), LENGTH)).astype(np.int32)
    )
    tokens = np.where(np.arange(LENGTH) < LENGTHS[:, None], tokens, padding)
    return {"tokens": tokens, "lengths": LENGTHS}


def norm(x, name):
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + EPSILON)
    return x * some_weights(f"{name}_gamma") + some_weights(f"{name}_beta")


def window(x, n, name):
    """`[length, units]`: for each piece the product of those around it with a kernel."""
    kernel, left = some_weights(f"{name}_kernel"), (n - 1) // 2
    rows = np.zeros((len(x), kernel.shape[2]))
    for t in range(len(x)):
        for k in range(n):
            if 0 <= t + k - left < len(x):
                rows[t] += x[t + k - left] @ kernel[k]
    return np.maximum(rows + some_weights(f"{name}_bias"), 0)


def formula(ids):
    """The vector of one text in float64, by the equations at the top of the module."""
    w = {name: some_weights(name).astype(np.float64) for name in SHAPES}
    vectors = w["piece_embeddings"][ids]
    p = norm(vectors @ w["projection_kernel"] + w["projection_bias"], "projection")
    parts = [vectors]
    for n, x in zip(ORDERS, np.split(p, len(ORDERS), axis=-1), strict=True):
        h = x + window(x, n, f"ngram{n}_1")
        parts.append(h + window(h, n, f"ngram{n}_2"))
    pieces = norm(np.concatenate(parts, -1), "average") @ w["average_kernel"] + w["average_bias"]
    s = pieces.sum(0) / np.sqrt(len(ids))
    y = s @ w["deep_2_skip_kernel"] + np.maximum(s @ w["deep_1_kernel"], 0) @ w["deep_2_kernel"]
    y = np.maximum(y, 0)
    z = y @ w["deep_4_skip_kernel"] + np.maximum(y @ w["deep_3_kernel"], 0) @ w["deep_4_kernel"]
    return np.tanh(z) / np.linalg.norm(np.tanh(z))


def test_every_text_of_a_batch_gets_what_the_formula_says(network):
    batch = features()
    rows = zip(batch["tokens"], LENGTHS, strict=True)
    expected = [formula(tokens[:length]) for tokens, length in rows]
    np.testing.assert_allclose(network(batch), expected, atol=2e-6)


def test_padding_changes_nothing_whatever_it_is_and_however_long(network):
    vectors = network(features())
    np.testing.assert_array_equal(network(features(padding=PIECES - 1)), vectors)
    batch = features()
    batch["tokens"] = np.pad(batch["tokens"], [(0, 0), (0, 30)])
    np.testing.assert_allclose(network(batch), vectors, atol=1e-6)


def test_a_batch_of_no_rows_gives_no_rows(network):
    empty = {"tokens": np.zeros((0, 1), np.int32), "lengths": np.zeros(0, np.int32)}
    assert network(empty).shape == (0, 8)


def gradients(tf, layer, batch, compiled=False):
    """Of a sum with different factors, dense, by name."""
    weights = [weight.value for weight in layer.trainable_variables]

    def run():
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(layer(batch) * tf.range(8.0))
        return [tf.convert_to_tensor(g) for g in tape.gradient(total, weights)]

    found = tf.function(run, jit_compile=compiled)()
    return dict(zip((w.name for w in layer.trainable_variables), found, strict=True))


def difference(found, expected):
    """The largest one, as a share of the largest number."""
    return np.abs(found - expected).max() / np.abs(expected).max()


def test_every_weight_gets_a_gradient_and_padding_none(tf, network):
    batch = features(padding=PIECES - 1)
    used = np.unique(np.concatenate([t[:n] for t, n in zip(batch["tokens"], LENGTHS, strict=True)]))
    found = gradients(tf, network, batch)
    assert list(found) == list(SHAPES)
    for name, gradient in found.items():
        assert np.isfinite(gradient).all(), name
        assert np.abs(gradient).max() > 1e-4, name
    rows = np.flatnonzero(np.abs(found["piece_embeddings"]).sum(axis=1))
    assert PIECES - 1 not in used
    np.testing.assert_array_equal(rows, used)


def test_compiled_it_gives_the_same_vectors_and_gradients(tf, network):
    batch = {name: tf.constant(value) for name, value in features().items()}
    compiled = tf.function(network, jit_compile=True)(batch)
    np.testing.assert_allclose(compiled, network(batch), atol=1e-6)
    plain = gradients(tf, network, batch)
    for name, gradient in gradients(tf, network, batch, compiled=True).items():
        assert difference(gradient, plain[name]) < 5e-5, name


@pytest.mark.parametrize("policy, tolerance", [("mixed_bfloat16", 0.05), ("mixed_float16", 0.01)])
def test_a_reduced_precision_is_close_and_keeps_weights_and_vectors_float32(
    tf, network, policy, tolerance
):
    layer = make(dtype=policy)
    vectors = layer(features())
    assert vectors.dtype == tf.float32
    assert {weight.dtype for weight in layer.weights} == {"float32"}
    np.testing.assert_allclose(vectors, network(features()), atol=tolerance)
    assert np.abs(vectors - network(features())).max() > 1e-6  # it is in use
    assert all(np.isfinite(g).all() for g in gradients(tf, layer, features()).values())


def test_a_packed_table_gives_the_same_bits_as_the_unpacked_one():
    packed, unpacked = make(packed=True), make()
    codes, scales, offsets = (w.numpy() for w in packed.weights[-3:])
    chunks = np.arange(PIECES) % CHUNKS
    unpacked.weights[0].assign(codes * scales[chunks, None] + offsets[chunks, None])
    np.testing.assert_array_equal(packed(features()), unpacked(features()))
    assert packed.top_first == unpacked.top_first[:-1]
    assert codes.dtype == np.uint8


def test_two_replicas_give_the_vectors_and_gradients_of_one(tf, network):
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        layer = make()
    batch = features()
    halves = [
        {name: value[half] for name, value in batch.items()} for half in ([0, 1, 2], [3, 4, 5])
    ]

    @tf.function
    def run(values):
        return strategy.run(lambda part: sums(part), args=(values,))

    def sums(part):
        found = gradients(tf, layer, part)
        context = tf.distribute.get_replica_context()
        return layer(part), context.all_reduce("sum", list(found.values()))

    parts = strategy.experimental_distribute_values_from_function(
        lambda c: halves[c.replica_id_in_sync_group]
    )
    vectors, total = run(parts)
    vectors = np.concatenate(strategy.experimental_local_results(vectors))
    np.testing.assert_allclose(vectors, network(batch), atol=1e-6)
    for found, expected in zip(total, gradients(tf, network, batch).values(), strict=True):
        assert difference(strategy.experimental_local_results(found)[1], expected) < 5e-5


def test_in_a_model_its_variables_have_short_names_from_the_top_down(tf):
    inputs = {
        "tokens": keras.Input([None], dtype="int32", name="tokens"),
        "lengths": keras.Input([], dtype="int32", name="lengths"),
    }
    layer = AveragingNetwork(SHAPES, some_weights, name="encoder")
    model = keras.Model(inputs, keras.layers.Dense(2)(layer(inputs)))
    paths = [weight.path for weight in model.trainable_variables[:-2]]
    assert paths == [f"encoder/{name}" for name in SHAPES]
    assert layer.top_first == list(SHAPES)[::-1]
    assert model(features()).shape == (len(LENGTHS), 2)


def test_dropout_takes_whole_dimensions_and_only_while_training(tf, network):
    layer = make(embedding_dropout=0.5)
    np.testing.assert_array_equal(layer(features()), network(features()))
    with random_key(tf.constant([1, 2])):
        first, again = (layer(features(), training=True) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - network(features())).max() > 0.1


def test_without_given_values_it_starts_at_random():
    fresh = AveragingNetwork(SHAPES)
    fresh.build()
    values = {weight.name: weight.numpy() for weight in fresh.weights}
    assert all(values[name].std() > 0 for name in values if name.endswith(("kernel", "dings")))
    assert (values["average_gamma"] == 1).all()
    assert not values["ngram3_1_bias"].any()
    assert np.isfinite(fresh(features())).all()
