"""Groups in training: separate rates, frozen until they start, and every promise of a step."""

import keras
import numpy as np
import pytest
from small_training import Grouped, assert_close, random_split

from sentiment_train.data.batches import FILLER
from sentiment_train.training.checkpoints import arrays_of
from sentiment_train.training.groups import ParameterGroup
from sentiment_train.training.optimizers import Adam, AdamW, Nadam, Sgd
from sentiment_train.training.schedules import ConstantSchedule, CosineSchedule

pytestmark = pytest.mark.usefixtures("tf")

SPLIT = random_split()
STEPS = [range(0, 7), [*range(7, 12), FILLER, FILLER], [12], range(13, 20), range(20, 27)]
LATE = ParameterGroup(("embedding/*", "hidden/*"), 0.01, starts="2 steps", warmup="2 steps")


def trained(trainer, grouped, steps=STEPS, **settings):
    t = trainer(optimizer=grouped, **{"clip_norm": 0.1, **settings})
    measures = [t.train(SPLIT, rows) for rows in steps]
    return t, measures


def test_groups_of_the_same_rate_are_no_groups_exactly(trainer):
    settings = AdamW()
    schedule = CosineSchedule(0.05, warmup="3 steps")
    groups = (ParameterGroup(("hidden/*",)), ParameterGroup(("logits/bias", "emb*"), 0.05))
    one, several = (
        trained(trainer, Grouped(of, settings, schedule), average_decay=0.9) for of in ((), groups)
    )
    assert several[1] == one[1]
    for kind in ("model", "average"):
        found, expected = (
            {n: a for n, a in arrays_of(t.step.variables()).items() if n.startswith(kind)}
            for t in (several[0], one[0])
        )
        assert found.keys() == expected.keys()
        for name, array in found.items():
            np.testing.assert_array_equal(array, expected[name], err_msg=name)


def test_without_groups_it_is_the_keras_optimizer_exactly(trainer):
    schedule = ConstantSchedule(0.05)
    wrapped, measures = trained(trainer, Grouped((), Adam(), schedule))
    plain, expected = trained(trainer, lambda: Adam().build(schedule.build(40, 10)))
    assert measures == expected
    found, expected = (arrays_of(t.step.variables()) for t in (wrapped, plain))
    assert found.keys() == expected.keys()
    for name, array in found.items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


def test_each_group_moves_by_its_own_rate(trainer):
    group = ParameterGroup(("hidden/*",), 0.125)
    t = trainer(optimizer=Grouped((group,), Sgd(0.0), ConstantSchedule(0.5)))
    same = trainer(optimizer=lambda: keras.optimizers.SGD(0.5))
    before = t.weights()
    for each in (t, same):
        each.train(SPLIT, range(9))
    moves = [new - old for new, old in zip(t.weights(), before, strict=True)]
    expected = [new - old for new, old in zip(same.weights(), before, strict=True)]
    assert_close(moves, [m / 4 if i in (1, 2) else m for i, m in enumerate(expected)])


def test_a_frozen_group_has_no_gradient_moment_or_decay_and_then_it_moves(trainer):
    grouped = Grouped((LATE,), AdamW(weight_decay=0.1), ConstantSchedule(0.05))
    t = trainer(optimizer=grouped, average_decay=0.9)
    full = trainer(optimizer=lambda: keras.optimizers.SGD(0.5))
    before = arrays_of(t.step.variables())
    norms = [each.train(SPLIT, range(7)).gradient_norm for each in (t, full)]
    assert norms[0] < norms[1]  # only what moves is counted
    t.train(SPLIT, range(7, 14))
    frozen = arrays_of(t.step.variables())
    same = {name for name in before if np.array_equal(before[name], frozen[name])}
    still = {n for n in before if n.startswith(("model", "average")) and "logits" not in n}
    assert {n for n in same if n.startswith(("model", "average"))} == still
    late_slots = [v for m in t.step.optimizer._members[1:] for v in m.optimizer.variables]
    assert len(late_slots) == 7
    assert not any(np.any(v.numpy()) for v in late_slots)
    t.train(SPLIT, range(14, 21))
    after = arrays_of(t.step.variables())
    assert not any(np.array_equal(after[name], frozen[name]) for name in still)
    assert all(np.any(v.numpy()) for v in late_slots)


