"""A pretrained encoder under a head: the same answers in every mode, other variables in each."""

import keras
import numpy as np
import pytest
from hashing_encoder import DIMENSION, HashingEncoder, pretrained, vector_of

from sentiment_train.data.encoders import features_of
from sentiment_train.errors import ConfigError
from sentiment_train.models.sentence_encoder import SentenceEncoderClassifier
from sentiment_train.schema import ModelInputs, SentenceEncoder, VariableGroup

MODES = ("frozen", "fine_tune", "gradual")
TEXTS = [b"a good film", b"", b"bad \xff", b"one two three four five six"]


def settings(mode, **options):
    return SentenceEncoderClassifier(HashingEncoder(), mode, **options)


def built(mode, num_classes=3, **options):
    """Settings, fitted encoder and model; the head is the same in every mode."""
    config = settings(mode, **options)
    encoder = config.text_encoder().fit([])
    keras.utils.set_random_seed(3)
    model = config.build(ModelInputs(encoder.vocabulary_size, num_classes, encoder=encoder))
    rng = np.random.default_rng(5)
    for layer in model.layers:
        if layer.name != "encoder":
            layer.set_weights([rng.normal(0, 0.5, w.shape) for w in layer.get_weights()])
    return config, encoder, model


@pytest.fixture(scope="module")
def models(tf):
    return {mode: built(mode, dense_units=(5,)) for mode in MODES}


def by_hand(model):
    """`[texts, classes]` logits, from the text on."""
    vectors = np.array([vector_of(text, pretrained(50)) for text in TEXTS])
    (hidden, bias), (kernel, logits_bias) = (
        model.get_layer(name).get_weights() for name in ("dense_1", "logits")
    )
    return np.maximum(vectors @ hidden + bias, 0) @ kernel + logits_bias


@pytest.mark.parametrize("mode", MODES)
def test_the_head_gets_the_pretrained_vector_of_each_text(tf, models, mode):
    _, encoder, model = models[mode]
    logits = model(features_of(encoder, tf.constant(TEXTS)), training=False)
    np.testing.assert_allclose(logits, by_hand(model), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_no_texts_have_no_logits(tf, models, mode):
    _, encoder, model = models[mode]
    none = features_of(encoder, tf.constant([], tf.string))
    assert model(none, training=False).shape == (0, 3)


def test_the_features_of_a_batch_give_the_same_logits(tf, models):
    _, encoder, model = models["fine_tune"]
    features = encoder.batch_features([TEXTS[0], None, *TEXTS[1:]], 8, 1, [3, 1, 1, 2, 6])
    logits = model(features, training=False).numpy()
    np.testing.assert_allclose(np.delete(logits, 1, 0), by_hand(model), rtol=1e-5, atol=1e-6)


def test_all_weights_of_the_encoder_are_weights_of_the_model_unless_it_is_frozen(models):
    head = DIMENSION * 5 + 5 + 5 * 3 + 3
    encoder = 50 * DIMENSION + DIMENSION * DIMENSION
    counts = {mode: model.count_params() for mode, (_, _, model) in models.items()}
    assert counts == {"frozen": head, "fine_tune": head + encoder, "gradual": head + encoder}
    for mode in ("fine_tune", "gradual"):
        paths = {variable.path for variable in models[mode][2].trainable_variables}
        assert {"encoder/table", "encoder/kernel"} < paths


def test_the_layer_of_the_vectors_is_named_where_they_may_change(models):
    for mode in ("fine_tune", "gradual"):
        assert models[mode][2].embeddings == "encoder"
    assert not hasattr(models["frozen"][2], "embeddings")


def test_the_encoder_has_a_learning_rate_of_its_own():
    config, _, model = built("fine_tune", encoder_learning_rate=2e-5, encoder_warmup="9 steps")
    assert config.parameter_groups(model) == (
        VariableGroup(("encoder/*",), 2e-5, "0 steps", "9 steps"),
    )
    config, _, model = built("frozen")
    assert config.parameter_groups(model) == ()


def test_an_encoder_is_unfrozen_from_the_top():
    config, _, model = built("gradual", unfreeze=("1 epochs", "2 epochs"))
    groups = config.parameter_groups(model)
    assert [(g.variables, g.starts) for g in groups] == [
        (("encoder/kernel",), "1 epochs"),
        (("encoder/table",), "2 epochs"),
    ]
    assert {g.learning_rate for g in groups} == {1e-4}
    model.get_layer("encoder")._kernel.trainable = False
    with pytest.raises(ConfigError, match="has more parts than the encoder has variables, 1"):
        config.parameter_groups(model)
    (group,) = settings("gradual").parameter_groups(model)
    assert group.variables == ("encoder/table",)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_an_encoder_may_stay_float32_in_a_short_precision(tf, models, precision):
    keras.mixed_precision.set_dtype_policy(precision)
    try:
        _, encoder, model = built("fine_tune", dense_units=(5,))
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    dtypes = {layer.name: layer.compute_dtype for layer in model.layers if layer.weights}
    assert dtypes == {"encoder": "float32", "dense_1": precision[6:], "logits": "float32"}
    logits = model(features_of(encoder, tf.constant(TEXTS)), training=False)
    np.testing.assert_allclose(logits, by_hand(model), atol=0.05)


def test_two_classes_have_one_logit():
    assert built("frozen", num_classes=2)[2].output_shape == (None, 1)
    assert built("fine_tune", num_classes=2, output="softmax")[2].output_shape == (None, 2)
    with pytest.raises(ConfigError, match=r"SentenceEncoderClassifier.output = 'sigmoid' is for"):
        built("fine_tune", output="sigmoid")


@pytest.mark.parametrize(
    "mode, options, message",
    [
        ("thawed", {}, r"mode = 'thawed' .*'frozen' \| 'fine_tune' \| 'gradual'"),
        ("fine_tune", {"encoder_learning_rate": 0.0}, "encoder_learning_rate = 0.0 .*above 0"),
        ("frozen", {"encoder_learning_rate": 1e-5}, "changes nothing while mode = 'frozen'"),
        ("frozen", {"encoder_warmup": "1 epochs"}, "changes nothing while mode = 'frozen'"),
        ("fine_tune", {"unfreeze": ("2 epochs",)}, "changes nothing while mode = 'fine_tune'"),
        ("gradual", {"unfreeze": ()}, "unfreeze = .*at least one"),
        ("gradual", {"unfreeze": ("1 epochs", "2 weeks")}, "unfreeze = .*is no length of time"),
        ("fine_tune", {"encoder_warmup": "0.5 steps"}, "encoder_warmup = .*a part of a step"),
        ("frozen", {"dense_units": (0,)}, "dense_units = .*numbers above 0"),
        ("frozen", {"dropout": 1.0}, "dropout = 1.0"),
    ],
)
def test_settings_that_cannot_work_are_refused(mode, options, message):
    with pytest.raises(ConfigError, match=message):
        settings(mode, **options)


def test_the_encoder_has_a_say_in_the_mode():
    encoder = HashingEncoder(static_shapes=False)
    with pytest.raises(ConfigError, match=r"HashingEncoder\.static_shapes = False is not for mode"):
        SentenceEncoderClassifier(encoder, "gradual")
    assert SentenceEncoderClassifier(encoder, "fine_tune").mode == "fine_tune"


def test_settings_of_an_encoder_are_known_by_their_methods():
    assert isinstance(HashingEncoder(), SentenceEncoder)
    with pytest.raises(ConfigError, match=r"encoder = .*expected a SentenceEncoder"):
        SentenceEncoderClassifier("https://tfhub.dev/google/universal-sentence-encoder/4")
