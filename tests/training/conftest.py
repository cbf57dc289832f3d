"""Devices and trainers for the tests of the training step and the loop."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from small_training import Grouped, Trainer, pooled_model, sgd

from sentiment_train.training.losses import CrossEntropy
from sentiment_train.training.settings import Training


@pytest.fixture(scope="session")
def devices_of(tf):
    """Devices of 1, 2 or 3 replicas, made once."""
    from sentiment_train.runtime.strategy import choose

    made = {}

    def make(replicas):
        if replicas not in made:
            made[replicas] = choose("cpu", replicas)
        return made[replicas]

    return make


@pytest.fixture(scope="session")
def trainer(tf, devices_of):
    """Makes a `Trainer`: the same initial weights whatever the replicas."""
    from sentiment_train.runtime.runtime import Decisions
    from sentiment_train.training.step import TrainStep

    def make(
        replicas=1,
        model=pooled_model,
        optimizer=None,
        loss=None,
        class_weights=(1.0, 1.0),
        jit_compile=False,
        float16=False,
        seed=0,
        **settings,
    ) -> Trainer:
        policy = keras.mixed_precision.dtype_policy()
        keras.backend.clear_session()  # the same names every time
        keras.mixed_precision.set_dtype_policy(policy)
        devices = devices_of(replicas)
        decisions = Decisions(
            devices=devices,
            jit_compile=jit_compile,
            use_cudnn=False,
            recurrent_loops="xla" if jit_compile else "plain",
            cores=1,
            precision="float16" if float16 else "float32",
            seed=seed,
            logit_tolerance=1e-5,
            lines=(),
        )
        rng = np.random.default_rng(5)
        with devices.strategy.scope():
            made = model()
            made.set_weights([rng.normal(0, 0.5, w.shape) for w in made.weights])
            grouped = isinstance(optimizer, Grouped)
            step = TrainStep(
                made,
                loss or CrossEntropy(),
                np.array(class_weights, np.float32),
                optimizer.of(made.trainable_variables) if grouped else (optimizer or sgd)(),
                Training(**{"clip_norm": None, **settings}),
                decisions,
            )
        return Trainer(step, devices)

    return make


@pytest.fixture(autouse=True)
def _float32():
    """No test leaves a precision behind."""
    yield
    keras.mixed_precision.set_dtype_policy("float32")
