"""A small model and some rows, to be trained on any number of replicas."""

from __future__ import annotations

from dataclasses import dataclass, field

import keras
import numpy as np

from sentiment_train.data.batches import RowSlice, gather
from sentiment_train.data.store import EncodedSplit
from sentiment_train.schema import Batch
from sentiment_train.training.grouped_optimizer import GroupedOptimizer
from sentiment_train.training.groups import plan_groups
from sentiment_train.training.optimizers import Adam
from sentiment_train.training.schedules import CosineSchedule

VOCABULARY = 20


def pooled_model(width=1, **logits_options):
    """Embedding → mean over time → logits; small enough to be compiled in a moment."""
    from sentiment_train.layers.masking import SequenceMask
    from sentiment_train.layers.pooling import MeanPooling

    tokens = keras.Input([None], dtype="int32", name="tokens")
    lengths = keras.Input([], dtype="int32", name="lengths")
    x = keras.layers.Embedding(VOCABULARY, 4, name="embedding")(tokens)
    x = MeanPooling()(x, mask=SequenceMask()(lengths, tokens))
    x = keras.layers.Dense(4, activation="tanh", name="hidden")(x)
    logits = keras.layers.Dense(width, dtype="float32", name="logits", **logits_options)(x)
    return keras.Model({"tokens": tokens, "lengths": lengths}, logits)


def random_split(rows=40, longest=6, classes=2, seed=0) -> EncodedSplit:
    """Encoded rows with weights between 0.5 and 2."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, longest + 1, rows)
    return EncodedSplit(
        tokens=rng.integers(1, VOCABULARY, lengths.sum()).astype(np.int32),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        labels=rng.integers(0, classes, rows).astype(np.int32),
        weights=rng.uniform(0.5, 2.0, rows).astype(np.float32),
    )


def whole_batch(split: EncodedSplit, rows, length=6) -> Batch:
    """Rows of a split as one batch, not distributed."""
    tokens, lengths, labels, weights = gather(split, np.asarray(rows), length)
    return Batch({"tokens": tokens, "lengths": lengths}, labels, weights)


@dataclass
class Trainer:
    """A `TrainStep` and what feeds it."""

    step: object
    devices: object
    number: int = field(default=0)  # of batches
    steps: int = field(default=0)

    def batch(self, split, rows, length=6) -> Batch:
        """Rows of a split, filled up to a multiple of the replicas and spread over them."""
        import tensorflow as tf

        n = self.devices.replicas
        filled = RowSlice(n, 0, n).of(np.asarray(rows, np.int64))
        batch = whole_batch(split, filled, length)
        return self.devices.distribute(tf.nest.map_structure(tf.constant, batch))

    def train(self, split, rows, length=6):
        """One step, or the accumulation of one batch; gives the measures as floats."""
        import tensorflow as tf

        batch, number = self.batch(split, rows, length), tf.constant(self.number)
        phase = self.step.optimizer.phase_of(self.steps)
        self.number += 1
        if self.step.settings.accumulate_batches > 1:
            self.step.accumulate(batch, number, phase)
            return None
        self.steps += 1
        return floats(self.step.train(batch, number, phase))

    def apply(self):
        phase = self.step.optimizer.phase_of(self.steps)
        self.steps += 1
        return floats(self.step.apply_accumulated(phase))

    def weights(self) -> list[np.ndarray]:
        return [w.numpy() for w in self.step.weights]


@dataclass
class Grouped:
    """An optimizer of groups, made when the weights are there; an epoch has 10 steps."""

    groups: tuple = ()
    settings: object = field(default_factory=Adam)
    schedule: object = field(default_factory=lambda: CosineSchedule(0.05))
    steps: int = 40

    def of(self, weights) -> GroupedOptimizer:
        planned = plan_groups(self.groups, weights, self.schedule, self.steps, 10)
        return GroupedOptimizer.of_groups(planned, self.settings, 10)


def floats(measures):
    return type(measures)(*(float(value) for value in measures))


def assert_close(found, expected):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def sgd():
    return keras.optimizers.SGD(0.5)
