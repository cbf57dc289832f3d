import keras
import numpy as np
import pytest

from sentiment_train.layers.embedding import Embedding
from sentiment_train.schema import TrainingExamples

pytestmark = pytest.mark.usefixtures("tf")

SIZE, UNITS = 12, 3
TOKENS = np.random.default_rng(0).integers(1, SIZE - 2, 40).astype(np.int32)
OFFSETS = np.array([0, 5, 6, 20, 40])


def examples(tokens=TOKENS, rows=(0, 1, 2, 3)) -> TrainingExamples:
    """Four texts, of which `rows` are trained on."""
    n = len(OFFSETS) - 1
    labels, weights = np.zeros(n, np.int32), np.ones(n, np.float32)
    return TrainingExamples(tokens, OFFSETS, labels, weights, np.array(rows), 2)


def counted(embedding, **options):
    assert embedding.start_from(examples(**options))
    return embedding


def table_of(embedding) -> np.ndarray:
    return np.asarray(embedding(np.zeros([1, 1], np.int32)).numpy(), np.float64)


def test_normalised_units_have_mean_0_and_variance_1_over_the_training_texts():
    embedding = Embedding(SIZE, UNITS, normalized=True)
    embedding.build()
    embedding.embeddings.assign(np.random.default_rng(1).normal(3, 0.5, [SIZE, UNITS]))
    of_tokens = table_of(counted(embedding))[TOKENS]
    np.testing.assert_allclose(of_tokens.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(of_tokens.var(axis=0), 1, rtol=1e-4)
    assert np.isfinite(table_of(embedding)).all()  # also of words that no training text has


def test_only_the_words_of_texts_that_are_trained_on_are_counted():
    embedding = Embedding(SIZE, UNITS, normalized=True)
    embedding.build()
    counted(embedding, rows=(0, 3))
    words = np.concatenate([TOKENS[:5], TOKENS[20:]])
    np.testing.assert_array_equal(embedding.frequencies, np.bincount(words, minlength=SIZE))


def test_of_a_word_with_its_ngrams_the_word_is_counted():
    with_ngrams = np.stack([TOKENS, TOKENS * 1000, TOKENS * 0], axis=1)
    embedding = Embedding(SIZE, UNITS, normalized=True)
    embedding.build()
    counted(embedding, tokens=with_ngrams)
    np.testing.assert_array_equal(embedding.frequencies, np.bincount(TOKENS, minlength=SIZE))


def test_a_plain_table_is_given_as_it_is_and_counts_nothing():
    embedding = Embedding(SIZE, UNITS)
    embedding.build()
    assert not embedding.start_from(examples())
    assert [weight.name for weight in embedding.weights] == ["embeddings"]
    np.testing.assert_array_equal(table_of(embedding), embedding.embeddings.numpy())


def test_before_anything_is_counted_all_words_are_equally_frequent():
    embedding = Embedding(SIZE, UNITS, normalized=True)
    table = table_of(embedding)
    np.testing.assert_allclose(table.mean(axis=0), 0, atol=1e-5)
    assert not embedding.frequencies.trainable


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_a_short_precision_rounds_the_normalised_table_and_nothing_before(precision):
    weights = [np.random.default_rng(2).normal(100, 1, [SIZE, UNITS]), np.arange(SIZE) + 1.0]
    exact, short = (
        Embedding(SIZE, UNITS, normalized=True, dtype=dtype)
        for dtype in ("float32", f"mixed_{precision}")
    )
    for embedding in (exact, short):
        embedding.build()
        embedding.set_weights(weights)
    found = short(np.zeros([1, 1], np.int32))
    assert keras.backend.standardize_dtype(found.dtype) == precision
    np.testing.assert_allclose(table_of(short), table_of(exact), rtol=2**-8)
