"""XLA, bfloat16 and float16: faster or smaller numbers, the same training."""

import math

import keras
import numpy as np
import pytest
from small_training import VOCABULARY, pooled_model, random_split

from sentiment_train.models.recurrent import RecurrentClassifier
from sentiment_train.schema import ModelInputs
from sentiment_train.training.loss_scale import LossScale

pytestmark = pytest.mark.usefixtures("tf")

SPLIT = random_split()
STEPS = [range(0, 8), range(8, 16), range(16, 24)]


def recurrent():
    settings = RecurrentClassifier(embedding_size=4, units=(3,), pooling="mean")
    return settings.build(ModelInputs(VOCABULARY, 2))


@pytest.mark.parametrize("replicas, model", [(1, recurrent), (2, pooled_model)])
def test_a_compiled_step_is_the_plain_one(trainer, replicas, model):
    plain, compiled = (trainer(replicas, model=model, jit_compile=jit) for jit in (False, True))
    for rows in STEPS:
        np.testing.assert_allclose(
            compiled.train(SPLIT, rows), plain.train(SPLIT, rows), rtol=1e-4, atol=1e-4
        )
    for a, b in zip(compiled.weights(), plain.weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("replicas, precision", [(1, "bfloat16"), (2, "float16")])
def test_a_short_precision_stays_near_float32(trainer, replicas, precision):
    exact = trainer(1, model=recurrent)
    keras.mixed_precision.set_dtype_policy(f"mixed_{precision}")
    t = trainer(replicas, model=recurrent, float16=precision == "float16")
    for rows in STEPS:
        np.testing.assert_allclose(
            t.train(SPLIT, rows), exact.train(SPLIT, rows), rtol=0.05, atol=0.02
        )
    assert {weight.dtype for weight in t.step.weights} == {"float32"}
    for a, b in zip(t.weights(), exact.weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=0.05, atol=0.02)


def with_weight(row, weight):
    split = random_split()
    split.weights[row] = weight
    return split


def scales(t):
    return [
        float(copy)
        for copy in t.devices.strategy.experimental_local_results(t.step.loss_scale.scale)
    ]


@pytest.mark.parametrize("replicas", [1, 2])
def test_an_overflow_on_one_replica_makes_all_skip_and_halves_the_scale(trainer, replicas):
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    adam = keras.optimizers.Adam
    t = trainer(replicas, model=recurrent, float16=True, optimizer=adam, average_decay=0.9)
    t.train(SPLIT, STEPS[0])
    before = {name: v.numpy() for name, v in t.step.variables().items()}
    # Row 7 is one of the last replica. Its loss is finite, its gradient in float16 is not.
    measures = t.train(with_weight(7, 1e30), STEPS[0])
    assert math.isfinite(measures.loss)
    assert not math.isfinite(measures.gradient_norm)  # so that `Progress` sees that it was skipped
    after = {name: v.numpy() for name, v in t.step.variables().items()}
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed == {"loss_scale/scale:0", "loss_scale/good_steps:0"}
    assert scales(t) == [2.0**14] * replicas
    assert math.isfinite(t.train(SPLIT, STEPS[1]).gradient_norm)
    assert scales(t) == [2.0**14] * replicas
    assert int(t.step.optimizer.iterations.numpy()) == 2


def test_the_scale_doubles_after_enough_good_steps_and_stays_in_its_range(devices_of):
    strategy = devices_of(2).strategy
    with strategy.scope():
        scale = LossScale(initial=8.0, growth_steps=3)

    def after(calls):
        for call in calls:
            strategy.run(getattr(scale, call))
        return float(scale.scale.numpy())

    assert after(["good"] * 2) == 8.0
    assert after(["good"]) == 16.0
    assert after(["good"] * 2 + ["bad"]) == 8.0
    assert after(["good"] * 2) == 8.0  # it counts anew
    assert after(["good"]) == 16.0
    assert after(["bad"] * 9) == 1.0
    scale.scale.assign(2.0**24)
    assert after(["good"] * 3) == 2.0**24