def test_a_group_that_starts_late_counts_its_own_updates(trainer):
    """Its warm-up and its moments begin with it, as if a new optimizer took over."""
    t, _ = trained(trainer, Grouped((LATE,)))
    iterations = [int(m.optimizer.iterations.numpy()) for m in t.step.optimizer._members]
    assert iterations == [5, 3]
    assert int(t.step.optimizer.iterations.numpy()) == 5


def test_a_group_that_never_starts_has_no_moments(trainer):
    never = ParameterGroup(("embedding/*",), starts="4 epochs")
    t, _ = trained(trainer, Grouped((never,)), STEPS[:2])
    assert t.step.optimizer.phases == 1
    assert not any("optimizer" in n and "embeddings" in n for n in t.step.variables())
    assert t.step.optimizer.learning_rates(1).keys() == {"learning_rate"}


def test_two_replicas_train_groups_as_one_does(trainer):
    late = Grouped((LATE,), Nadam())
    one, measures = trained(trainer, late, average_decay=0.9)
    two, found = trained(trainer, late, average_decay=0.9, replicas=2)
    np.testing.assert_allclose(found, measures, rtol=1e-5, atol=1e-6)
    assert_close(two.weights(), one.weights())


def test_a_compiled_step_of_groups_is_the_plain_one(trainer):
    steps = [range(0, 8), range(8, 16), range(16, 24)]
    one, measures = trained(trainer, Grouped((LATE,)), steps)
    compiled, found = trained(trainer, Grouped((LATE,)), steps, jit_compile=True)
    np.testing.assert_allclose(found, measures, rtol=1e-4, atol=1e-4)
    assert_close(compiled.weights(), one.weights())


def test_accumulated_batches_of_groups_are_one_step_on_all_their_rows(trainer):
    whole, expected = trained(trainer, Grouped((LATE,)), [range(i, i + 8) for i in (0, 8, 16)])
    t = trainer(2, optimizer=Grouped((LATE,)), accumulate_batches=2, clip_norm=0.1)
    found = []
    for start in (0, 8, 16):
        t.train(SPLIT, range(start, start + 5))
        t.train(SPLIT, range(start + 5, start + 8))
        found.append(t.apply())
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert_close(t.weights(), whole.weights())


def test_a_step_is_traced_once_for_each_phase_and_shape(trainer):
    t, _ = trained(trainer, Grouped((LATE,)), [range(7)] * 6)
    assert t.step.train.experimental_get_tracing_count() == 2


def test_one_open_shape_is_traced_once_for_each_phase(tf, trainer):
    t = trainer(optimizer=Grouped((LATE,)))
    batch = t.batch(SPLIT, range(7))
    spec = tf.nest.map_structure(tf.type_spec_from_value, batch)
    tokens = tf.TensorSpec([7, None], tf.int32)
    t.step.trace(spec._replace(features={**spec.features, "tokens": tokens}))
    for length in (6, 7, 8, 9):
        t.train(SPLIT, range(7), length)
    assert t.step.train.experimental_get_tracing_count() == 2


def test_an_overflow_moves_no_group(trainer):
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    start = ParameterGroup(LATE.variables, 0.01, starts="1 step")
    t = trainer(2, optimizer=Grouped((start,)), float16=True)
    t.train(SPLIT, range(8))
    t.train(SPLIT, range(8))
    before = arrays_of(t.step.variables())
    broken = random_split()
    broken.weights[7] = 1e30
    assert not np.isfinite(t.train(broken, range(8)).gradient_norm)
    after = arrays_of(t.step.variables())
    changed = {n for n in before if not np.array_equal(before[n], after[n])}
    assert {name.partition("/")[0] for name in changed} == {"loss_scale"}


def test_the_rates_of_all_groups_are_told_and_0_while_frozen(trainer):
    schedule = CosineSchedule(0.1)
    t = trainer(optimizer=Grouped((LATE,), schedule=schedule, steps=12))
    rates = [t.step.optimizer.learning_rates(step) for step in range(12)]
    cosine = 0.5 * (1 + np.cos(np.pi * np.arange(12) / 12))
    np.testing.assert_allclose([r["learning_rate"] for r in rates], 0.1 * cosine, atol=1e-8)
    of_group = [r["learning_rate/embedding"] for r in rates]
    assert of_group[:4] == pytest.approx([0.0, 0.0, 0.005, 0.01])
    cosine = 0.5 * (1 + np.cos(np.pi * np.arange(8) / 8))
    np.testing.assert_allclose(of_group[4:], 0.01 * cosine, atol=1e-8)
