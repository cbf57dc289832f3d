"""One optimizer update over all replicas: sums, reduced once, divided once, clipped, applied.

A replica computes sums over its rows. Summed over all replicas (and over the batches of an
accumulated step) they are divided by the total weight, so that the result does not depend on how
the rows were spread: loss = Σ weight·loss ÷ Σ weight.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import tensorflow as tf

from sentiment_train.runtime.runtime import Decisions
from sentiment_train.schema import Batch
from sentiment_train.training import touched_rows
from sentiment_train.training.averages import MovingAverage
from sentiment_train.training.gradients import RowGradients
from sentiment_train.training.grouped_optimizer import GroupedOptimizer
from sentiment_train.training.groups import variable_name
from sentiment_train.training.loss_scale import LossScale
from sentiment_train.training.losses import Loss
from sentiment_train.training.settings import Training

_SUM = tf.distribute.ReduceOp.SUM
# Python is not translated: nothing here decides by values, and it takes most of a second.
_function = partial(tf.function, autograph=False)


class Measures(NamedTuple):
    """Of one step, scalars float32 on the device; sums, so that several steps can be added."""

    loss: tf.Tensor  # Σ weight · loss
    weight: tf.Tensor  # Σ weight
    correct: tf.Tensor  # Σ weight of what was predicted correctly
    gradient_norm: tf.Tensor  # before clipping


class TrainStep:
    """Model, loss and optimizer as one function of a batch.

    Everything is created inside the strategy's scope. `class_weights` is a `[num_classes] float32`
    array. `optimizer` is a Keras optimizer for all weights, or a `GroupedOptimizer`; the functions
    are traced once for each of its phases, of which most runs have one.
    """

    def __init__(self, model, loss: Loss, class_weights, optimizer, settings: Training,
                 decisions: Decisions):  # fmt: skip
        self.model, self.class_weights = model, class_weights
        self.settings, self.decisions, self.strategy = settings, decisions, decisions.strategy
        self.weights = list(model.trainable_variables)
        tensors = [weight.value for weight in self.weights]
        if not isinstance(optimizer, GroupedOptimizer):
            optimizer = GroupedOptimizer.of_all(optimizer, len(self.weights))
        self.optimizer = optimizer
        self._check_sparse_updates()
        optimizer.build(self.weights)
        decay = settings.average_decay
        self.average = MovingAverage(tensors, decay) if decay else None
        self.loss_scale = LossScale() if decisions.float16 else None
        self._accumulators = []
        if settings.accumulate_batches > 1:
            self._accumulators = [_zeros(tensor.shape) for tensor in tensors]
            self._accumulators += [_zeros([]) for _ in range(3)]
        class_weights = tf.constant(class_weights)
        self._of_rows = RowGradients(model, loss, class_weights, self.weights, optimizer)
        self._forward_backward = self._of_rows.sums
        if decisions.jit_compile:
            self._forward_backward = _function(self._of_rows.sums, jit_compile=True)
        compiled = True if decisions.compiles_whole_steps else None
        self.train = _function(self._train, jit_compile=compiled)
        self._one_after_another = _function(self._train_one_after_another, jit_compile=compiled)

    @property
    def traces(self) -> int:
        """How many graphs TensorFlow has made of the step so far."""
        functions = (self.train, self._one_after_another, self.train_several)
        functions += (self.accumulate, self.apply_accumulated)
        return sum(function.experimental_get_tracing_count() for function in functions)

    @property
    def finds_rows(self) -> bool:
        """Whether a gradient of single rows was met while tracing; see `touched_rows`."""
        return self._of_rows.finds_rows

    def _check_sparse_updates(self) -> None:
        """Raises ConfigError where the gradients of rows would have to become dense."""
        if self.optimizer.takes_rows and self.settings.accumulate_batches > 1:
            self.settings.refuse("accumulate_batches", "does not go with sparse_updates: the sum of"
                                 " several batches is kept as a dense table.")  # fmt: skip

    def variables(self) -> dict[str, object]:
        """Every variable that a checkpoint must hold, by a name that is stable between runs.

        A name has the layer and the variable, not what lies between: a recurrent layer has the same
        ones whether cuDNN computes it or not, so a run may go on where there is no GPU.
        """
        named = {f"model/{i:03d}/{variable_name(v)}": v for i, v in enumerate(self.model.variables)}
        slots = enumerate(self.optimizer.variables)
        named |= {f"optimizer/{i:03d}/{v.name.rpartition('_')[2]}": v for i, v in slots}
        if self.average:
            pairs = zip(self.weights, self.average.averages, strict=True)
            named |= {f"average/{i:03d}/{variable_name(w)}": v for i, (w, v) in enumerate(pairs)}
        if self.loss_scale:
            named |= {f"loss_scale/{v.name}": v for v in self.loss_scale.variables}
        return named

    def trace(self, batch: Batch) -> None:
        """Traces one function for all batches that fit `batch`, whose leaves are `tf.TypeSpec`s."""
        function = self.accumulate if self._accumulators else self.train
        for phase in range(self.optimizer.phases):
            function.get_concrete_function(batch, tf.TensorSpec([], tf.int32), phase)

    @_function
    def train_several(
        self, batches: Batch, count: tf.Tensor, number: tf.Tensor, phase: int = 0
    ) -> Measures:
        """One update from each of several batches of one shape, in one call; measures `[count]`.

        Args:
          batches: leaves `[n, rows, …]`, the rows of this worker, not distributed. Only the first
            `count` are looked at; n is always the same, so that a shape is compiled once.
          number: of the first one.
        """
        found = self._one_after_another(batches, count, number, phase)
        return Measures(*(values[:count] for values in found))

    def _train_one_after_another(self, batches: Batch, count, number, phase: int) -> Measures:
        """As `train_several`, but for the measures `[n]`, of which only `count` are of a batch."""

        def one_more(i, taken):
            batch = tf.nest.map_structure(lambda leaf: leaf[i], batches)
            measures = self.train(self.decisions.devices.distribute(batch), number + i, phase)
            return i + 1, [
                array.write(i, value) for array, value in zip(taken, measures, strict=True)
            ]

        room = batches.labels.shape[0]
        arrays = [tf.TensorArray(tf.float32, room, element_shape=[]) for _ in Measures._fields]
        _, arrays = tf.while_loop(
            lambda i, _: i < count, one_more, (0, arrays), parallel_iterations=1
        )
        return Measures(*(array.stack() for array in arrays))

    def _train(self, batch: Batch, number: tf.Tensor, phase: int = 0) -> Measures:
        """One update from one batch (values distributed over the replicas)."""
        if self.loss_scale:  # whose decision is taken between the replicas
            gradients, sums = self.strategy.run(partial(self._sums, phase), args=(batch, number))
            return self._apply(phase, gradients, sums)
        # One program on a TPU, where each `run` is one.
        measures = self.strategy.run(partial(self._whole_step, phase), args=(batch, number))
        return Measures(*map(self._first, measures))

    @_function
    def accumulate(self, batch: Batch, number: tf.Tensor, phase: int = 0) -> None:
        """Adds the sums of one batch to those of the step under way."""
        gradients, sums = self.strategy.run(partial(self._sums, phase), args=(batch, number))
        self.strategy.run(partial(self._add, phase), args=(gradients, sums))

    @_function
    def apply_accumulated(self, phase: int = 0) -> Measures:
        """One update from all that was accumulated; the accumulators are 0 afterwards."""
        gradients, sums = self.strategy.run(partial(self._take_accumulated, phase))
        return self._apply(phase, gradients, sums)

    def _whole_step(self, phase: int, batch: Batch, number: tf.Tensor) -> Measures:
        """In a replica: the update of all replicas together."""
        gradients, sums = self._sums(phase, batch, number)
        return Measures(*sums, self._update(phase, gradients, sums))

    def _sums(self, phase: int, batch: Batch, number: tf.Tensor):
        """In a replica: gradients and (loss, weight, correct), summed over all replicas."""
        replica = tf.distribute.get_replica_context()
        key = tf.stack([self.decisions.seed, number])
        key = tf.random.experimental.stateless_fold_in(key, replica.replica_id_in_sync_group)
        scale = self.loss_scale.scale if self.loss_scale else tf.constant(1.0)
        gradients, sums = self._forward_backward(phase, batch, key, tf.convert_to_tensor(scale))
        static = self.decisions.devices.kind == "tpu" or self.decisions.compiles_whole_steps
        return _reduced(replica, gradients, sums, static)

    def _apply(self, phase: int, gradients, sums) -> Measures:
        """Across replicas: the update, or with float16 possibly none; all replicas decide alike."""
        update = partial(self._update, phase)
        if not self.loss_scale:
            norm = self.strategy.run(update, args=(gradients, sums))
        else:
            finite = self._first(self.strategy.run(_all_finite, args=(gradients,)))
            norm = tf.cond(
                finite,
                lambda: self._first(self.strategy.run(update, args=(gradients, sums))),
                lambda: self._first(self.strategy.run(self._skip)),
            )
        loss, weight, correct = (self._first(value) for value in sums)
        return Measures(loss, weight, correct, self._first(norm))

    def _update(self, phase: int, gradients, sums):
        """In a replica: divides, clips, applies. Returns the gradient norm before clipping."""
        divisor = sums[1]
        if self.loss_scale:
            divisor *= self.loss_scale.scale
            self.loss_scale.good()
        mean = lambda values: tf.math.divide_no_nan(values, divisor)  # noqa: E731
        gradients = [touched_rows.map_values(mean, gradient) for gradient in gradients]
        norm = tf.linalg.global_norm(gradients)
        if self.settings.clip_norm is not None:
            gradients, _ = tf.clip_by_global_norm(gradients, self.settings.clip_norm, norm)
        self.optimizer.apply(gradients, self.weights, phase)
        if self.average:
            self.average.update(self.optimizer.iterations, self.optimizer.active(phase))
        return norm

    def _skip(self):
        self.loss_scale.bad()
        return tf.constant(float("inf"))  # the norm; `Progress` counts the skipped steps by it

    def _accumulators_of(self, phase: int) -> list[tf.Variable]:
        """Those of the gradients of a phase, and of the three sums."""
        sums = self._accumulators[len(self.weights) :]
        return [*(self._accumulators[i] for i in self.optimizer.active(phase)), *sums]

    def _add(self, phase: int, gradients, sums) -> None:
        accumulators = self._accumulators_of(phase)
        for accumulator, value in zip(accumulators, [*gradients, *sums], strict=True):
            accumulator.assign_add(value)

    def _take_accumulated(self, phase: int):
        accumulators = self._accumulators_of(phase)
        values = [tf.identity(accumulator) for accumulator in accumulators]
        with tf.control_dependencies(values):
            for accumulator in accumulators:
                accumulator.assign(tf.zeros_like(accumulator))
        return values[:-3], values[-3:]

    def _first(self, value):
        """The value of the first local replica; all are equal."""
        return self.strategy.experimental_local_results(value)[0]


def _zeros(shape) -> tf.Variable:
    first = tf.VariableAggregation.ONLY_FIRST_REPLICA
    return tf.Variable(tf.zeros(shape), trainable=False, aggregation=first, name="accumulator")


def _reduced(replica, gradients: list, sums: list, static: bool) -> tuple[list, list]:
    """In a replica: both, summed over all replicas; gradients of rows remain rows.

    Args:
      static: see `touched_rows.summed`.
    """
    is_rows = [isinstance(gradient, tf.IndexedSlices) for gradient in gradients]
    dense = [g for g, rows in zip(gradients, is_rows, strict=True) if not rows]
    reduced = replica.all_reduce(_SUM, [*dense, *sums])
    dense, sums = iter(reduced[: len(dense)]), reduced[len(dense) :]
    return [
        touched_rows.summed(gradient, replica, static) if rows else next(dense)
        for gradient, rows in zip(gradients, is_rows, strict=True)
    ], sums


def _all_finite(gradients):
    values = [g.values if isinstance(g, tf.IndexedSlices) else g for g in gradients]
    return tf.reduce_all([tf.reduce_all(tf.math.is_finite(value)) for value in values])
