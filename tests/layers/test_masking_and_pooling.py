import keras
import numpy as np
import pytest

from sentiment_train.layers.masking import SequenceMask
from sentiment_train.layers.pooling import POOLINGS, MaxPooling, MeanPooling

pytestmark = pytest.mark.usefixtures("tf")

NUMPY_POOLINGS = {
    "mean": lambda real: real.mean(axis=0),
    "max": lambda real: real.max(axis=0),
    "mean+max": lambda real: np.concatenate([real.mean(axis=0), real.max(axis=0)]),
}


def random_states(seed, rows=6, length=9, units=5):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, length + 1, rows).astype(np.int32)
    states = rng.normal(size=(rows, length, units)).astype(np.float32)
    return states, lengths, np.arange(length) < lengths[:, None]


def test_the_mask_is_true_on_tokens_whatever_their_ids():
    tokens, lengths = np.array([[0, 0, 5, 0], [1, 2, 3, 4]], np.int32), np.array([2, 4], np.int32)
    mask = SequenceMask()(lengths, tokens).numpy()
    assert mask.tolist() == [[True, True, False, False], [True] * 4]


def test_the_mask_of_a_symbolic_input_has_the_shape_of_the_tokens():
    mask = SequenceMask()(keras.Input([], dtype="int32"), keras.Input([7], dtype="int32"))
    assert (mask.shape, mask.dtype) == ((None, 7), "bool")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", POOLINGS)
def test_pooling_is_numpys_over_the_real_steps(name, seed):
    states, lengths, mask = random_states(seed)
    expected = [NUMPY_POOLINGS[name](s[:n]) for s, n in zip(states, lengths, strict=True)]
    pooled = POOLINGS[name]()(states, mask=mask)
    np.testing.assert_allclose(pooled, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", POOLINGS)
def test_padding_more_on_the_right_changes_nothing(name):
    states, _, mask = random_states(3)
    wider = np.pad(states, [(0, 0), (0, 20), (0, 0)], constant_values=99.0)
    pooling = POOLINGS[name]()
    np.testing.assert_allclose(
        pooling(wider, mask=np.pad(mask, [(0, 0), (0, 20)])),
        pooling(states, mask=mask),
        rtol=1e-6,
        atol=1e-6,
    )


def test_the_maximum_of_negative_states_is_not_the_padding():
    states = np.array([[[-3.0], [-2.0], [0.0]]], np.float32)
    assert MaxPooling()(states, mask=np.array([[True, True, False]])).numpy() == [[-2.0]]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", POOLINGS)
def test_pooling_keeps_a_short_dtype(tf, name, dtype):
    states, _, mask = random_states(4)
    keras.mixed_precision.set_dtype_policy(f"mixed_{dtype}")
    try:
        pooled = POOLINGS[name]()(tf.cast(states, dtype), mask=mask)
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    assert pooled.dtype == dtype
    expected = POOLINGS[name]()(states, mask=mask)
    np.testing.assert_allclose(tf.cast(pooled, tf.float32), expected, rtol=0.02, atol=0.02)


def test_the_mean_of_many_float16_states_does_not_overflow():
    states = np.full((1, 4000, 1), 100.0, np.float16)
    mean = MeanPooling(dtype="float16")(states, mask=np.ones((1, 4000), bool))
    assert mean.numpy() == [[100.0]]
