"""An experiment: its parts as gin configures them, and the parts built and handed to each other."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import gin
import numpy as np

# Imported for gin, which knows a part once its module was imported.
import sentiment_train.data.sources.csv
import sentiment_train.data.sources.directory
import sentiment_train.data.sources.jsonl
import sentiment_train.data.sources.packaged
import sentiment_train.data.sources.tfds
import sentiment_train.models.language_model
import sentiment_train.models.mlp
import sentiment_train.models.recurrent
import sentiment_train.training.optimizers
import sentiment_train.training.schedules  # noqa: F401
from sentiment_train.config import Part
from sentiment_train.data import batches as batching
from sentiment_train.data.batches import PlannedBatch, RowSlice
from sentiment_train.data.bucketing import BatchShapes, Buckets, BucketTable
from sentiment_train.data.encoders import WordEncoder, encode_all
from sentiment_train.data.prepare import PreparedData, prepare
from sentiment_train.data.splits import Splits
from sentiment_train.data.store import EncodedSplit
from sentiment_train.errors import ConfigError, DataError
from sentiment_train.published import Published
from sentiment_train.reports.console import Console
from sentiment_train.reports.settings import Report
from sentiment_train.runtime.runtime import Runtime, decide
from sentiment_train.runtime.stop_request import StopRequest
from sentiment_train.schema import Batch, Encoder, ModelConfig, ModelInputs, Source, check_batch
from sentiment_train.training.losses import CrossEntropy, Loss
from sentiment_train.training.optimizers import Adam
from sentiment_train.training.schedules import ConstantSchedule
from sentiment_train.training.settings import Checkpointing, Training, Validation


@gin.configurable
@dataclass(frozen=True)
class Experiment(Part):
    """Everything that shapes a result. A gin file sets `source` and `model`, and what differs."""

    source: Source = gin.REQUIRED
    model: ModelConfig = gin.REQUIRED
    splits: Splits = field(default_factory=Splits)
    encoder: Encoder = field(default_factory=WordEncoder)
    buckets: Buckets = field(default_factory=Buckets)
    loss: Loss = field(default_factory=CrossEntropy)
    optimizer: Any = field(default_factory=Adam)  # anything with build(schedule)
    schedule: Any = field(default_factory=ConstantSchedule)  # … build(total_steps, per_epoch)
    training: Training = field(default_factory=Training)
    validation: Validation = field(default_factory=Validation)
    checkpointing: Checkpointing = field(default_factory=Checkpointing)
    runtime: Runtime = field(default_factory=Runtime)
    init_from: str | None = None  # a run to take the weights of embedding and recurrent layers from
    init_layers: tuple[str, ...] | None = None  # others to take instead, by name
    export: bool = True  # whether a finished run writes its SavedModel
    report: Report | None = field(default_factory=Report)  # None: only results.json
    published: Published | None = None  # what others reported for it; shapes no result

    def check(self):
        for name in ("optimizer", "schedule"):
            part = getattr(self, name)
            if isinstance(part, type):
                self.refuse(name, f"is a class; write @{part.__name__}() with brackets.")
            if not callable(getattr(part, "build", None)):
                self.refuse(name, "has no method `build`.")
        self._check_that_something_is_left_out()
        if self.export:
            self.check_export()
        made_for = getattr(self.model, "predicts", "labels")
        if self.loss.predicts != made_for:
            self.refuse("loss", f"predicts {self.loss.predicts}, but the model {made_for}.")
        joins = getattr(self.encoder, "truncation", None) == "keep_both_ends"
        if self.loss.predicts == "tokens" and joins and self.encoder.max_length is not None:
            self.encoder.refuse(
                "truncation",
                "puts words side by side that were not, and the model would learn to foretell"
                " them. Use 'keep_head' or 'keep_tail'.",
            )
        if self.init_layers is not None and self.init_from is None:
            self.refuse("init_layers", "needs a run to take them from: Experiment.init_from.")

    def check_export(self) -> None:
        """Raises ConfigError if the model cannot be served."""
        if getattr(self.model, "depends_on_padding", False):
            raise ConfigError(
                "Experiment.export: the model sees padding, so what it says of a text depends on"
                " the texts beside it, and it cannot be served. Set Experiment.export = False, or"
                " give the model masked = True or pad_to.",
                "Experiment.export",
            )

    def _check_that_something_is_left_out(self):
        above, cut = self.buckets.leave_out_above, getattr(self.encoder, "max_length", None)
        if above is not None and cut is not None and cut <= above:
            self.buckets.refuse(
                "leave_out_above",
                f"leaves nothing out: {type(self.encoder).__name__} cuts every text to {cut} tokens"
                " first. Set its max_length = None, or higher.",
            )

    def published_values(self) -> dict | None:
        """What others reported, as JSON values."""
        return dataclasses.asdict(self.published) if self.published else None


class Assembly:
    """The parts of an experiment, built in the order of the data line.

    Building does not train: a dry run builds the same parts. `devices` come first, because
    TensorFlow wants to know them before anything else happens.
    """

    def __init__(self, experiment: Experiment, cache: str):
        self.experiment = experiment
        self.decisions = decide(experiment.runtime)
        self.devices = self.decisions.devices
        self.is_chief = self.devices.cluster.is_chief
        self.console = Console(silent=not self.is_chief)
        self.should_stop = StopRequest(self.devices)
        self.cache = cache

    @cached_property
    def data(self) -> PreparedData:
        """The encoded splits; read from the cache if the same ones were made before."""
        e = self.experiment
        say = lambda text: self.console.say("data", text)  # noqa: E731
        data = prepare(e.source, e.splits, e.encoder, self.cache, say)
        if e.validation.best_by is not None and "validation" not in data.splits:
            raise DataError(
                f"There is no validation split to choose the best weights by: a share of"
                f" {e.splits.validation} of {len(data.splits['train']):,} examples in"
                f" {len(data.class_names)} classes is none. Raise Splits.validation, bring more"
                " examples, or set Validation.best_by = None to keep the last weights."
            )
        names = e.loss.metric_names(data.class_names)
        if e.validation.best_by not in (None, *names):
            e.validation.refuse("best_by", f"is no metric; known: {', '.join(names)}.")
        return data

    @cached_property
    def buckets(self) -> BatchShapes:
        """How rows are cut into batches, and the shapes of these."""
        buckets = self.experiment.buckets
        compiled = self.decisions.jit_compile or self.devices.kind == "tpu"
        if buckets.pad_to == "longest_in_batch" and compiled:
            buckets.refuse(
                "pad_to",
                "has a new shape for nearly every batch, and XLA would compile each of them. Use"
                " 'bucket', or Runtime.xla = 'off' on a device that is not a TPU.",
            )
        return buckets.table(self.data.splits["train"].lengths, self.data.longest)

    @cached_property
    def trained_rows(self) -> np.ndarray:
        """`[m] int64` the rows of the training split that are trained on."""
        train = self.data.splits["train"]
        return self.experiment.buckets.trained_rows(train.lengths, train.labels)

    @cached_property
    def steps_per_epoch(self) -> int:
        """Optimizer updates of an epoch."""
        lengths = self.data.splits["train"].lengths[self.trained_rows]
        batches = self.buckets.batches_per_epoch(lengths)
        return -(-batches // self.experiment.training.accumulate_batches)

    def new_model(self, scope=None, use_cudnn: bool | None = None):
        """A Keras model with fresh weights, in the scope of a strategy or of none.

        Args:
          use_cudnn: in place of what the runtime decided.

        Raises:
          ConfigError: if its output is not what the loss is for: one logit per class (or one for
            two classes), or the sums of a language model.
        """
        import keras

        policy = keras.mixed_precision.dtype_policy()
        keras.backend.clear_session()  # so that layers get the same names every time …
        keras.mixed_precision.set_dtype_policy(policy)  # … but it also forgets the precision
        keras.utils.set_random_seed(self.decisions.seed)
        inputs = ModelInputs(
            self.data.encoder.vocabulary_size,
            len(self.data.class_names),
            self.decisions.use_cudnn if use_cudnn is None else use_cudnn,
            getattr(self.data.encoder, "max_length", None),
        )
        with scope or contextlib.nullcontext():
            model = self.experiment.model.build(inputs)
        _check_output(model, inputs.num_classes, self.experiment.loss.predicts)
        return model

    @cached_property
    def model(self):
        """The model, built in the strategy's scope."""
        return self.new_model(self.decisions.strategy.scope())

    def order(self, epoch: int) -> list[PlannedBatch]:
        """The global batches of a training epoch."""
        lengths = self.data.splits["train"].lengths
        seed, rows = self.decisions.seed, self.trained_rows
        return batching.epoch_order(lengths, self.buckets, seed, epoch, rows)

    def read(self, planned: Sequence[PlannedBatch]) -> Iterator[Batch]:
        """Training batches, distributed over the replicas."""
        return self._read(self.data.splits["train"], planned)

    def batch_of_any_length(self):
        """A `Batch` of `tf.TypeSpec`s with an open length, as `read` gives them; None with buckets.

        Where lengths are not known beforehand, one trace serves them all.
        """
        if self.experiment.buckets.pad_to == "bucket":
            return None
        import tensorflow as tf

        rows = np.full(self.buckets.batch_size, batching.FILLER)
        two = self.read([PlannedBatch(length, rows, 0) for length in (1, 2)])
        specs = [tf.nest.map_structure(tf.type_spec_from_value, batch) for batch in two]
        return tf.nest.map_structure(lambda a, b: a.most_specific_common_supertype([b]), *specs)

    def _read(self, split: EncodedSplit, planned: Sequence[PlannedBatch]) -> Iterator[Batch]:
        devices = self.devices
        rows = RowSlice(
            devices.replicas,
            devices.cluster.index * devices.local_replicas,
            devices.local_replicas,
        )
        for batch in batching.batches(split, list(planned), rows):
            check_batch(batch)
            yield devices.distribute(batch)

    @cached_property
    def _evaluator(self):
        from sentiment_train.evaluation.evaluator import Evaluator

        decisions = self.decisions
        evaluator = Evaluator(
            self.model, decisions.strategy, decisions.jit_compile, self.should_stop
        )
        if (batch := self.batch_of_any_length()) is not None:
            evaluator.logits_of.get_concrete_function(batch.features)
        return evaluator

    def predict(self, split: EncodedSplit, buckets: BatchShapes):
        """`Predictions` of the current weights for every row of a split."""
        planned = batching.stored_order(split.lengths, buckets)
        rows = [p.rows for p in planned]
        return self._evaluator.predict(
            self._read(split, planned), rows, split.labels, split.weights
        )

    def evaluate(self, split: str) -> dict[str, float]:
        """Metrics of the current weights on a split."""
        predictions = self.predict(self.data.splits[split], self.buckets)
        return self.experiment.loss.measure(predictions, self.data.class_names)

    def logits_of_texts(self, texts: Sequence[bytes]) -> np.ndarray:
        """`[n, 1 or classes]` logits of the current weights, all texts in one padded batch."""
        pieces = list(encode_all(self.data.encoder, texts))
        lengths = np.concatenate([lengths for _, lengths in pieces])
        split = EncodedSplit(
            tokens=np.concatenate([ids for ids, _ in pieces]),
            offsets=np.concatenate([[0], np.cumsum(lengths)]),
            labels=np.zeros(len(lengths), np.int32),
            weights=np.ones(len(lengths), np.float32),
        )
        one_bucket = BucketTable((int(lengths.max()),), (len(lengths),))
        return self.predict(split, one_bucket).logits


def _check_output(model, num_classes: int, predicts: str) -> None:
    """Raises ConfigError unless the outputs fit what is predicted."""
    shape, dtype = tuple(model.output_shape), model.output.dtype
    widths = (1, 2) if num_classes == 2 else (num_classes,)
    what = f"{num_classes} classes"
    if predicts == "tokens":
        widths, what = (3,), "the sums of a language model"
    if len(shape) != 2 or shape[1] not in widths or dtype != "float32":
        wanted = " or ".join(f"[batch, {width}]" for width in widths)
        raise ConfigError(
            f"Experiment.model gives {dtype} {list(shape)} for {what}; expected float32 {wanted}.",
            "Experiment.model",
        )
