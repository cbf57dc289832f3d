import keras
import numpy as np
import pytest

from sentiment_train.errors import ConfigError
from sentiment_train.layers.perturbation import Perturbable, word_vectors

pytestmark = pytest.mark.usefixtures("tf")

LENGTHS = np.array([4, 1, 2], np.int32)
VECTORS = np.random.default_rng(0).normal(0, 1, (3, 4, 2)).astype(np.float32)


def test_vectors_are_moved_inside_of_a_block_only(tf):
    layer, move = Perturbable(), np.ones_like(VECTORS)
    with tf.GradientTape() as tape, word_vectors(tape, move):
        moved = layer(VECTORS, LENGTHS)
    np.testing.assert_array_equal(moved, VECTORS + move)
    np.testing.assert_array_equal(layer(VECTORS, LENGTHS), VECTORS)


def test_a_block_that_fails_moves_nothing_later(tf):
    layer = Perturbable()
    with pytest.raises(ZeroDivisionError), word_vectors(tf.GradientTape(), 1.0):
        raise ZeroDivisionError
    np.testing.assert_array_equal(layer(VECTORS, LENGTHS), VECTORS)


def test_the_gradient_is_that_by_the_moved_vectors_and_by_what_they_are_made_of(tf):
    table = tf.Variable(VECTORS[0])
    with tf.GradientTape() as tape, word_vectors(tape, 2.0) as words:
        moved = Perturbable()(tf.gather(table, [[0, 1], [1, 1]]), np.array([2, 2]))
        total = tf.reduce_sum(moved**2)
    by_words, by_table = tape.gradient(total, [words.seen(), table])
    np.testing.assert_allclose(by_words, 2 * moved)
    expected = np.zeros_like(VECTORS[0])
    np.add.at(expected, [0, 1, 1, 1], 2 * moved.numpy().reshape(4, 2))
    np.testing.assert_allclose(tf.convert_to_tensor(by_table), expected, rtol=1e-6)


def test_what_is_of_padding_is_0_and_all_else_float32(tf):
    with tf.GradientTape() as tape, word_vectors(tape) as words:
        Perturbable()(tf.constant(VECTORS), LENGTHS)
    found = words.of_real_tokens(tf.cast(VECTORS, tf.bfloat16))
    assert found.dtype == tf.float32
    mask = np.arange(4)[None, :, None] < LENGTHS[:, None, None]
    np.testing.assert_allclose(found, np.where(mask, VECTORS, 0), rtol=0.01)
    assert np.count_nonzero(found) == 2 * LENGTHS.sum()


def test_a_model_without_word_vectors_to_show_is_refused(tf):
    with tf.GradientTape() as tape, word_vectors(tape) as words:
        keras.layers.Dense(1)(VECTORS)
    with pytest.raises(ConfigError, match="no layer of this model shows any"):
        words.seen()
