"""Filler texts give every batch of a bucket the same shapes."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from sentiment_train.errors import DataError
from sentiment_train.hub import border
from sentiment_train.hub.encoder import HubEncoder

BUCKETS = (1, 6, 13, 40)
ROWS = 6
WORDS = "the a film was good bad, great! ever mat 12.5 @united überall 素晴らしい"


def random_texts(count, seed=0):
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS.split(), n)).encode() for n in rng.integers(0, 14, count)]


@pytest.fixture(params=("hashed", "looked", "pieces", "pair"))
def name(request):
    return request.param


@pytest.fixture
def encoder(name, cut_encoder):
    return cut_encoder(name)


def lengths_of(encoder, texts):
    encode = tf.function(lambda texts: encoder.encode(texts).row_lengths())
    return encode(tf.constant(texts)).numpy()


def batches_of(encoder, count, seed=0):
    """Yields random batches by bucket: longest, shortest, texts and fillers, lengths."""
    texts = random_texts(120, seed)
    lengths = lengths_of(encoder, texts)
    last = max(BUCKETS[-1], lengths.max())
    edges = (*BUCKETS[:-1], int(last)) if lengths.min() < lengths.max() else (int(last),)
    rng = np.random.default_rng(seed)
    for shortest, longest in zip((1, *(e + 1 for e in edges[:-1])), edges, strict=True):
        there = np.flatnonzero((lengths >= shortest) & (lengths <= longest))
        for _ in range(count if len(there) else 0):
            chosen = rng.choice(there, rng.integers(1, ROWS + 1))
            rest = [None] * (ROWS - len(chosen))
            given_lengths = [*lengths[chosen].tolist(), *(0 for _ in rest)]
            yield longest, shortest, [texts[i] for i in chosen] + rest, given_lengths


def test_shapes_are_constant_in_a_bucket(encoder):
    assert encoder.static_shapes, encoder.why_not_static
    shapes = {}
    for longest, shortest, texts, _ in batches_of(encoder, 8):
        features = encoder.batch_features(texts, longest, shortest)
        found = {name: value.shape for name, value in features.items()}
        assert shapes.setdefault(longest, found) == found
        assert all(len(shape) >= 1 for shape in found.values())
    assert len(shapes) >= 1


def test_known_lengths_change_nothing(encoder):
    for longest, shortest, texts, lengths in batches_of(encoder, 1, seed=1):
        measured = encoder.batch_features(texts, longest, shortest)
        known = encoder.batch_features(texts, longest, shortest, lengths)
        for name, value in measured.items():
            np.testing.assert_array_equal(known[name], value)


def test_a_bucket_compiles_once_and_fillers_change_no_vector(name, encoder, encoder_layer):
    layer = encoder_layer(name)
    compiled = tf.function(lambda features: layer(features), jit_compile=True)
    buckets = set()
    for longest, shortest, texts, _ in batches_of(encoder, 3, seed=2):
        buckets.add(longest)
        found = compiled(
            {k: tf.constant(v) for k, v in encoder.batch_features(texts, longest, shortest).items()}
        )
        real = [text for text in texts if text is not None]
        whole = encoder.whole.function(tf.constant(real)).numpy()
        assert found.shape == (ROWS, encoder.dimension)
        np.testing.assert_allclose(found[: len(real)], whole, rtol=1e-5, atol=1e-5)
    assert compiled.experimental_get_tracing_count() == len(buckets)


def test_what_is_declared_is_what_comes(encoder):
    longest, shortest, texts, _ = next(batches_of(encoder, 1))
    features = encoder.batch_features(texts, longest, shortest)
    assert features.keys() == encoder.feature_specs.keys()
    for name, (shape, dtype) in encoder.feature_specs.items():
        assert features[name].dtype == dtype
        assert tf.TensorShape(shape).is_compatible_with(features[name].shape)


def test_every_text_has_a_length_of_at_least_one(encoder):
    assert lengths_of(encoder, [b"", b" ", b"good", b"good film"]).min() >= 1


def test_texts_of_a_fixed_size_are_as_long_as_their_places(cut_encoder):
    assert set(lengths_of(cut_encoder("pair"), [b"", b"good", b"worst ever " * 50])) == {16}


def test_wrong_lengths_are_noticed(cut_encoder):
    with pytest.raises(DataError, match="do not follow from the lengths"):
        cut_encoder("hashed").batch_features([b"a good film", b"bad"], 5, 1, [1, 1])


def test_dynamic_shapes_can_be_asked_for_and_give_the_same_vectors(settings):
    encoder = settings("hashed", static_shapes=False).text_encoder(frozen=False).fit([])
    assert not encoder.static_shapes
    assert encoder.why_not_static == "HubEncoder.static_shapes = False"
    layer = encoder.settings.layer(encoder, "encoder")
    found = layer(encoder.batch_features([b"a good film", None], 7))
    whole = encoder.whole.function(tf.constant([b"a good film"]))
    np.testing.assert_allclose(found[:1], whole, rtol=1e-5)
    assert lengths_of(encoder, [b"a good film"])[0] >= 3


class Averaging(tf.Module):
    """The mean over the words of a text, as many write it: 0 / 0 without any."""

    def __init__(self):
        super().__init__()
        self.table = tf.Variable(np.random.default_rng(5).normal(0, 1, [50, 4]), dtype=tf.float32)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def __call__(self, texts):
        words = tf.strings.split(texts)
        ids = tf.strings.to_hash_bucket_fast(words.flat_values, 50)
        vectors = tf.reduce_mean(words.with_flat_values(tf.gather(self.table, ids)), axis=1)
        return tf.nn.l2_normalize(vectors, axis=-1)


@pytest.mark.parametrize("static_shapes", [True, False])
def test_fillers_poison_no_gradient_where_a_text_without_words_would(tmp_path, static_shapes):
    tf.saved_model.save(Averaging(), str(tmp_path))
    hub = HubEncoder(str(tmp_path), static_shapes=static_shapes)
    encoder = hub.text_encoder(frozen=False).fit([])
    assert encoder.static_shapes == static_shapes
    layer = hub.layer(encoder, "encoder")
    weights = tf.constant([[1.0], [1.0], [0.0]])
    with tf.GradientTape() as tape:
        vectors = layer(encoder.batch_features([b"good", b"a film", None], 6, 1))
        loss = tf.reduce_sum(weights * vectors)
    assert np.isfinite(loss)
    (gradient,) = tape.gradient(loss, [v.value for v in layer.trainable_variables])
    assert np.isfinite(tf.convert_to_tensor(gradient)).all()


def rule(flat, padded, offset=0, longest=10_000):
    terms = [[0, 1, 0, 0], *([[1, -1, 2, 0]] * flat), *([[0, 0, 0, 1]] * padded)]
    return border.Rule(np.array(terms, np.int64), (1,) * len(terms), b"a", offset, longest)


@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=12),
    slack=st.integers(0, 5),
    flat=st.booleans(),
    padded=st.booleans(),
    offset=st.integers(0, 1),
    longest=st.integers(36, 200),
)
@settings(max_examples=200, deadline=None)
def test_fillers_complete_any_batch(lengths, slack, flat, padded, offset, longest):
    """For whatever texts of `shortest` to `bucket` there are, the sizes are those of full texts."""
    one = rule(flat, padded, offset, longest)
    shortest, bucket = min(lengths), max(lengths) + slack
    added = one.fillers(lengths, bucket, shortest)
    full = [bucket] * len(lengths)
    expected = one.sizes([*full, *one.fillers(full, bucket, shortest)])
    assert one.sizes([*lengths, *added]).tolist() == expected.tolist()
    with_word = 1 if padded and bucket == 2 and bucket > shortest else min(1 + offset, bucket)
    assert all(with_word <= length <= longest for length in added)
    assert len(added) <= (1 + offset) * len(lengths) + 1


def shapes_given_by(function):
    """A host half that gives tensors of the sizes that a function of texts says."""
    return lambda texts: [tf.zeros([size, 0]) for size in function(texts.numpy().tolist())]


def test_two_kinds_of_length_are_refused_with_a_text_that_shows_them():
    host = shapes_given_by(
        lambda texts: [sum(len(t.split()) for t in texts), sum(len(t) for t in texts)]
    )
    why = border.learn(host)
    assert "two lengths at once" in why


def test_sizes_that_depend_on_the_words_are_refused():
    host = shapes_given_by(lambda texts: [len({word for t in texts for word in t.split()})])
    assert isinstance(border.learn(host), str)


def test_a_model_that_cuts_its_texts_has_a_rule_up_to_there():
    found = border.learn(
        shapes_given_by(lambda texts: [max(min(len(t.split()), 9) for t in texts)])
    )
    assert isinstance(found, border.Rule)
    assert found.padded
    assert not found.flat
    assert found.longest == 9 + found.offset


@pytest.mark.parametrize(
    "name, kind",
    [
        ("hashed", "flat; filler texts of 'a' keep shapes static"),
        ("looked", "padded; filler texts of 'a' keep shapes static"),
        ("pieces", "flat and padded; filler texts of 'a' keep shapes static"),
        ("pair", "every text has 16 places"),
    ],
)
def test_what_was_learnt_is_said(cut_encoder, name, kind):
    (label, what), (_, passing), (_, rule) = cut_encoder(name).lines
    assert label == "encoder"
    assert "variables on the device" in what
    assert passing.startswith("at the border: ")
    assert rule == kind
