"""Every row is predicted once and in its place, whatever the number of replicas."""

import keras
import numpy as np
import pytest

from sentiment_train.data import batches as batching
from sentiment_train.data.batches import RowSlice
from sentiment_train.data.bucketing import BucketTable
from sentiment_train.data.store import EncodedSplit
from sentiment_train.errors import Interrupted
from sentiment_train.evaluation.evaluator import Evaluator
from sentiment_train.evaluation.metrics import measure_tokens
from sentiment_train.models.language_model import LanguageModel
from sentiment_train.models.recurrent import RecurrentClassifier
from sentiment_train.runtime.strategy import choose
from sentiment_train.schema import ModelInputs

ROWS, TABLE = 25, BucketTable((3, 6), (7, 4))  # the last batch of both buckets is short


@pytest.fixture(scope="module")
def split():
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 7, ROWS)
    return EncodedSplit(
        tokens=rng.integers(1, 20, lengths.sum()).astype(np.int32),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        labels=rng.integers(0, 3, ROWS).astype(np.int32),
        weights=rng.uniform(0.5, 2.0, ROWS).astype(np.float32),
    )


@pytest.fixture(scope="module")
def devices_of(tf):
    made = {}

    def make(replicas):
        if replicas not in made:
            made[replicas] = choose("cpu", replicas)
        return made[replicas]

    return make


def model_in(scope, kind=RecurrentClassifier):
    with scope:
        settings = kind(embedding_size=4, cell="gru", units=(3,), dropout=0.5)
        model = settings.build(ModelInputs(20, 3))
        rng = np.random.default_rng(5)
        model.set_weights([rng.normal(0, 0.5, w.shape) for w in model.weights])
    return model


def predict(devices, split, jit_compile=False, should_stop=lambda: False, kind=RecurrentClassifier):
    evaluator = Evaluator(
        model_in(devices.strategy.scope(), kind), devices.strategy, jit_compile, should_stop
    )
    planned = batching.stored_order(split.lengths, TABLE)
    slices = RowSlice(devices.replicas, 0, devices.replicas)
    batches = (devices.distribute(b) for b in batching.batches(split, planned, slices))
    return evaluator.predict(batches, [p.rows for p in planned], split.labels, split.weights)


def each_row_alone(tf, split, kind=RecurrentClassifier):
    """By the model itself."""
    model = model_in(tf.device("/cpu:0"), kind)
    rows = [split.tokens[a:b] for a, b in zip(split.offsets, split.offsets[1:], strict=False)]
    features = [{"tokens": row[None], "lengths": np.array([len(row)], np.int32)} for row in rows]
    return np.concatenate([model(f, training=False).numpy() for f in features])


@pytest.fixture(scope="module")
def expected(tf, split):
    return each_row_alone(tf, split)


@pytest.mark.parametrize("replicas, jit_compile", [(1, False), (2, False), (3, False), (1, True)])
def test_every_row_is_predicted_in_its_place(devices_of, split, expected, replicas, jit_compile):
    found = predict(devices_of(replicas), split, jit_compile)
    assert found.logits.dtype == np.float32
    np.testing.assert_allclose(found.logits, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found.labels, split.labels)
    np.testing.assert_array_equal(found.weights, split.weights)


def test_three_replicas_count_every_token_of_a_language_model_once(tf, devices_of, split):
    found = predict(devices_of(3), split, kind=LanguageModel)
    expected = each_row_alone(tf, split, LanguageModel)
    np.testing.assert_allclose(found.logits, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found.logits[:, 1], split.lengths)
    perplexity = measure_tokens(found)["perplexity"]
    nats, count, _ = split.weights @ expected
    assert perplexity == pytest.approx(np.exp(-nats / count), rel=1e-5)


def test_logits_are_float32_in_a_short_precision(devices_of, split, expected):
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    try:
        found = predict(devices_of(1), split)
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    assert found.logits.dtype == np.float32
    np.testing.assert_allclose(found.logits, expected, atol=0.05)


def test_asked_to_stop_it_stops_between_two_batches(devices_of, split):
    answers = iter([False, False, True])
    with pytest.raises(Interrupted):
        predict(devices_of(1), split, should_stop=lambda: next(answers))
    assert next(answers, None) is None
