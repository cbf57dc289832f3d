"""The parts of an experiment, built and handed to each other in the order of the data line."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from sentiment_train.data import batches as batching
from sentiment_train.data.bucketing import BatchShapes, BucketTable
from sentiment_train.data.encoders import encode_all
from sentiment_train.data.prepare import PreparedData, prepare
from sentiment_train.data.store import EncodedSplit
from sentiment_train.duration import to_steps
from sentiment_train.errors import ConfigError, DataError
from sentiment_train.experiment import Experiment
from sentiment_train.feeding import Feeding
from sentiment_train.reports.console import Console
from sentiment_train.runtime.peers import agree
from sentiment_train.runtime.runtime import Decisions, decide
from sentiment_train.runtime.stop_request import StopRequest
from sentiment_train.schema import ModelInputs
from sentiment_train.training.groups import ParameterGroup, PlannedGroup, plan_groups

_LONG_TEXT = 64  # tokens, from which on a part of a loop is worth its call


class Assembly:
    """The parts of an experiment, built in the order of the data line.

    Building does not train: a dry run builds the same parts. `devices` come first, because
    TensorFlow wants to know them before anything else happens.

    Args:
      cache: the directory of encoded data.
      decisions: of the runtime; None: taken here, for a single process.
    """

    def __init__(self, experiment: Experiment, cache: str, decisions: Decisions | None = None):
        self.experiment = experiment
        self.decisions = decisions or decide(experiment.runtime)
        self.devices = self.decisions.devices
        self.peers = self.devices.peers
        self.is_chief = self.devices.cluster.is_chief
        self.console = Console(silent=not self.is_chief)
        self.should_stop = StopRequest(self.peers)
        self.cache = cache

    @cached_property
    def data(self) -> PreparedData:
        """The encoded splits; read from the cache if the same ones were made before."""
        e = self.experiment
        say = lambda text: self.console.say("data", text)  # noqa: E731
        data = prepare(e.source, e.splits, e.encoder, self.cache, say)
        how = "Each needs the same files and settings, or all the same --cache_dir."
        agree(self.peers, "data", data.content, how, DataError)
        if e.validation.best_by is not None and "validation" not in data.splits:
            if getattr(e.source, "streamed", False):
                raise DataError(
                    "There is no validation split to choose the best weights by. Set"
                    " Shards.validation, or Validation.best_by = None to keep the last weights."
                )
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
        self._check_shapes()
        if self.data.vectors:
            return BucketTable((1,), (buckets.rows(1),))
        longest = self.data.longest
        if getattr(self.experiment.source, "streamed", False):  # longer ones may come by
            longest = max(longest, getattr(self.data.encoder, "max_length", None) or 0)
        return buckets.table(self.data.splits["train"].lengths, longest)

    def _check_shapes(self) -> None:
        """Raises ConfigError if batches cannot have the shapes that are asked for."""
        buckets, encoder = self.experiment.buckets, self.data.encoder
        compiled = self.decisions.jit_compile or self.devices.kind == "tpu"
        if buckets.pad_to == "longest_in_batch" and compiled:
            buckets.refuse(
                "pad_to",
                "has a new shape for nearly every batch, and XLA would compile each of them. Use"
                " 'bucket', or Runtime.xla = 'off' on a device that is not a TPU.",
            )
        if buckets.pad_to == "longest_in_batch" and hasattr(encoder, "batch_features"):
            buckets.refuse("pad_to", "is for ids; the features of a cut model go by buckets.")
        if getattr(self.experiment.source, "streamed", False):
            if buckets.pad_to == "longest_in_batch":
                buckets.refuse("pad_to", "is not for streams, whose batches go by buckets.")
            if self.experiment.training.steps_per_call > 1:
                self.experiment.training.refuse(
                    "steps_per_call", "is not for streams, whose order is made elsewhere."
                )
        if self.data.vectors:
            for name in ("lengths", "leave_out_above"):
                if getattr(buckets, name) is not None:
                    buckets.refuse(name, "is for texts of tokens; here each is one vector.")
        moving = "" if getattr(encoder, "static_shapes", True) else "its shapes differ by batch"
        why_not = getattr(encoder, "why_not_static", None) or moving
        why_not_compiled = getattr(encoder, "why_not_compiled", None) or why_not
        if compiled and why_not_compiled:
            raise ConfigError(
                f"Runtime.xla cannot compile this encoder: {why_not_compiled}. Use"
                " Runtime.xla = 'off' on a device that is not a TPU, or mode = 'frozen'.",
                "Runtime.xla",
            )
        if self.experiment.training.steps_per_call > 1 and why_not:
            how = f"needs batches of equal shapes: {why_not}."
            self.experiment.training.refuse("steps_per_call", how)
        if self.devices.local_replicas > 1 and why_not:
            raise ConfigError(
                f"Runtime.strategy: several replicas need batches of equal shapes: {why_not}. Use"
                " one replica, or mode = 'frozen'.",
                "Runtime.strategy",
            )

    @cached_property
    def trained_rows(self) -> np.ndarray:
        """`[m] int64` the rows of the training split that are trained on."""
        train = self.data.splits["train"]
        return self.experiment.buckets.trained_rows(train.lengths, train.labels)

    @property
    def examples_per_epoch(self) -> int | None:
        """Those that are trained on; None for a stream of which it is not known."""
        source = self.experiment.source
        if not getattr(source, "streamed", False):
            return len(self.trained_rows)
        if source.examples is None:
            return None
        return round(source.examples * len(self.trained_rows) / len(self.data.splits["train"]))

    @cached_property
    def steps_per_epoch(self) -> int | None:
        """Optimizer updates of an epoch; of a stream extrapolated from the sample, or None."""
        if self.examples_per_epoch is None:
            return None
        lengths = self.data.splits["train"].lengths[self.trained_rows]
        batches = self.buckets.batches_per_epoch(lengths)
        batches = round(batches * self.examples_per_epoch / len(self.trained_rows))
        return -(-batches // self.experiment.training.accumulate_batches)

    def new_model(self, scope=None, served: bool = False):
        """A Keras model with fresh weights, in the scope of a strategy or of none.

        Args:
          served: by any machine, so without cuDNN, and without XLA, which would compile for it.

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
            self.decisions.use_cudnn and not served,
            getattr(self.data.encoder, "max_length", None),
            self.data.encoder,
            recurrent_loops="served" if served else self.recurrent_loops,
            cores=self.decisions.cores,
            served=served,
        )
        with scope or contextlib.nullcontext():
            model = self.experiment.model.build(inputs)
        _check_output(model, inputs.num_classes, self.experiment.loss.predicts)
        return model

    @property
    def recurrent_loops(self) -> str:
        """How loops over time are executed; see `layers.recurrence.Recurrence`.

        What is compiled is so for a shape. Where a batch size comes with many lengths, and most
        texts are long, these share the programs of parts; where nearly every batch has a length of
        its own and they are short, nothing is compiled.
        """
        loops, shapes = self.decisions.recurrent_loops, self.buckets
        if loops != "compiled":
            return loops
        lengths = getattr(shapes, "lengths", None)  # None: any
        many = len(set(shapes.sizes)) == 1 and (lengths is None or len(lengths) > 2)
        if many and np.median(self.data.splits["train"].lengths) >= _LONG_TEXT:
            return "compiled_parts"
        return "plain" if lengths is None else loops

    @cached_property
    def model(self):
        """The model, built in the strategy's scope."""
        return self.new_model(self.decisions.strategy.scope())

    @cached_property
    def groups(self) -> tuple[PlannedGroup, ...]:
        """What every trainable variable is moved by, and from when on."""
        e, per_epoch = self.experiment, self.steps_per_epoch
        groups = e.groups
        if groups is None:
            wanted = getattr(e.model, "parameter_groups", lambda model: ())
            groups = [ParameterGroup(**group._asdict()) for group in wanted(self.model)]
        total_steps = to_steps(e.training.length, per_epoch)
        variables = self.model.trainable_variables
        return plan_groups(groups, variables, e.schedule, total_steps, per_epoch)

    @cached_property
    def feeding(self) -> Feeding:
        """The batches, for training and for everything else."""
        warn = lambda text: self.console.say("warning", text)  # noqa: E731
        return Feeding(
            self.experiment, self.data, self.buckets, self.trained_rows, self.decisions, warn
        )

    @cached_property
    def _evaluator(self):
        from sentiment_train.evaluation.evaluator import Evaluator

        decisions = self.decisions
        evaluator = Evaluator(
            self.model, decisions.strategy, decisions.jit_compile, self.should_stop
        )
        if (batch := self.feeding.batch_of_any_shape()) is not None:
            evaluator.logits_of.get_concrete_function(batch.features)
        return evaluator

    def predict(self, split: EncodedSplit, buckets: BatchShapes, keep: str | None = None):
        """`Predictions` of the current weights for every row of a split; `keep`: `read_split`."""
        planned = batching.stored_order(split.lengths, buckets)
        rows = [p.rows for p in planned]
        return self._evaluator.predict(
            self.feeding.read_split(split, planned, keep), rows, split.labels, split.weights
        )

    def evaluate(self, split: str) -> dict[str, float]:
        """Metrics of the current weights on a split."""
        predictions = self.predict(self.data.splits[split], self.buckets, keep=split)
        return self.experiment.loss.measure(predictions, self.data.class_names)

    def logits_of_texts(self, texts: Sequence[bytes]) -> np.ndarray:
        """`[n, 1 or classes]` logits of the current weights, all texts in one padded batch."""
        pieces = list(encode_all(self.data.encoder, texts))
        lengths = np.concatenate([lengths for _, lengths in pieces])
        split = EncodedSplit(
            tokens=np.concatenate([tokens for tokens, _ in pieces]),
            offsets=np.concatenate([[0], np.cumsum(lengths)]),
            labels=np.zeros(len(lengths), np.int32),
            weights=np.ones(len(lengths), np.float32),
            texts=texts,
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
