import keras
import numpy as np
import pytest

from sentiment_train.layers.dropout import Dropout, random_key

pytestmark = pytest.mark.usefixtures("tf")

ONES = np.ones((40, 25, 8), np.float32)


@pytest.fixture
def dropped(tf):
    def call(key=(3, 7), inputs=ONES, rate=0.5, name="a", **options):
        with random_key(tf.constant(key, tf.int32)):
            return Dropout(rate, name=name, **options)(inputs, training=True).numpy()

    return call


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_mean_is_kept_and_the_share_of_zeros_is_the_rate(dropped, rate):
    out = dropped(rate=rate)
    assert out.mean() == pytest.approx(1.0, abs=0.1)
    assert (out == 0).mean() == pytest.approx(rate, abs=0.02)
    np.testing.assert_allclose(np.unique(out), [0.0, 1 / (1 - rate)], rtol=1e-6)


def test_the_same_key_and_name_give_the_same_mask(dropped):
    np.testing.assert_array_equal(dropped(), dropped())


@pytest.mark.parametrize("other", [{"key": (3, 8)}, {"key": (4, 7)}, {"name": "b"}])
def test_another_seed_step_or_layer_gives_an_independent_mask(dropped, other):
    agreeing = (dropped() == dropped(**other)).mean()
    assert agreeing == pytest.approx(0.5, abs=0.03)


def test_whole_vectors_lose_a_unit_in_all_steps_of_a_text(dropped):
    zero = dropped(whole_vectors=True) == 0
    np.testing.assert_array_equal(zero.all(axis=1), zero.any(axis=1))
    of_texts = zero[:, 0]
    assert of_texts.mean() == pytest.approx(0.5, abs=0.1)
    assert len(np.unique(of_texts, axis=0)) > 10


def test_training_without_a_key_is_an_error_that_names_the_layer(tf):
    with pytest.raises(ValueError, match="my_dropout: training=True needs"):
        Dropout(0.5, name="my_dropout")(ONES, training=True)


def test_the_key_ends_with_its_block(tf, dropped):
    dropped()
    with pytest.raises(ValueError, match="random_key"):
        Dropout(0.5)(ONES, training=True)


@pytest.mark.parametrize("rate, training", [(0.5, False), (0.0, True)])
def test_nothing_is_dropped_in_inference_or_at_rate_0(rate, training):
    np.testing.assert_array_equal(Dropout(rate)(ONES, training=training), ONES)


def test_it_has_no_variables_and_keeps_shape_and_dtype_of_a_symbolic_input():
    layer = Dropout(0.5)
    out = layer(keras.Input([None, 4], dtype="float16"))
    assert (out.shape, layer.variables) == ((None, None, 4), [])


def test_gradients_flow_through_what_was_kept(tf):
    x = tf.Variable(ONES)
    with random_key(tf.constant([1, 2])), tf.GradientTape() as tape:
        out = Dropout(0.5)(x, training=True)
    np.testing.assert_array_equal(tape.gradient(out, x), out)
