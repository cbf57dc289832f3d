"""Sparse updates: the rows of a table that a batch touches move as ever, the others not at all."""

import dataclasses

import keras
import numpy as np
import pytest
from small_training import VOCABULARY, assert_close, pooled_model, random_split

from sentiment_train.data.batches import FILLER
from sentiment_train.data.store import EncodedSplit
from sentiment_train.errors import ConfigError
from sentiment_train.layers.embedding import Embedding, Lookup
from sentiment_train.layers.masking import SequenceMask
from sentiment_train.layers.pooling import MeanPooling
from sentiment_train.training import optimizers, touched_rows
from sentiment_train.training.checkpoints import arrays_of, restore

pytestmark = pytest.mark.usefixtures("tf")

SPLIT = random_split()


def own_model():
    """With our own embedding layers in place of Keras'."""
    tokens = keras.Input([None], dtype="int32", name="tokens")
    lengths = keras.Input([], dtype="int32", name="lengths")
    x = Lookup(name="lookup")(tokens, Embedding(VOCABULARY, 4, name="embedding")(tokens))
    x = MeanPooling()(x, mask=SequenceMask()(lengths, tokens))
    logits = keras.layers.Dense(1, dtype="float32", name="logits")(x)
    return keras.Model({"tokens": tokens, "lengths": lengths}, logits)


def sparse(kind=optimizers.Adam):
    return lambda: kind(sparse_updates=True).build(0.05)


def dense(kind=optimizers.Adam):
    return lambda: kind().build(0.05)


def all_ids() -> EncodedSplit:
    """Texts that together have every id, so that every row is touched in every step."""
    split = random_split(rows=20, longest=6)
    ids = np.resize(np.arange(VOCABULARY, dtype=np.int32), len(split.tokens))
    return EncodedSplit(ids, split.offsets, split.labels, split.weights)


@pytest.mark.parametrize("kind", [optimizers.Adam, optimizers.Nadam])
def test_rows_that_every_batch_touches_move_as_with_keras(trainer, kind):
    rows, expected = (trainer(optimizer=of(kind), clip_norm=0.1) for of in (sparse, dense))
    split = all_ids()
    for _ in range(4):
        measures = [t.train(split, range(20)) for t in (rows, expected)]
        np.testing.assert_allclose(*measures, rtol=1e-5)
    found, slots = (arrays_of(t.step.variables()) for t in (rows, expected))
    assert found.keys() == slots.keys()
    for name, array in found.items():  # Keras' Nadam has 1 - β₂ in float32
        np.testing.assert_allclose(array, slots[name], rtol=1e-4, atol=2e-6, err_msg=name)


@pytest.mark.parametrize("replicas, model", [(1, pooled_model), (2, own_model)])
def test_rows_without_a_gradient_stay_and_keep_their_moments(trainer, replicas, model):
    t = trainer(replicas, model=model, optimizer=sparse())
    first, second = ([0, 1, 2], [3])
    used = [
        {int(i) for row in rows for i in SPLIT.tokens[SPLIT.offsets[row] : SPLIT.offsets[row + 1]]}
        for rows in (first, second)
    ]
    assert used[0] - used[1]
    assert used[1] - used[0]
    t.train(SPLIT, first)
    before = tables(t)
    t.train(SPLIT, [*second, FILLER, FILLER])
    for name, table in tables(t).items():
        moved = set(np.flatnonzero((table != before[name]).any(axis=1)).tolist())
        assert moved == used[1], name


def tables(t):
    """The embedding and its two moments."""
    named = arrays_of(t.step.variables())
    return {name: a for name, a in named.items() if a.shape == (VOCABULARY, 4)}


def test_two_replicas_touch_the_rows_that_one_touches(trainer):
    steps = [range(0, 7), [*range(7, 12), FILLER, FILLER], [12], range(13, 20)]
    one, two = (trainer(n, optimizer=sparse(), clip_norm=0.1) for n in (1, 2))
    for rows in steps:
        found, expected = two.train(SPLIT, rows), one.train(SPLIT, rows)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert_close(two.weights(), one.weights())


def test_the_norm_is_that_of_the_dense_gradient(trainer):
    found, expected = (trainer(optimizer=of()).train(SPLIT, range(9)) for of in (sparse, dense))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_compiled_and_in_float16_it_goes_on_bit_for_bit_after_a_restore(trainer):
    keras.mixed_precision.set_dtype_policy("mixed_float16")

    def make():
        return trainer(2, optimizer=sparse(), float16=True, jit_compile=True)

    first, second = make(), make()
    first.train(SPLIT, range(8))
    restore(second.step.variables(), arrays_of(first.step.variables()))
    second.number = second.steps = 1
    for t in (first, second):
        t.train(SPLIT, range(8, 16))
    expected = arrays_of(first.step.variables())
    for name, array in arrays_of(second.step.variables()).items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)
    broken = random_split()
    broken.weights[7] = 1e30
    before = tables(first)
    assert not np.isfinite(first.train(broken, range(8)).gradient_norm)
    assert_close(tables(first).values(), before.values())


