"""What is trained is what is served: raw strings in, the answers of the live model out."""

import numpy as np
import pytest
from scipy.special import softmax

from sentiment_train.export.saved_model import GOLDEN_TEXTS
from sentiment_train.export.serving import ServingModule

BATCHES = {
    "golden": GOLDEN_TEXTS,
    "1 text": [b"a good film"],
    "100 texts": [b"good " * n + b"film" for n in range(100)],
    "a very long text": [b"a good film, not bad! " * 800, b"bad"],
    "invalid UTF-8": [b"caf\xe9 \xff\xfe\x00", b"\x80", b"good"],
    "no words": [b"", b" \t\n", b"?!"],
}


@pytest.fixture(scope="module", params=[1, 3])
def pair(tf, served, request, tmp_path_factory):
    """A module and the same exported and loaded."""
    live, path = served(request.param), str(tmp_path_factory.mktemp("saved") / "model")
    tf.saved_model.save(live.module, path, signatures={"serving_default": live.module.serve})
    return live, tf.saved_model.load(path), path


def answers(loaded, texts):
    import tensorflow as tf

    answer = loaded.signatures["serving_default"](text=tf.constant(texts, tf.string))
    return {name: value.numpy() for name, value in answer.items()}


@pytest.mark.parametrize("texts", BATCHES.values(), ids=BATCHES)
def test_exported_and_live_model_agree(pair, texts):
    live, loaded, _ = pair
    found = answers(loaded, texts)
    np.testing.assert_allclose(found["logits"], live.live(texts), rtol=1e-5, atol=1e-5)
    in_process = live.module.serve(np.array(texts, object))
    for name, value in in_process.items():
        if name == "label":
            assert value.numpy().tolist() == found[name].tolist()
        else:
            np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("texts", BATCHES.values(), ids=BATCHES)
def test_probabilities_sum_to_1_and_the_label_is_the_likeliest(pair, texts):
    live, loaded, _ = pair
    found = answers(loaded, texts)
    logits = found["logits"].astype(np.float64)
    if logits.shape[1] == 1:
        logits = np.concatenate([0 * logits, logits], axis=1)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found["probabilities"], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["probabilities"].sum(axis=1), 1.0, rtol=1e-6)
    labels = [live.class_names[best].encode() for best in expected.argmax(axis=1)]
    assert found["label"].tolist() == labels


@pytest.mark.parametrize("width", [1, 3])
def test_a_temperature_divides_the_logits_and_changes_no_label(tf, served, width):
    live = served(width)
    plain = live.module.serve(tf.constant(GOLDEN_TEXTS))
    module = ServingModule(live.model, live.encoder, live.class_names, temperature=2.5)
    calibrated = module.serve(tf.constant(GOLDEN_TEXTS))
    logits = calibrated["logits"].numpy()
    np.testing.assert_allclose(2.5 * logits, plain["logits"], rtol=1e-6)
    np.testing.assert_allclose(module.compared(logits), module.expected(plain["logits"]), 1e-6)
    both = logits if width == 3 else np.concatenate([0 * logits, logits], axis=1)
    np.testing.assert_allclose(calibrated["probabilities"], softmax(both, axis=1), rtol=1e-5)
    assert calibrated["label"].numpy().tolist() == plain["label"].numpy().tolist()
    nearly_even = calibrated["probabilities"].numpy().max(axis=1)
    assert (nearly_even < plain["probabilities"].numpy().max(axis=1)).all()


def test_no_text_gets_no_answer(pair):
    live, loaded, _ = pair
    for found in (answers(loaded, []), live.module.serve(np.zeros([0], object))):
        assert found["label"].shape == (0,)
        assert found["probabilities"].shape == (0, len(live.class_names))
        assert found["logits"].shape == (0, live.model.output_shape[1])


def test_the_signature_has_names_and_types(tf, pair):
    live, loaded, _ = pair
    signature = loaded.signatures["serving_default"]
    (spec,) = signature.structured_input_signature[1].values()
    assert (spec.name, spec.dtype, spec.shape.as_list()) == ("text", tf.string, [None])
    found = {n: (s.dtype, s.shape.as_list()) for n, s in signature.structured_outputs.items()}
    assert found == {
        "label": (tf.string, [None]),
        "probabilities": (tf.float32, [None, len(live.class_names)]),
        "logits": (tf.float32, [None, live.model.output_shape[1]]),
    }


def test_the_vocabulary_is_an_asset(tf, pair):
    live, _, path = pair
    (asset,) = tf.io.gfile.listdir(f"{path}/assets")
    with open(f"{path}/assets/{asset}") as file:
        assert tuple(file.read().split("\n")[:-1]) == live.encoder.words


def test_the_exported_model_does_not_need_the_directory_it_came_from(tf, pair, tmp_path):
    live, _, path = pair
    tf.io.gfile.rename(path, str(tmp_path / "moved"))
    try:
        found = answers(tf.saved_model.load(str(tmp_path / "moved")), [b"a good film"])
    finally:
        tf.io.gfile.rename(str(tmp_path / "moved"), path)
    np.testing.assert_allclose(found["logits"], live.live([b"a good film"]), atol=1e-5)
