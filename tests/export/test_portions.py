"""A batch in portions: the answers of each row alone, in the order of the rows."""

import numpy as np
import pytest
import tensorflow as tf

from sentiment_train.export.portions import outputs_of

pytestmark = pytest.mark.usefixtures("tf")


class Seen:
    """A model that says of a row what its tokens sum to, and which shape it was padded to."""

    output_shape = (None, 3)

    def __call__(self, features, training):
        assert not training
        tokens, lengths = features["tokens"], features["lengths"]
        mask = tf.sequence_mask(lengths, tf.shape(tokens)[1], dtype=tokens.dtype)
        while len(mask.shape) < len(tokens.shape):
            mask = mask[..., None]
        axes = list(range(1, len(tokens.shape)))
        sums = tf.cast(tf.reduce_sum(tokens * mask, axis=axes), tf.float32)
        rows, width = tf.unstack(tf.cast(tf.shape(tokens)[:2], tf.float32))
        return tf.stack([sums, 0 * sums + rows, 0 * sums + width], axis=1)


@tf.function(input_signature=[tf.RaggedTensorSpec([None, None], tf.int32, 1)])
def seen(rows):
    return outputs_of(Seen(), rows)


def rows_of(lengths):
    tokens = np.arange(1, sum(lengths) + 1, dtype=np.int32) % 97 + 1
    return tf.RaggedTensor.from_row_lengths(tokens, np.asarray(lengths, np.int64))


@pytest.mark.parametrize(
    "lengths",
    [
        [],
        [1],
        [9000],
        [5, 1, 9000, 1, 700],
        np.random.default_rng(0).integers(1, 1000, 64).tolist(),
        [3] * 10_000,
    ],
    ids=["none", "one", "too long", "mixed", "64 reviews", "very many"],
)
def test_every_row_gets_its_own_answer_from_a_portion_of_bounded_size(lengths):
    rows = rows_of(lengths)
    found = seen(rows).numpy()
    assert found.shape == (len(lengths), 3)
    np.testing.assert_array_equal(found[:, 0], [sum(row) for row in rows.to_list()])
    together, width = found[:, 1], found[:, 2]
    assert (width >= np.asarray(lengths)).all()
    assert ((together * width <= 8192) | (together == 1)).all()


def test_reviews_are_padded_half_as_much_as_in_one_batch_and_short_texts_are_one_portion():
    lengths = np.random.default_rng(1).lognormal(5.2, 0.7, 64).astype(int) + 1
    found = seen(rows_of(lengths.tolist())).numpy()
    assert found[:, 2].sum() < 0.5 * 64 * lengths.max()
    tweets = seen(rows_of([20] * 63 + [40])).numpy()
    assert set(map(tuple, tweets[:, 1:])) == {(64.0, 40.0)}


def test_tokens_of_several_numbers_keep_them_together():
    tokens = np.arange(30, dtype=np.int32).reshape(10, 3)
    rows = tf.RaggedTensor.from_row_lengths(tokens, np.array([2, 7, 1]))
    found = outputs_of(Seen(), rows).numpy()
    assert found[:, 0].tolist() == [tokens[:2].sum(), tokens[2:9].sum(), tokens[9:].sum()]
