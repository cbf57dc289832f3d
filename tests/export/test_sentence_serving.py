"""A sentence encoder is inside the export, with the weights it has then; pieces bring their op."""

from __future__ import annotations

import re
import subprocess
import sys

import keras
import numpy as np
import pytest
from hashing_encoder import HashingEncoder, pretrained, vector_of

from sentiment_train import predict
from sentiment_train.export import read_back
from sentiment_train.export.saved_model import GOLDEN_TEXTS, export
from sentiment_train.export.serving import ServingModule
from sentiment_train.models.sentence_encoder import SentenceEncoderClassifier
from sentiment_train.schema import ModelInputs

TEXTS = (*GOLDEN_TEXTS, b"one two", b"a good film")


class Exported:
    """An exported model, and the weights that it was exported with."""

    def __init__(self, tf, mode, directory):
        config = SentenceEncoderClassifier(HashingEncoder(), mode, dense_units=())
        encoder = config.text_encoder().fit([])
        model = config.build(ModelInputs(0, 3, encoder=encoder))
        self.weights = pretrained(50)
        for variable in model.trainable_variables:  # as if it had been trained
            variable.assign(variable + 0.25)
        if mode != "frozen":
            self.weights = {name: value + 0.25 for name, value in self.weights.items()}
        self.kernel, self.bias = model.get_layer("logits").get_weights()
        self.directory = str(directory)
        module = ServingModule(model, encoder, ("bad", "so-so", "gut"))
        tf.saved_model.save(module, self.directory, signatures=module.signatures())

    def by_hand(self, texts):
        vectors = np.array([vector_of(text, self.weights) for text in texts])
        return vectors @ self.kernel + self.bias


@pytest.fixture(scope="module", params=["frozen", "fine_tune"])
def exported(tf, request, tmp_path_factory):
    keras.utils.set_random_seed(1)
    return Exported(tf, request.param, tmp_path_factory.mktemp("saved") / "model")


def test_raw_strings_get_the_logits_of_the_weights_as_they_were_exported(tf, exported):
    serve = predict.load(exported.directory).model.signatures["serving_default"]
    expected = exported.by_hand(TEXTS)
    together = serve(text=tf.constant(TEXTS))
    alone = [serve(text=tf.constant([text]))["logits"][0] for text in TEXTS]
    for found in (together["logits"], alone):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    names = np.array([b"bad", b"so-so", b"gut"])
    assert together["label"].numpy().tolist() == names[expected.argmax(axis=1)].tolist()
    assert serve(text=tf.constant([], tf.string))["probabilities"].shape == (0, 3)


def test_it_needs_no_package_but_tensorflow(exported):
    assert read_back.load(exported.directory)[1] == ""


@pytest.fixture(scope="module")
def of_pieces(tf, tmp_path_factory):
    """A SavedModel whose host half has an op of tensorflow-text."""
    tensorflow_text = pytest.importorskip("tensorflow_text")

    class Unicode(tf.Module):
        checked = "logits"

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
        def serve(self, text):
            pieces = tensorflow_text.WhitespaceTokenizer().tokenize(text)
            return {"logits": tf.cast(pieces.row_lengths(), tf.float32)[:, None]}

        def signatures(self):
            return {"serving_default": self.serve}

        def expected(self, outputs):
            return outputs

        def compared(self, answers):
            return answers

    directory = str(tmp_path_factory.mktemp("pieces") / "model")
    live = np.array([[len(text.decode("utf-8", "replace").split())] for text in GOLDEN_TEXTS])
    return export(Unicode(), directory, live, 1e-6), directory


def test_the_fresh_process_imports_tensorflow_text_if_it_must(of_pieces):
    needs, _ = of_pieces
    assert needs == "tensorflow_text"


def test_without_tensorflow_text_it_is_named_with_the_op(of_pieces):
    code = (
        "import sys; sys.modules['tensorflow_text'] = None\n"
        "from sentiment_train import predict; predict.load(sys.argv[1])"
    )
    command = [sys.executable, "-c", code, of_pieces[1]]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert re.search(
        r"DataError: .*it has an op of tensorflow-text \(.*Whitespace.*\), which is not installed:"
        r" pip install 'tensorflow-text~=2\.\d+\.0'",
        result.stderr,
    )
