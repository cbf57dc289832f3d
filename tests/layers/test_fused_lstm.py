"""Few rows are answered by one op, many by our loop: the same numbers, and only where it may be."""

import numpy as np
import pytest
import tensorflow as tf

from sentiment_train.layers.fused_lstm import MOST_ROWS
from sentiment_train.layers.recurrence import Recurrence

pytestmark = pytest.mark.usefixtures("tf")

LENGTH, UNITS, FEATURES, VOCABULARY = 11, 5, 3, 13


def layer_of(loops="served", **options):
    options |= {"return_sequences": True, "return_state": True, "loops": loops}
    made = Recurrence("lstm", UNITS, **options)
    rng = np.random.default_rng(0)
    made(tf.zeros([1, 2, FEATURES]), tf.constant([1]))
    made.set_weights([rng.normal(0, 0.6, w.shape) for w in made.weights])
    return made


def graph_of(layer):
    specs = [tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None], tf.int32)]
    table = tf.constant(np.random.default_rng(1).normal(size=(VOCABULARY, FEATURES)), tf.float32)
    return tf.function(lambda ids, n: layer(ids, n, table=table), specs).get_concrete_function()


def ops_of(graph) -> set[str]:
    definition = graph.graph.as_graph_def()
    nodes = [*definition.node, *(n for f in definition.library.function for n in f.node_def)]
    return {node.op for node in nodes}


@pytest.mark.parametrize("start", ["zero", "learned"])
@pytest.mark.parametrize("backward", [False, True])
def test_few_and_many_rows_give_the_same_states(backward, start):
    graph = graph_of(layer_of(backward=backward, initial_state=start))
    rng = np.random.default_rng(2)
    lengths = rng.integers(1, LENGTH + 1, MOST_ROWS + 1).astype(np.int32)
    ids = rng.integers(1, VOCABULARY, (MOST_ROWS + 1, LENGTH)).astype(np.int32)
    by_loop = graph(tf.constant(ids), tf.constant(lengths))
    fused = graph(tf.constant(ids[:-1]), tf.constant(lengths[:-1]))
    for loop, op in zip(by_loop, fused, strict=True):
        np.testing.assert_allclose(op, loop[:-1], rtol=1e-5, atol=1e-6)
    one = graph(tf.constant(ids[:1, : lengths[0]]), tf.constant(lengths[:1]))
    np.testing.assert_allclose(one[1], by_loop[1][:1], rtol=1e-5, atol=1e-6)


def test_it_is_only_in_what_is_served():
    fused, loop = "BlockLSTMV2", {"While", "StatelessWhile"}
    answers = ops_of(graph_of(layer_of()))
    assert fused in answers
    assert answers & loop
    for others in ({"loops": "plain"}, {"loops": "xla"}, {"dtype": "mixed_float16"}):
        assert fused not in ops_of(graph_of(layer_of(**others)))


def test_a_gradient_through_it_is_refused():
    layer, x = layer_of(), tf.ones([2, 3, FEATURES])
    with tf.GradientTape() as tape:
        tape.watch(x)
        states, *_ = layer(x, tf.constant([3, 2]))
    with pytest.raises(LookupError, match="A served LSTM has no gradient"):
        tape.gradient(states, x)
