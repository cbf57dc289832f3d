"""What the cores of a TPU would run, for each bucket: the real steps, lowered to StableHLO."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from sentiment_train.assembly import Assembly
from sentiment_train.data.batches import FILLER, PlannedBatch
from sentiment_train.evaluation.evaluator import Evaluator
from sentiment_train.run import Run
from sentiment_train.run_directory import RunDirectory
from sentiment_train.schema import Batch
from sentiment_train.tpu.refusals import Refusal, why_refused

_DYNAMIC = re.compile(r"tensor<[0-9x]*\?")


@dataclass(frozen=True)
class Bucket:
    """A shape of batches."""

    length: int
    rows: int  # of all replicas
    shortest: int  # row that may be in it

    def of_rows(self, rows: int) -> Bucket:
        return Bucket(self.length, rows, self.shortest)


@dataclass(frozen=True)
class Module:
    """A lowered program."""

    text: str  # StableHLO
    kept: int  # bytes of the variables of the run that it does not use; they stay on the core
    dynamic: bool  # has sizes that depend on values, though bounded ones


@dataclass(frozen=True)
class Program:
    """One of the functions of a run, for one bucket."""

    name: str  # training, evaluation, …
    bucket: Bucket
    function: Callable
    arguments: tuple
    variables: list
    layers: tuple[str, ...]  # names

    def lower(self) -> Module | Refusal:
        """Traces the function as one program, and translates it operation by operation."""
        from tensorflow.python.eager.polymorphic_function import compiler_ir

        compiled = tf.function(self.function, jit_compile=True, autograph=False)
        concrete = compiled.get_concrete_function(*self.arguments)
        try:
            specs = tf.nest.flatten(self.arguments)
            text = compiler_ir.from_concrete_function(concrete, specs)(stage="stablehlo")
        except (ValueError, tf.errors.OpError) as error:
            return why_refused(str(error), concrete.graph, self.layers)
        used = {id(variable.handle) for variable in concrete.graph.variables}
        others = [tf_variable(v) for v in self.variables]
        kept = sum(_bytes(v) for v in others if id(v.handle) not in used)
        return Module(text, kept, bool(_DYNAMIC.search(text)))


class Programs:
    """The programs of an assembly whose devices are a TPU that is not there."""

    def __init__(self, assembly: Assembly):
        self.assembly = assembly
        # Nothing is read or written there: it is what a run is made with.
        self._step = Run(assembly, RunDirectory("ram://tpu_check")).step
        self._variables = list(self._step.variables().values())
        self._evaluator = Evaluator(
            assembly.model, assembly.decisions.strategy, False, lambda: False
        )
        self._layers = tuple(layer.name for layer in assembly.model.layers)

    @property
    def buckets(self) -> list[Bucket]:
        """All of them, shortest first."""
        table = self.assembly.buckets
        shortest = [1, *(length + 1 for length in table.lengths)]
        return [Bucket(*b) for b in zip(table.lengths, table.batch_sizes, shortest, strict=False)]

    def of(self, bucket: Bucket) -> Iterator[Program]:
        """Training, in each of its phases, and evaluation."""
        batch = self._batch(bucket)
        phases = self._step.optimizer.phases
        for phase in range(phases):
            which = f", phase {phase + 1} of {phases}" if phases > 1 else ""
            yield from self._training(bucket, batch, phase, which)
        logits_of = self._evaluator.logits_of
        yield self._program("evaluation", bucket, logits_of, (batch.features,))

    def _training(self, bucket, batch, phase: int, which: str) -> Iterator[Program]:
        step, number = self._step, tf.TensorSpec([], tf.int32)
        if step.settings.accumulate_batches == 1:
            function = lambda batch, number: step.train(batch, number, phase)  # noqa: E731
            yield self._program("training" + which, bucket, function, (batch, number))
            return
        function = lambda batch, number: step.accumulate(batch, number, phase)  # noqa: E731
        yield self._program("accumulation" + which, bucket, function, (batch, number))
        if bucket.length == self.buckets[0].length:  # the same for all
            apply = partial(step.apply_accumulated, phase)
            yield self._program("update" + which, bucket, apply, ())

    def _program(self, name: str, bucket: Bucket, function, arguments) -> Program:
        return Program(name, bucket, function, arguments, self._variables, self._layers)

    def _batch(self, bucket: Bucket) -> Batch:
        """The `tf.TypeSpec`s of what one replica gets of a batch."""
        rows = np.full(bucket.rows, FILLER)
        planned = PlannedBatch(bucket.length, rows, 0, bucket.shortest)
        split = self.assembly.data.splits["train"]
        (batch,) = self.assembly.feeding.read_split(split, [planned])
        return tf.nest.map_structure(tf.type_spec_from_value, batch)


def tf_variable(variable: Any) -> tf.Variable:
    """The variable of TensorFlow inside one of Keras."""
    return variable if isinstance(variable, tf.Variable) else variable.value


def _bytes(variable: tf.Variable) -> int:
    return int(np.prod(variable.shape)) * variable.dtype.size
