"""An experiment: its parts as gin configures them, and whether they go together."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import gin

# Imported for gin, which knows a part once its module was imported.
import sentiment_train.data.ngrams
import sentiment_train.data.sources.csv
import sentiment_train.data.sources.directory
import sentiment_train.data.sources.jsonl
import sentiment_train.data.sources.packaged
import sentiment_train.data.sources.shards
import sentiment_train.data.sources.tfds
import sentiment_train.hub.encoder
import sentiment_train.models.convolutional
import sentiment_train.models.language_model
import sentiment_train.models.mlp
import sentiment_train.models.multilingual_use
import sentiment_train.models.recurrent
import sentiment_train.models.sentence_encoder
import sentiment_train.models.wide_and_deep
import sentiment_train.training.optimizers
import sentiment_train.training.schedules  # noqa: F401
from sentiment_train.config import Part
from sentiment_train.data.bucketing import Buckets
from sentiment_train.data.encoders import WordEncoder
from sentiment_train.data.splits import Splits
from sentiment_train.errors import ConfigError
from sentiment_train.evaluation.calibration import TemperatureScaling
from sentiment_train.published import Published
from sentiment_train.reports.settings import Report
from sentiment_train.runtime.runtime import Runtime
from sentiment_train.schema import Encoder, ModelConfig, Source
from sentiment_train.training.groups import ParameterGroup
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
    encoder: Encoder | None = None  # None: the model's own if it has one, else WordEncoder()
    buckets: Buckets = field(default_factory=Buckets)
    loss: Loss = field(default_factory=CrossEntropy)
    optimizer: Any = field(default_factory=Adam)  # anything with build(schedule)
    schedule: Any = field(default_factory=ConstantSchedule)  # … build(total_steps, per_epoch)
    groups: tuple[ParameterGroup, ...] | None = None  # with a rate of their own; None: the model's
    training: Training = field(default_factory=Training)
    validation: Validation = field(default_factory=Validation)
    checkpointing: Checkpointing = field(default_factory=Checkpointing)
    runtime: Runtime = field(default_factory=Runtime)
    init_from: str | None = None  # a run to take the weights of embedding and recurrent layers from
    init_layers: tuple[str, ...] | None = None  # others to take instead, by name
    # Of a classifier's probabilities, fitted on the validation split; None: as they come.
    calibration: TemperatureScaling | None = field(default_factory=TemperatureScaling)
    export: bool = True  # whether a finished run writes its SavedModel
    report: Report | None = field(default_factory=Report)  # None: only results.json
    published: Published | None = None  # what others reported for it; shapes no result

    def check(self):
        self._choose_encoder()
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
        if (regulariser := getattr(self.loss, "regulariser", None)) is not None:
            regulariser.check_model(self.model)
        joins = getattr(self.encoder, "truncation", None) == "keep_both_ends"
        if self.loss.predicts == "tokens" and joins and self.encoder.max_length is not None:
            self.encoder.refuse(
                "truncation",
                "puts words side by side that were not, and the model would learn to foretell"
                " them. Use 'keep_head' or 'keep_tail'.",
            )
        if self.init_layers is not None and self.init_from is None:
            self.refuse("init_layers", "needs a run to take them from: Experiment.init_from.")

    def _choose_encoder(self) -> None:
        """Settles what is left to the model, now: gin knows what it was bound to only if made."""
        of_model = getattr(self.model, "text_encoder", None)
        if self.encoder is None:
            object.__setattr__(self, "encoder", of_model() if of_model else WordEncoder())
        elif of_model:
            self.refuse(
                "encoder", f"is not read: {type(self.model).__name__} brings its own. Leave it out."
            )

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
            cutting = getattr(self.encoder, "words", self.encoder)
            self.buckets.refuse(
                "leave_out_above",
                f"leaves nothing out: {type(cutting).__name__} cuts every text to {cut} tokens"
                " first. Set its max_length = None, or higher.",
            )

    def published_values(self) -> dict | None:
        """What others reported, as JSON values."""
        return dataclasses.asdict(self.published) if self.published else None
