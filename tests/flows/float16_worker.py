"""A worker that trains some steps in float16; overflows come from the rows of one worker alone.

Prints what it has after each step, as one line of JSON, for `test_float16_workers.py`.
"""

from __future__ import annotations

import hashlib
import json
import pathlib
import sys
from types import SimpleNamespace

import keras
import numpy as np
import tensorflow as tf

sys.path.append(str(pathlib.Path(__file__).parents[1] / "training"))
from small_training import pooled_model, random_split, whole_batch

from sentiment_train.data.batches import RowSlice
from sentiment_train.runtime.cluster import from_environment
from sentiment_train.runtime.runtime import Runtime, decide
from sentiment_train.runtime.strategy import Devices
from sentiment_train.training.losses import CrossEntropy
from sentiment_train.training.settings import Training
from sentiment_train.training.step import TrainStep

ROWS = np.arange(8)  # the first half is of worker 0, the other of worker 1
# The row whose loss has so large a weight that its gradient overflows; None: no such row.
OVERFLOWS = (None, 1, 6, None)


def devices() -> Devices:
    """Those of a worker of `TF_CONFIG`, made before any other op."""
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    return Devices("cpu", strategy, SimpleNamespace(cluster=from_environment()), "")


def new_step(devices: Devices) -> TrainStep:
    decisions = decide(Runtime(precision="float16", xla="off"), devices=devices)
    with devices.strategy.scope():
        model, weights = pooled_model(), np.ones(2, np.float32)
        adam, training = keras.optimizers.Adam(), Training(average_decay=0.9)
        return TrainStep(model, CrossEntropy(), weights, adam, training, decisions)


def batch_of(devices: Devices, overflow: int | None):
    """This worker's rows; the row `overflow` has a loss too large for float16."""
    split = random_split()
    split.weights[:] = 0.5  # small enough for the loss scale at the start
    if overflow is not None:
        split.weights[overflow] = 1e30
    rows = RowSlice(devices.replicas, devices.cluster.index, devices.local_replicas).of(ROWS)
    batch = whole_batch(split, rows)
    return devices.distribute(tf.nest.map_structure(tf.constant, batch))


def state_of(step: TrainStep, norm: float) -> dict:
    """What a checkpoint would have, but for the loss scale as one digest."""
    variables = step.variables()
    named = {name: v for name, v in variables.items() if not name.startswith("loss_scale/")}
    content = b"".join(np.asarray(v.numpy()).tobytes() for _, v in sorted(named.items()))
    return {
        "scale": float(step.loss_scale.scale.numpy()),
        "finite": bool(np.isfinite(norm)),
        "digest": hashlib.sha256(content).hexdigest(),
    }


def main() -> None:
    found = devices()
    step, states = new_step(found), []
    for number, overflow in enumerate(OVERFLOWS):
        measures = step.train(batch_of(found, overflow), tf.constant(number))
        states.append(state_of(step, float(measures.gradient_norm)))
    print(json.dumps(states), flush=True)


if __name__ == "__main__":
    main()
