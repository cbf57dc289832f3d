"""One optimizer update over all replicas: sums, reduced once, divided once, clipped, applied.

A replica computes sums over its rows. Summed over all replicas (and over the batches of an
accumulated step) they are divided by the total weight, so that the result does not depend on how
the rows were spread: loss = Σ weight·loss ÷ Σ weight.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from sentiment_train.layers.dropout import random_key
from sentiment_train.runtime.runtime import Decisions
from sentiment_train.schema import Batch
from sentiment_train.training.averages import MovingAverage
from sentiment_train.training.loss_scale import LossScale
from sentiment_train.training.losses import Loss
from sentiment_train.training.settings import Training

_SUM = tf.distribute.ReduceOp.SUM


class Measures(NamedTuple):
    """Of one step, scalars float32 on the device; sums, so that several steps can be added."""

    loss: tf.Tensor  # Σ weight · loss
    weight: tf.Tensor  # Σ weight
    correct: tf.Tensor  # Σ weight of what was predicted correctly
    gradient_norm: tf.Tensor  # before clipping


class TrainStep:
    """Model, loss and optimizer as one function of a batch.

    Everything is created inside the strategy's scope. `class_weights` is `[num_classes] float32`.
    """

    def __init__(self, model, loss: Loss, class_weights, optimizer, settings: Training,
                 decisions: Decisions):  # fmt: skip
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.class_weights = tf.constant(class_weights)
        self.settings, self.decisions, self.strategy = settings, decisions, decisions.strategy
        self.weights = list(model.trainable_variables)
        tensors = [weight.value for weight in self.weights]
        optimizer.build(self.weights)
        # Keras would sum over replicas a second time: what `_update` passes is summed already.
        optimizer._all_reduce_sum_gradients = list
        decay = settings.average_decay
        self.average = MovingAverage(tensors, decay) if decay else None
        self.loss_scale = LossScale() if decisions.float16 else None
        self._accumulators = []
        if settings.accumulate_batches > 1:
            self._accumulators = [_zeros(tensor.shape) for tensor in tensors]
            self._accumulators += [_zeros([]) for _ in range(3)]
        self._forward_backward = self._sums_of_rows
        if decisions.jit_compile:
            self._forward_backward = tf.function(self._sums_of_rows, jit_compile=True)

    def variables(self) -> dict[str, object]:
        """Every variable that a checkpoint must hold, by a name that is stable between runs.

        A name has the layer and the variable, not what lies between: a recurrent layer has the same
        ones whether cuDNN computes it or not, so a run may go on where there is no GPU.
        """
        named = {f"model/{i:03d}/{_name(v)}": v for i, v in enumerate(self.model.variables)}
        slots = enumerate(self.optimizer.variables)
        named |= {f"optimizer/{i:03d}/{v.name.rpartition('_')[2]}": v for i, v in slots}
        if self.average:
            pairs = zip(self.weights, self.average.averages, strict=True)
            named |= {f"average/{i:03d}/{_name(w)}": v for i, (w, v) in enumerate(pairs)}
        if self.loss_scale:
            named |= {f"loss_scale/{v.name}": v for v in self.loss_scale.variables}
        return named

    def trace(self, batch: Batch) -> None:
        """Traces one function for all batches that fit `batch`, whose leaves are `tf.TypeSpec`s."""
        function = self.accumulate if self._accumulators else self.train
        function.get_concrete_function(batch, tf.TensorSpec([], tf.int32))

    @tf.function
    def train(self, batch: Batch, number: tf.Tensor) -> Measures:
        """One update from one batch (values distributed over the replicas)."""
        gradients, sums = self.strategy.run(self._sums, args=(batch, number))
        return self._apply(gradients, sums)

    @tf.function
    def accumulate(self, batch: Batch, number: tf.Tensor) -> None:
        """Adds the sums of one batch to those of the step under way."""
        gradients, sums = self.strategy.run(self._sums, args=(batch, number))
        self.strategy.run(self._add, args=(gradients, sums))

    @tf.function
    def apply_accumulated(self) -> Measures:
        """One update from all that was accumulated; the accumulators are 0 afterwards."""
        gradients, sums = self.strategy.run(self._take_accumulated)
        return self._apply(gradients, sums)

    def _sums(self, batch: Batch, number: tf.Tensor):
        """In a replica: gradients and (loss, weight, correct), summed over all replicas."""
        replica = tf.distribute.get_replica_context()
        key = tf.stack([self.decisions.seed, number])
        key = tf.random.experimental.stateless_fold_in(key, replica.replica_id_in_sync_group)
        scale = self.loss_scale.scale if self.loss_scale else tf.constant(1.0)
        gradients, sums = self._forward_backward(batch, key, tf.convert_to_tensor(scale))
        reduced = replica.all_reduce(_SUM, [*gradients, *sums])
        return reduced[: len(gradients)], reduced[len(gradients) :]

    def _sums_of_rows(self, batch: Batch, key, scale):
        """Over a replica's rows: gradients of scale · Σ weight·loss, (loss, weight, correct)."""
        with tf.GradientTape() as tape, random_key(key):
            outputs = self.model(batch.features, training=True)
            loss, weight, correct = self.loss.sums(batch, outputs, self.class_weights)
            target = loss
            if self.model.losses:  # regularisers of layers; in proportion to this replica's share
                target += weight * tf.add_n(self.model.losses)
            target *= scale
        gradients = tape.gradient(
            target,
            [weight.value for weight in self.weights],
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        gradients = [tf.cast(tf.convert_to_tensor(g), tf.float32) for g in gradients]
        return gradients, [loss, weight, correct]

    def _apply(self, gradients, sums) -> Measures:
        """Across replicas: the update, or with float16 possibly none; all replicas decide alike."""
        if not self.loss_scale:
            norm = self.strategy.run(self._update, args=(gradients, sums))
        else:
            finite = self._first(self.strategy.run(_all_finite, args=(gradients,)))
            norm = tf.cond(
                finite,
                lambda: self._first(self.strategy.run(self._update, args=(gradients, sums))),
                lambda: self._first(self.strategy.run(self._skip)),
            )
        loss, weight, correct = (self._first(value) for value in sums)
        return Measures(loss, weight, correct, self._first(norm))

    def _update(self, gradients, sums):
        """In a replica: divides, clips, applies. Returns the gradient norm before clipping."""
        divisor = sums[1]
        if self.loss_scale:
            divisor *= self.loss_scale.scale
            self.loss_scale.good()
        gradients = [tf.math.divide_no_nan(gradient, divisor) for gradient in gradients]
        norm = tf.linalg.global_norm(gradients)
        if self.settings.clip_norm is not None:
            gradients, _ = tf.clip_by_global_norm(gradients, self.settings.clip_norm, norm)
        self.optimizer.apply(gradients, self.weights)
        if self.average:
            self.average.update(self.optimizer.iterations)
        return norm

    def _skip(self):
        self.loss_scale.bad()
        return tf.constant(float("inf"))  # the norm; `Progress` counts the skipped steps by it

    def _add(self, gradients, sums) -> None:
        for accumulator, value in zip(self._accumulators, [*gradients, *sums], strict=True):
            accumulator.assign_add(value)

    def _take_accumulated(self):
        values = [tf.identity(accumulator) for accumulator in self._accumulators]
        with tf.control_dependencies(values):
            for accumulator in self._accumulators:
                accumulator.assign(tf.zeros_like(accumulator))
        return values[: len(self.weights)], values[len(self.weights) :]

    def _first(self, value):
        """The value of the first local replica; all are equal."""
        return self.strategy.experimental_local_results(value)[0]


def _name(variable) -> str:
    """`lstm_1/kernel` of a variable with the path `lstm_1/…/kernel`."""
    layer, _, below = variable.path.partition("/")
    return f"{layer}/{below.rpartition('/')[2]}"


def _zeros(shape) -> tf.Variable:
    first = tf.VariableAggregation.ONLY_FIRST_REPLICA
    return tf.Variable(tf.zeros(shape), trainable=False, aggregation=first, name="accumulator")


def _all_finite(gradients):
    return tf.reduce_all([tf.reduce_all(tf.math.is_finite(gradient)) for gradient in gradients])
