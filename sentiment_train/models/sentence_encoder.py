"""pretrained sentence encoder → dense layers → logits; the encoder frozen or trained along."""

from __future__ import annotations

import glob
from dataclasses import dataclass
from typing import Literal

import gin
import numpy as np

from sentiment_train.config import Part
from sentiment_train.duration import check_duration
from sentiment_train.models.head import check_head, check_output, logits_of
from sentiment_train.schema import FittedEncoder, ModelInputs, SentenceEncoder, VariableGroup

ENCODER = "encoder"  # the layer with the pretrained weights
VECTORS = "embeddings"  # the layer that only passes on the vectors of a frozen encoder


@gin.configurable
@dataclass(frozen=True)
class SentenceEncoderClassifier(Part):
    """Dense layers over the sentence vectors of a pretrained encoder.

    There are three ways to use it. In `frozen` each text is encoded once, on the host, and an epoch
    only reads vectors. In `fine_tune` the weights of the encoder are weights of the model from the
    first step on, with a learning rate of their own: with that of the head they are spoilt. In
    `gradual` the head learns first, then the encoder, as a whole or in parts from the top down
    (Howard & Ruder 2018).
    """

    encoder: SentenceEncoder = gin.REQUIRED
    mode: Literal["frozen", "fine_tune", "gradual"] = "frozen"
    dense_units: tuple[int, ...] = (64,)  # relu layers between vector and logits
    dropout: float | tuple[float, ...] = 0.0  # before each dense layer and the logits
    output: Literal["auto", "sigmoid", "softmax"] = "auto"  # auto: one logit for two classes
    encoder_learning_rate: float = 1e-4  # at the peak of the experiment's schedule
    encoder_warmup: str = "0.1 epochs"  # of the encoder, or of each part when its turn comes
    unfreeze: tuple[str, ...] = ("1 epochs",)  # gradual: when each part starts, the top one first

    def check(self):
        check_head(self)
        self.require(self.encoder_learning_rate > 0, "encoder_learning_rate", "above 0")
        check_duration(self, "encoder_warmup", at_least_one_step=False)
        self.require(bool(self.unfreeze), "unfreeze", "at least one length of time")
        check_duration(self, "unfreeze", at_least_one_step=False)
        unread = {"frozen": ("encoder_learning_rate", "encoder_warmup", "unfreeze")}
        for name in unread.get(self.mode, () if self.mode == "gradual" else ("unfreeze",)):
            if getattr(self, name) != type(self).__dataclass_fields__[name].default:
                self.refuse(name, f"changes nothing while mode = '{self.mode}'.")
        self.encoder.refuse_unless(self.mode)

    def text_encoder(self):
        """What the experiment encodes the texts with."""
        return self.encoder.text_encoder(frozen=self.mode == "frozen")

    def build(self, inputs: ModelInputs):
        """A Keras model: the features of the encoder → logits `[batch, 1 or num_classes] float32`.

        Raises:
          ConfigError: if `output` is sigmoid and there are more than two classes.
        """
        import keras

        check_output(self, inputs.num_classes)
        features = feature_inputs(inputs.encoder)
        if self.mode == "frozen":
            dimension = features["tokens"].shape[-1]
            vectors = keras.layers.Reshape([dimension], name=VECTORS)(features["tokens"])
        else:
            vectors = self.encoder.layer(inputs.encoder, ENCODER)(features)  # [batch, dimension]
        logits = logits_of(vectors, self.dense_units, self.dropout, self.output, inputs.num_classes)
        model = keras.Model(features, logits, name="sentence_encoder")
        if self.mode != "frozen":
            model.embeddings = ENCODER
        return model

    def parameter_groups(self, keras_model) -> tuple[VariableGroup, ...]:
        """How the variables of the encoder are trained; the head follows the schedule.

        Raises:
          ConfigError: if there are more parts to unfreeze than variables.
        """
        if self.mode == "frozen":
            return ()
        if self.mode == "fine_tune":
            return (self._group([f"{ENCODER}/*"], "0 steps"),)
        layer = keras_model.get_layer(ENCODER)
        trained = {variable.name for variable in layer.trainable_variables}
        names = [name for name in layer.top_first if name in trained]
        if len(names) < len(self.unfreeze):
            self.refuse("unfreeze", f"has more parts than the encoder has variables, {len(names)}.")
        parts = np.array_split(np.array(names), len(self.unfreeze))
        return tuple(
            self._group([f"{ENCODER}/{glob.escape(name)}" for name in part], starts)
            for part, starts in zip(parts, self.unfreeze, strict=True)
        )

    def _group(self, patterns: list[str], starts: str) -> VariableGroup:
        return VariableGroup(
            tuple(patterns), self.encoder_learning_rate, starts, self.encoder_warmup
        )


def feature_inputs(encoder: FittedEncoder) -> dict:
    """The features that an encoder makes as Keras inputs, by name."""
    import keras

    ids = {"tokens": ((None, None), "int32"), "lengths": ((None,), "int32")}
    specs = getattr(encoder, "feature_specs", ids)
    return {
        name: keras.Input(batch_shape=shape, dtype=dtype, name=name)
        for name, (shape, dtype) in specs.items()
    }
