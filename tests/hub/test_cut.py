"""The two halves together are the whole, and the device half can be compiled and trained."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from sentiment_train.hub.saved_models import load

MODELS = ("hashed", "looked", "pieces", "pair", "multilingual")
TEXTS = (
    b"The cat sat on the mat. The cat sat on the mat!",
    b"",
    b"   ",
    b"worst film ever " * 60,
    "Ein großartiger Film – 素晴らしい映画, très émouvant".encode(),
    "Это лучший фильм года 😀".encode(),
    b"@united #fail http://example.org/a?b=1 12.5 %",
    b"good",
)


@pytest.fixture(params=MODELS)
def name(request):
    return request.param


@pytest.fixture
def encoder(name, cut_encoder):
    return cut_encoder(name)


@pytest.fixture
def layer(name, encoder_layer):
    return encoder_layer(name)


def vectors(encoder, layer, texts):
    return layer(encoder.features(tf.constant(texts, tf.string))).numpy()


def test_cut_equals_whole_in_a_batch(encoder, layer):
    whole = encoder.whole.function(tf.constant(TEXTS)).numpy()
    np.testing.assert_allclose(vectors(encoder, layer, TEXTS), whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("text", TEXTS)
def test_cut_equals_whole_for_a_text_alone(encoder, layer, text):
    whole = encoder.whole.function(tf.constant([text])).numpy()
    np.testing.assert_allclose(vectors(encoder, layer, [text]), whole, rtol=1e-5, atol=1e-5)


def test_no_texts_give_no_vectors(encoder, layer):
    assert vectors(encoder, layer, []).shape == (0, encoder.dimension)


def test_bytes_that_are_not_utf8_are_read_as_replacement_characters(encoder, layer):
    broken, mended = b"good \xff film", "good \ufffd film".encode()
    np.testing.assert_array_equal(
        vectors(encoder, layer, [broken]), vectors(encoder, layer, [mended])
    )


def test_every_variable_is_a_weight_with_its_value(encoder, layer):
    there = {
        v.name.partition(":")[0].replace("/", "."): v for v in encoder.whole.function.variables
    }
    assert {w.name for w in layer.weights} == set(there)
    for weight in layer.weights:
        np.testing.assert_array_equal(weight.numpy(), there[weight.name].numpy())
        assert weight.trainable == there[weight.name].trainable


def test_gradients_of_the_halves_are_those_of_the_whole(encoder, layer):
    texts = tf.constant(TEXTS)
    target = tf.random.stateless_normal([len(TEXTS), encoder.dimension], [1, 2])
    variables = [v for v in encoder.whole.function.variables if v.trainable]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(encoder.whole.function(texts) * target)
    whole = dict(zip([v.name for v in variables], tape.gradient(loss, variables), strict=True))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(encoder.features(texts)) * target)
    values = [w.value for w in layer.trainable_weights]
    halves = zip(layer.trainable_weights, tape.gradient(loss, values), strict=True)
    halves = {weight.name: gradient for weight, gradient in halves}
    assert len(whole) == len(halves)
    for name, gradient in whole.items():
        mine = halves[name.partition(":")[0].replace("/", ".")]
        assert mine is not None, name
        dense, mine = tf.convert_to_tensor(gradient), tf.convert_to_tensor(mine)
        np.testing.assert_allclose(mine, dense, rtol=1e-4, atol=1e-4)


def test_no_string_and_no_table_is_left_on_the_device(encoder, layer):
    function = encoder.cut.apply.get_concrete_function()
    graphs = [function.graph.as_graph_def()]
    forbidden = {tf.string.as_datatype_enum, tf.resource.as_datatype_enum}
    found = [
        node.name
        for graph in graphs
        for node in (*graph.node, *(n for f in graph.library.function for n in f.node_def))
        for attribute in node.attr.values()
        if forbidden & {attribute.type, *attribute.list.type}
    ]
    assert not found
    tensors = [t for op in function.graph.get_operations() for t in op.outputs]
    assert tensors
    assert not [t for t in tensors if t.dtype in (tf.string, tf.resource)]


def test_the_device_half_and_its_gradients_compile(encoder, layer):
    features = encoder.features(tf.constant(TEXTS))

    def value_and_gradients(features):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(features) ** 2)
        return loss, tape.gradient(loss, [w.value for w in layer.trainable_weights])

    plain = tf.nest.flatten(value_and_gradients(features))
    compiled = tf.nest.flatten(tf.function(value_and_gradients, jit_compile=True)(features))
    for one, other in zip(plain, compiled, strict=True):
        one = tf.convert_to_tensor(one)
        np.testing.assert_allclose(tf.convert_to_tensor(other), one, rtol=1e-4, atol=1e-4)


def test_little_passes_the_border(cut_encoder):
    """Of BERT the three inputs or fewer, not the mask of pairs of places made of them."""
    specs = cut_encoder("pair").feature_specs
    assert len(specs) <= 4
    assert all(len(shape) <= 2 for shape, _ in specs.values())


def test_layers_nearest_to_the_output_come_first(encoder_layer):
    names = encoder_layer("pair").top_first
    assert names[0] == "layer_0.pooler.kernel"
    assert {n.partition(".")[0] for n in names[-3:]} == {"embeddings"}
    assert names.index("layer_norm.gamma") < names.index("layer_0.query.kernel")


def test_mixed_precision_leaves_the_encoder_in_float32(cut_encoder, encoder_layer):
    import keras

    encoder = cut_encoder("looked")
    features = encoder.features(tf.constant(TEXTS))
    expected = encoder_layer("looked")(features)
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    try:
        layer = encoder.settings.layer(encoder, "encoder")
        found = layer(features)
    finally:
        keras.mixed_precision.set_dtype_policy(before)
    assert found.dtype == tf.float32
    np.testing.assert_array_equal(found, expected)


def test_two_replicas_agree_with_one(cut_encoder, encoder_layer):
    """One step of gradient descent on a batch, and on its halves with the gradients summed."""
    encoder = cut_encoder("hashed")
    strategy = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])
    with strategy.scope():
        layer = encoder.settings.layer(encoder, "encoder")
    alone = encoder_layer("hashed")

    def gradients(layer, features):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(features)[:, 0])
        gradients = tape.gradient(loss, [w.value for w in layer.trainable_weights])
        return [tf.convert_to_tensor(g) for g in gradients]

    parts = [encoder.features(tf.constant(part)) for part in (TEXTS[:4], TEXTS[4:])]

    @tf.function
    def of_replicas(parts):
        def step(part):
            found = gradients(layer, part)
            return tf.distribute.get_replica_context().all_reduce("sum", found)

        return strategy.run(step, args=(parts,))

    values = strategy.experimental_distribute_values_from_function(
        lambda context: parts[context.replica_id_in_sync_group]
    )
    both = [strategy.experimental_local_results(g)[0] for g in of_replicas(values)]
    for one, two in zip(gradients(alone, encoder.features(tf.constant(TEXTS))), both, strict=True):
        np.testing.assert_allclose(two, one, rtol=1e-5, atol=1e-6)


class _Distinct(tf.Module):
    """Counts distinct words, so they must not be looked up each time; and 0 / 0 for no words."""

    def __init__(self):
        super().__init__()
        self.table = tf.Variable(np.random.default_rng(6).normal(0, 1, [50, 3]), dtype=tf.float32)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def __call__(self, texts):
        words = tf.strings.split(texts)
        distinct, places = tf.unique(tf.strings.to_hash_bucket_fast(words.flat_values, 50))
        vectors = tf.gather(tf.gather(self.table, distinct), places)
        means = tf.reduce_mean(words.with_flat_values(vectors), axis=1)
        return means / tf.cast(tf.size(distinct), tf.float32)


def test_a_wrong_cut_is_noticed_though_some_vectors_are_no_numbers(tmp_path):
    from sentiment_train.hub.encoder import HubEncoder

    tf.saved_model.save(_Distinct(), str(tmp_path))
    settings = HubEncoder(str(tmp_path))
    encoder = settings.text_encoder(frozen=False).fit([])
    whole = encoder.whole.function(tf.constant([b"bad bad film", b"", b"bad"])).numpy()
    assert np.isnan(whole[1]).all()
    features = encoder.cut.host(tf.constant([b"bad bad film", b"", b"bad"]))
    halves = encoder.cut.apply(features, [tf.convert_to_tensor(v) for v in encoder.cut.variables])
    np.testing.assert_allclose(halves, whole, rtol=1e-5)


class _Uncuttable(tf.Module):
    """Encoders that cannot be cut, each for a reason of its own."""

    def __init__(self):
        super().__init__()
        self.kernel = tf.Variable(tf.ones([3, 2]), name="kernel")
        self.calls = tf.Variable(0.0, trainable=False, name="calls")

    def constant(self, texts):
        return tf.cast(tf.strings.length(texts), tf.float32)[:, None] * tf.ones([1, 2])

    def changing(self, texts):
        self.calls.assign_add(1.0)
        return self.constant(texts) @ tf.ones([2, 3]) @ self.kernel

    def strings_after(self, texts):
        names = tf.strings.as_string(self.constant(texts) @ tf.ones([2, 3]) @ self.kernel)
        return tf.strings.to_number(names)

    def failing(self, texts):
        with tf.control_dependencies([tf.debugging.assert_positive(tf.strings.length(texts))]):
            return self.constant(texts) @ tf.ones([2, 3]) @ self.kernel

    def looping(self, texts):
        x = self.constant(texts) @ tf.ones([2, 3])
        total = tf.zeros_like(x[:, :2])
        for _ in tf.range(3):
            total += x @ self.kernel
        return total


@pytest.mark.parametrize(
    "method, reason",
    [
        ("constant", "its output depends on no variable"),
        ("changing", "it changes its own state, or calls Python (AssignAddVariableOp)"),
        ("strings_after", "works on strings, and on a variable of the model"),
        ("looping", "the variable kernel:0 is read in a"),
    ],
)
def test_what_cannot_be_cut_says_why_and_can_be_used_frozen(tmp_path, method, reason):
    from sentiment_train.errors import ConfigError
    from sentiment_train.hub.encoder import HubEncoder

    module = _Uncuttable()
    module.__call__ = tf.function(getattr(module, method), input_signature=[
        tf.TensorSpec([None], tf.string)])  # fmt: skip
    tf.saved_model.save(module, str(tmp_path), {"serving_default": module.__call__})
    settings = HubEncoder(str(tmp_path))
    assert reason in settings.why_not_cut()
    with pytest.raises(ConfigError, match=r"Use it with .*\.mode = 'frozen'") as error:
        settings.text_encoder(frozen=False).fingerprint()
    assert reason in error.value.message
    frozen = settings.text_encoder(frozen=True).fit([])
    found = frozen.features(tf.constant(TEXTS))["tokens"][:, 0]
    whole = load(str(tmp_path), None, None, None).function(tf.constant(TEXTS))
    np.testing.assert_allclose(found, whole, rtol=1e-6)


def test_a_model_that_fails_for_some_text_is_said_to(tmp_path):
    from sentiment_train.hub.encoder import HubEncoder

    module = _Uncuttable()
    module.__call__ = tf.function(module.failing, input_signature=[
        tf.TensorSpec([None], tf.string)])  # fmt: skip
    tf.saved_model.save(module, str(tmp_path))
    why = HubEncoder(str(tmp_path)).why_not_cut()
    assert why.startswith("it fails for some texts (assertion failed: ")
    assert "Condition x > 0 did not hold" in why
