"""The sums of a language model are NumPy's, made at once or in pieces, compiled or not."""

import numpy as np
import pytest
from scipy.special import log_softmax

from sentiment_train.layers import next_token
from sentiment_train.layers.next_token import NextToken

pytestmark = pytest.mark.usefixtures("tf")

VOCABULARY, UNITS, LENGTH = 11, 4, 6
LENGTHS = np.array([6, 1, 3, 5], np.int32)


def rows():
    """tokens `[4, 6]` padded with 0."""
    tokens = np.random.default_rng(1).integers(1, VOCABULARY, (4, LENGTH)).astype(np.int32)
    return np.where(np.arange(LENGTH) < LENGTHS[:, None], tokens, 0)


def layer(tf, directions=1, table=None):
    """A layer with random weights, and the inputs it is called with."""
    rng = np.random.default_rng(5)
    states = [tf.constant(rng.normal(0, 1, (4, LENGTH, UNITS)), tf.float32) for _ in range(2)]
    inputs = [states[0], rows(), LENGTHS, states[1] if directions == 2 else None, table]
    made = NextToken(VOCABULARY, name="next_token")
    made(*inputs)
    made.set_weights([rng.normal(0, 1, w.shape) for w in made.weights])
    return made, inputs


def expected(made, inputs, table):
    """`[4, 3]` by a loop over texts, directions and tokens, in float64."""
    forward, tokens, lengths, backward, _ = inputs
    start, bias = made.start.numpy().astype(np.float64), made.bias.numpy()
    sums = np.zeros((4, 3))
    for row, length in enumerate(lengths):
        for direction, states in enumerate([forward, backward][: made.directions]):
            for t in range(length):
                read = t - 1 if direction == 0 else t + 1
                state = states.numpy()[row, read] if 0 <= read < length else start[direction]
                log_p = log_softmax(table.astype(np.float64) @ state + bias)
                target = tokens[row, t]
                sums[row] += log_p[target], 1, log_p.argmax() == target
    return sums


@pytest.fixture(params=[2**23, 40], ids=["at once", "in pieces"])
def _logits_at_once(request, monkeypatch):
    monkeypatch.setattr(next_token, "_LOGITS_AT_ONCE", request.param)


@pytest.mark.usefixtures("_logits_at_once")
@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("directions", [1, 2])
def test_the_sums_of_each_text_are_numpys(tf, directions, jit_compile):
    made, inputs = layer(tf, directions)
    found = tf.function(made, jit_compile=jit_compile)(*inputs)
    wanted = expected(made, inputs, made.kernel.numpy())
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_a_table_of_embeddings_is_the_kernel(tf):
    table = np.random.default_rng(2).normal(0, 1, (VOCABULARY, UNITS)).astype(np.float32)
    made, inputs = layer(tf, table=tf.constant(table))
    assert [w.name for w in made.weights] == ["start", "bias"]
    np.testing.assert_allclose(made(*inputs), expected(made, inputs, table), rtol=1e-5, atol=1e-5)


def gradients(tf, open_length=False):
    """Of states and weights, in a graph where the length is known or not."""
    made, inputs = layer(tf, directions=2)
    weights = tf.constant([0.5, 2.0, 0.0, 1.5])
    shape = [4, None if open_length else LENGTH]

    @tf.function(
        input_signature=[
            tf.TensorSpec([*shape, UNITS]),
            tf.TensorSpec(shape, tf.int32),
            tf.TensorSpec([*shape, UNITS]),
        ]
    )
    def computed(forward, tokens, backward):
        with tf.GradientTape() as tape:
            tape.watch([forward, backward])
            loss = tf.reduce_sum(weights * made(forward, tokens, LENGTHS, backward)[:, 0])
        watched = [forward, backward, *(w.value for w in made.trainable_variables)]
        return [tf.convert_to_tensor(g) for g in tape.gradient(loss, watched)]

    return [g.numpy() for g in computed(inputs[0], inputs[1], inputs[3])]


@pytest.mark.parametrize("open_length", [False, True])
def test_pieces_change_no_gradient(tf, open_length, monkeypatch):
    at_once = gradients(tf)
    monkeypatch.setattr(next_token, "_LOGITS_AT_ONCE", 40)
    for one, other in zip(gradients(tf, open_length), at_once, strict=True):
        assert np.abs(other).max() > 0
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("_logits_at_once")
def test_a_uniform_model_gives_every_token_1_in_the_size_of_the_vocabulary(tf):
    made, inputs = layer(tf)
    made.set_weights([np.zeros(w.shape) for w in made.weights])
    log_probability, count, _ = np.sum(made(*inputs), axis=0)
    assert np.exp(-log_probability / count) == pytest.approx(VOCABULARY, rel=1e-5)


@pytest.mark.usefixtures("_logits_at_once")
def test_no_text_gives_no_sums(tf):
    made, _ = layer(tf)
    signature = [
        tf.TensorSpec([None, None, UNITS]),
        tf.TensorSpec([None, None], tf.int32),
        tf.TensorSpec([None], tf.int32),
    ]
    scored = tf.function(made, input_signature=signature)
    none = scored(tf.zeros([0, 1, UNITS]), tf.zeros([0, 1], tf.int32), tf.zeros([0], tf.int32))
    assert none.shape == (0, 3)