def as_on_a_tpu(t):
    """Its step as it is traced there, where all shapes are known beforehand."""
    decisions = t.step.decisions
    devices = dataclasses.replace(decisions.devices, kind="tpu")
    t.step.decisions = dataclasses.replace(decisions, devices=devices)
    return t


@pytest.mark.parametrize("kind, replicas", [(optimizers.Adam, 2), (optimizers.Nadam, 1)])
def test_the_update_of_a_tpu_is_that_of_the_rows(trainer, kind, replicas):
    steps = [range(0, 7), [*range(7, 12), FILLER, FILLER], [12], range(13, 20)]
    rows = trainer(replicas, model=own_model, optimizer=sparse(kind), clip_norm=0.1)
    fixed = as_on_a_tpu(trainer(replicas, model=own_model, optimizer=sparse(kind), clip_norm=0.1))
    for step in steps:
        np.testing.assert_allclose(fixed.train(SPLIT, step), rows.train(SPLIT, step), rtol=1e-6)
    expected = arrays_of(rows.step.variables())
    for name, array in arrays_of(fixed.step.variables()).items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-5, atol=1e-7, err_msg=name)


def test_equal_rows_are_summed_into_as_many_places_as_there_were(tf):
    rows = tf.constant([5, 2, 5, 9, 2, 5])
    values = tf.constant([[1.0], [2.0], [10.0], [0.0], [20.0], [100.0]])
    gradient = tf.IndexedSlices(values, rows, tf.constant([10, 1]))
    one = tf.distribute.get_replica_context()
    found = touched_rows.summed(gradient, one, static=True)
    np.testing.assert_array_equal(found.indices, [2, 5, 9, 0, 0, 0])
    np.testing.assert_array_equal(found.values[:, 0], [22, 111, 0, 0, 0, 0])
    touched = touched_rows.summed(gradient, one)
    np.testing.assert_array_equal(touched.indices, [5, 2])
    np.testing.assert_array_equal(touched.values[:, 0], [111, 22])


def whole_table_model():
    """Every row of the table is used in every step, as where it is projected at once."""
    tokens = keras.Input([None], dtype="int32", name="tokens")
    lengths = keras.Input([], dtype="int32", name="lengths")
    one_hot = keras.layers.CategoryEncoding(VOCABULARY, "one_hot")(tokens)
    x = keras.layers.Dense(4, use_bias=False, name="embedding")(one_hot)
    x = MeanPooling()(x, mask=SequenceMask()(lengths, tokens))
    logits = keras.layers.Dense(1, dtype="float32", name="logits")(x)
    return keras.Model({"tokens": tokens, "lengths": lengths}, logits)


@pytest.mark.parametrize("model, finds", [(own_model, True), (whole_table_model, False)])
def test_a_step_knows_whether_there_are_rows_to_be_sparse_with(tf, trainer, model, finds):
    t = trainer(model=model, optimizer=sparse())
    t.step.trace(tf.nest.map_structure(tf.type_spec_from_value, t.batch(SPLIT, range(7))))
    assert t.step.finds_rows is finds


def test_accumulation_and_weight_decay_are_refused(trainer):
    with pytest.raises(ConfigError, match="accumulate_batches = 2 does not go with sparse_updates"):
        trainer(optimizer=sparse(), accumulate_batches=2)
    with pytest.raises(ConfigError, match="sparse_updates = True goes with Adam or Nadam"):
        optimizers.AdamW(sparse_updates=True)


def test_gradients_of_rows_that_are_added_stay_of_rows_and_others_become_tables(tf):
    shape = tf.constant([5, 2])
    few = tf.IndexedSlices(tf.constant([[1.0, 2.0]]), tf.constant([3]), shape)
    more = tf.IndexedSlices(tf.constant([[3.0, 4.0], [5.0, 6.0]]), tf.constant([3, 0]), shape)
    total = touched_rows.added(few, more)
    assert isinstance(total, tf.IndexedSlices)
    expected = np.zeros([5, 2])
    expected[3], expected[0] = [4, 6], [5, 6]
    np.testing.assert_array_equal(tf.convert_to_tensor(total), expected)
    for one, other in ((few, tf.ones(shape)), (tf.ones(shape), few)):
        found = touched_rows.added(one, other)
        np.testing.assert_array_equal(found, 1 + tf.convert_to_tensor(few).numpy())
