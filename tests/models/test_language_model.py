"""A language model predicts each token from those before it, and from nothing else."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from sentiment_train.errors import ConfigError
from sentiment_train.layers.dropout import random_key
from sentiment_train.models.language_model import LanguageModel
from sentiment_train.models.recurrent import RecurrentClassifier
from sentiment_train.schema import ModelInputs

VOCABULARY, LENGTH = 9, 6
SHAPES = {
    "forward": {"units": (4, 3)},
    "forward, tied": {"units": (3, 5), "tie_embeddings": True},
    "both ways": {"units": (4,), "bidirectional": True},
    "both ways, tied": {"units": (5,), "bidirectional": True, "tie_embeddings": True},
    "one-hot": {"units": (4,), "input": "one_hot", "cell": "simple"},
}


def build(**settings):
    made = LanguageModel(**{"embedding_size": 5, "cell": "gru", **settings})
    model = made.build(ModelInputs(VOCABULARY, 2, use_cudnn=False))
    rng = np.random.default_rng(5)
    model.set_weights([rng.normal(0, 0.7, w.shape) for w in model.weights])
    return model


def features_of(tokens, lengths=None):
    lengths = np.full(len(tokens), tokens.shape[1]) if lengths is None else lengths
    return {"tokens": tf.constant(tokens, tf.int32), "lengths": tf.constant(lengths, tf.int32)}


def per_token(model, tokens):
    """`[rows, length, directions]` log-probabilities of rows without padding."""
    layer, features = model.get_layer("next_token"), features_of(tokens)
    forward, tokens, lengths, *others = keras.Model(model.input, layer.input)(features)
    backward = others.pop(0) if layer.directions == 2 else None
    table = others.pop() if others else None
    return layer.per_token(forward, tokens, lengths, backward, table)[0].numpy()


def random_tokens(rows, seed=0):
    return np.random.default_rng(seed).integers(1, VOCABULARY, (rows, LENGTH))


@pytest.mark.parametrize("settings", SHAPES.values(), ids=SHAPES)
def test_a_token_is_predicted_without_seeing_what_comes_after_it(settings):
    model, tokens, place = build(**settings), random_tokens(1), 3
    changed = np.repeat(tokens, 2, axis=0)
    changed[1, place:] = (changed[1, place:] + 1) % VOCABULARY
    before, after = per_token(model, changed)
    np.testing.assert_array_equal(before[:place, 0], after[:place, 0])
    assert (np.abs(before[place:, 0] - after[place:, 0]) > 1e-4).all()
    if settings.get("bidirectional"):
        changed = changed[:, ::-1]  # now the first tokens differ, and the last 3 are the same
        before, after = per_token(model, changed)
        np.testing.assert_array_equal(before[place:, 1], after[place:, 1])
        assert (np.abs(before[:place, 1] - after[:place, 1]) > 1e-4).all()


@pytest.mark.parametrize("settings", SHAPES.values(), ids=SHAPES)
def test_the_probabilities_of_all_tokens_at_a_place_sum_to_1(settings):
    """They would not if the prediction depended on the answer."""
    model = build(**settings)
    for place in (0, 2, LENGTH - 1):
        tokens = np.repeat(random_tokens(1), VOCABULARY, axis=0)
        tokens[:, place] = range(VOCABULARY)
        log_probabilities = per_token(model, tokens)[:, place]  # [vocabulary, directions]
        np.testing.assert_allclose(np.exp(log_probabilities).sum(axis=0), 1.0, rtol=1e-5)


@pytest.mark.parametrize("settings", SHAPES.values(), ids=SHAPES)
def test_padding_and_the_other_texts_of_a_batch_change_nothing(settings):
    model, lengths = build(**settings), np.array([6, 1, 4], np.int32)
    tokens = np.where(np.arange(LENGTH) < lengths[:, None], random_tokens(3), 0)
    together = model(features_of(tokens, lengths)).numpy()
    directions = 2 if settings.get("bidirectional") else 1
    np.testing.assert_array_equal(together[:, 1], lengths * directions)
    for row, length, sums in zip(tokens, lengths, together, strict=True):
        alone = per_token(model, row[None, :length])
        assert alone.shape == (1, length, directions)
        assert sums[0] == pytest.approx(alone.sum(), rel=1e-5)


@pytest.mark.parametrize("cell", ["simple", "gru", "lstm"])
@pytest.mark.parametrize("more", [{"units": (4, 3)}, {"units": (4,), "bidirectional": True}])
def test_a_classifier_has_the_same_layers_below_its_head(cell, more):
    settings = {"embedding_size": 5, "cell": cell, "initial_state": "learned", **more}
    inputs = ModelInputs(VOCABULARY, 2)
    classifier = RecurrentClassifier(**settings).build(inputs)
    shapes = {w.path: w.shape for w in classifier.weights}
    shapes = {path: shape for path, shape in shapes.items() if not path.startswith("logits")}
    own = {w.path: w.shape for w in LanguageModel(**settings).build(inputs).weights}
    assert {path: own.get(path) for path in shapes} == shapes
    assert {path.partition("/")[0] for path in own.keys() - shapes.keys()} == {"next_token"}


def test_every_layer_trains():
    model = build(units=(5,), bidirectional=True, tie_embeddings=True, dropout=0.5)
    features = features_of(random_tokens(3), [6, 2, 1])
    with random_key(tf.constant([0, 1])), tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(features, training=True)[:, 0])
    gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
    assert min(float(tf.reduce_max(tf.abs(g))) for g in gradients) > 0


@pytest.mark.parametrize(
    "name, settings",
    [
        ("bidirectional", {"units": (4, 4), "bidirectional": True}),
        ("tie_embeddings", {"units": (4,), "tie_embeddings": True}),
        ("tie_embeddings", {"input": "one_hot", "units": (5,), "tie_embeddings": True}),
        ("units", {"units": ()}),
        ("dropout", {"dropout": 1.0}),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(name, settings):
    with pytest.raises(ConfigError, match=rf"LanguageModel\.{name} = "):
        build(**settings)
