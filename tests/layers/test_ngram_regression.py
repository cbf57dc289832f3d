"""The regression against scikit-learn's, and the layer against the regression."""

import dataclasses

import keras
import numpy as np
import pytest

from sentiment_train.layers import ngram_regression
from sentiment_train.layers.ngram_features import NGramFeatures
from sentiment_train.layers.ngram_regression import (
    Regression,
    folds_of,
    log_count_ratios,
    presence,
)
from sentiment_train.schema import TrainingExamples

SIZE, ORDERS, TEXTS, FOLDS = 60, 2, 50, 3


def random_examples(classes=2, trained=range(TEXTS), seed=0) -> TrainingExamples:
    """Texts whose n-grams tell something of their class; each has an n-gram once."""
    rng = np.random.default_rng(seed)
    labels = np.arange(TEXTS, dtype=np.int32) % classes
    tokens, lengths = [], []
    for label in labels:
        chances = 1.0 + 4.0 * (np.arange(1, SIZE) % classes == label)
        count = rng.integers(1, 12) * ORDERS
        chosen = 1 + rng.choice(SIZE - 1, count, replace=False, p=chances / chances.sum())
        chosen[rng.random(count) < 0.2] = 0
        words = rng.integers(1, 100, (count // ORDERS, 1))
        tokens.append(np.concatenate([words, chosen.reshape(-1, ORDERS)], axis=1))
        lengths.append(len(words))
    return TrainingExamples(
        np.concatenate(tokens).astype(np.int32),
        np.concatenate([[0], np.cumsum(lengths)]),
        labels,
        rng.uniform(0.5, 2.0, TEXTS).astype(np.float32),
        np.array(trained),
        classes,
    )


def dense(examples) -> np.ndarray:
    """`[texts, size]` of all texts, trained on or not."""
    table = np.zeros((len(examples.labels), SIZE))
    for i, (start, end) in enumerate(zip(examples.offsets, examples.offsets[1:], strict=False)):
        table[i, examples.tokens[start:end, 1:]] = 1
    table[:, 0] = 0
    return table


def logits(fitted, table, fold=None) -> np.ndarray:
    """As `Fitted` says, of dense texts."""
    lengths = np.sqrt(table @ fitted.squares)
    safe = np.where(lengths > 0, lengths, 1.0)
    linear = fitted.of_all if fold is None else fitted.without_fold[fold]
    return linear.bias + table @ linear.weights / safe


def test_presence_has_a_one_for_each_ngram_of_the_chosen_texts():
    examples = random_examples()
    rows = np.array([0, 3, 4, TEXTS - 1])
    np.testing.assert_array_equal(presence(examples, rows, SIZE).toarray(), dense(examples)[rows])


def test_log_count_ratios_are_those_of_naive_bayes():
    from sklearn.naive_bayes import BernoulliNB

    examples = random_examples()
    table, inside, weights = dense(examples), examples.labels == 1, examples.weights
    counts = BernoulliNB().fit(table, inside, weights).feature_count_
    p, q = 0.5 + counts[1], 0.5 + counts[0]
    expected = np.log(p / p.sum()) - np.log(q / q.sum())
    np.testing.assert_allclose(log_count_ratios(table, inside, weights, 0.5), expected, rtol=1e-5)


@pytest.mark.parametrize("classes", [2, 3])
def test_it_is_the_regression_of_scikit_learn_on_weighted_texts_of_length_one(classes):
    from sklearn.linear_model import LogisticRegression

    examples = random_examples(classes, trained=range(1, TEXTS - 5))
    rows, table = examples.rows, dense(examples)
    fitted = Regression(1.0, 2.0, FOLDS).fit(examples, SIZE, list(range(classes)))
    there = table[rows].any(axis=0)
    assert 10 < there.sum() < SIZE
    for of, one in enumerate(fitted):
        inside, weights = examples.labels[rows] == of, examples.weights[rows].astype(np.float64)
        ratios = log_count_ratios(table[rows], inside, weights, 1.0)
        features = table * ratios * there
        features /= np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-9)
        reference = LogisticRegression(C=2.0).fit(features[rows], inside, sample_weight=weights)
        expected = reference.decision_function(features)
        np.testing.assert_allclose(logits(one, table), expected, atol=2e-3)
        assert not one.of_all.weights[~there].any()
        assert not one.squares[~there].any()


def test_texts_without_weight_and_texts_that_are_not_trained_on_change_nothing():
    examples = random_examples()
    rows = np.arange(0, TEXTS, 2)
    some = dataclasses.replace(examples, rows=rows)
    weights = np.where(np.isin(np.arange(TEXTS), rows), examples.weights, np.float32(0))
    weightless = dataclasses.replace(examples, weights=weights)
    regression = Regression(1.0, 1.0, FOLDS)
    (ours,), (theirs,) = (regression.fit(e, SIZE, [1]) for e in (some, weightless))
    np.testing.assert_array_equal(ours.of_all.weights, theirs.of_all.weights)
    assert ours.of_all.bias == theirs.of_all.bias


def test_of_very_many_tokens_evenly_spread_texts_are_fitted_to(monkeypatch):
    examples = random_examples()
    few = dataclasses.replace(examples, rows=np.array([0, 24, 49]))
    lengths = np.diff(examples.offsets)
    monkeypatch.setattr(ngram_regression, "_MOST_TOKENS", int(lengths.sum() * 3.5 / TEXTS))
    ours, theirs = (Regression(1.0, 1.0, FOLDS).fit(e, SIZE, [1])[0] for e in (examples, few))
    np.testing.assert_array_equal(ours.squares, theirs.squares)


@pytest.mark.parametrize("labels", [0, 1], ids=["none of it", "nothing else"])
def test_where_there_is_nothing_to_tell_apart_all_weights_are_zero(labels):
    examples = random_examples()
    examples = dataclasses.replace(examples, labels=np.full(TEXTS, labels, np.int32))
    (fitted,) = Regression(1.0, 1.0, FOLDS).fit(examples, SIZE, [1])
    for linear in (fitted.of_all, *fitted.without_fold):
        assert not linear.weights.any()
        assert np.sign(linear.bias) == 2 * labels - 1


@pytest.mark.parametrize("classes, outputs", [(2, 1), (3, 3)])
def test_the_layer_answers_as_the_regression_whatever_the_padding(tf, classes, outputs):
    examples = random_examples(classes)
    layer = layer_of(examples, outputs)
    of = range(classes - outputs, classes)
    fitted = Regression(1.0, 4.0, FOLDS).fit(examples, SIZE, list(of))
    expected = np.stack([logits(one, dense(examples)) for one in fitted], axis=1)
    for places in (12, 17):
        found, added = layer(padded(examples, places))
        np.testing.assert_allclose(found, expected, atol=1e-5)
        # What each n-gram adds, in its place: `[texts, places, orders · outputs]`.
        assert added.shape == (TEXTS, places, ORDERS * outputs)
        added = added.numpy().reshape([TEXTS, places, ORDERS, outputs])
        np.testing.assert_allclose(added.sum(axis=(1, 2)) + layer.bias, expected, atol=1e-5)
        assert not added[padded(examples, places)[:, :, 1:] == 0].any()


def test_a_class_without_texts_is_the_least_likely(tf):
    examples = random_examples(3)
    there = dataclasses.replace(examples, rows=np.flatnonzero(examples.labels < 2))
    for training in (False, True):
        found, _ = layer_of(there, 3)(padded(examples, 12), training=training)
        assert np.all(found.numpy().argmin(axis=1) == 2)


def test_a_text_without_ngrams_gets_the_bias(tf):
    layer = layer_of(random_examples(), 1)
    assert layer.bias.numpy()[0] != 0.0
    logits, added = layer(np.full([1, 4, 1 + ORDERS], [5, 0, 0]))
    np.testing.assert_array_equal(logits, [layer.bias])
    assert not added.numpy().any()


def test_it_stays_float32_and_compiles(tf):
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    try:
        layer = layer_of(examples := random_examples(), 1)
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    tokens = padded(examples, 12)
    plain, compiled = layer(tokens), tf.function(layer, jit_compile=True)(tokens)
    for ours, theirs in zip(plain, compiled, strict=True):
        assert ours.dtype == theirs.dtype == tf.float32
        np.testing.assert_allclose(theirs, ours, atol=1e-5)


def test_a_text_tells_its_fold_by_itself():
    examples = random_examples()
    table = dense(examples)
    folds = folds_of(presence(examples, np.arange(TEXTS), SIZE), FOLDS)
    np.testing.assert_array_equal(folds, (table @ np.arange(SIZE)) % FOLDS)
    assert set(folds) == set(range(FOLDS))


def test_what_is_held_out_was_not_fitted_to():
    """Other labels of a fold change the models of all other folds, and not its own."""
    examples = random_examples()
    folds = folds_of(presence(examples, np.arange(TEXTS), SIZE), FOLDS)
    other = dataclasses.replace(
        examples, labels=np.where(folds == 1, 1 - examples.labels, examples.labels)
    )
    regression = Regression(1.0, 1.0, FOLDS)
    (ours,), (theirs,) = (regression.fit(e, SIZE, [1]) for e in (examples, other))
    # The lengths of texts are those of all, so they change a little.
    distance = [
        np.abs(a.weights - b.weights).max() / np.abs(a.weights).max()
        for a, b in zip(ours.without_fold, theirs.without_fold, strict=True)
    ]
    assert distance[1] < 0.5 * min(distance[0], distance[2])


@pytest.mark.parametrize("classes, outputs", [(2, 1), (3, 3)])
def test_while_training_a_text_is_answered_without_its_fold(tf, classes, outputs):
    examples = random_examples(classes)
    layer, table = layer_of(examples, outputs), dense(examples)
    folds = folds_of(presence(examples, np.arange(TEXTS), SIZE), FOLDS)
    of = range(classes - outputs, classes)
    fitted = Regression(1.0, 4.0, FOLDS).fit(examples, SIZE, list(of))
    by_fold = np.array([[logits(one, table, fold) for one in fitted] for fold in range(FOLDS)])
    expected = by_fold[folds, :, np.arange(TEXTS)]
    for places in (12, 17):
        found, _ = layer(padded(examples, places), training=True)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_where_it_is_only_asked_there_is_nothing_of_folds(tf):
    layer, served = (
        layer_of(examples := random_examples(), 1),
        NGramFeatures(SIZE, 1, Regression(1.0, 4.0, FOLDS), served=True),
    )
    served.build()
    left_out = {id(weight) for weight in layer.only_in_training}
    served.set_weights([w.numpy() for w in layer.weights if id(w) not in left_out])
    for ours, theirs in zip(served(padded(examples, 12)), layer(padded(examples, 12)), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def layer_of(examples, outputs) -> NGramFeatures:
    layer = NGramFeatures(SIZE, outputs, Regression(1.0, 4.0, FOLDS))
    layer.build([None, None, 1 + ORDERS])
    assert layer.start_from(examples)
    return layer


def padded(examples, places) -> np.ndarray:
    tokens = np.zeros((TEXTS, places, 1 + ORDERS), np.int32)
    for i, (start, end) in enumerate(zip(examples.offsets, examples.offsets[1:], strict=False)):
        tokens[i, : end - start] = examples.tokens[start:end]
    return tokens
