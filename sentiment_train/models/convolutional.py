"""embedding → gated convolutions → pooling over time → dropout → dense head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import gin

from sentiment_train.config import Part
from sentiment_train.models.head import check_head, check_output, logits_of
from sentiment_train.models.stack import token_inputs
from sentiment_train.models.words import check_words, word_vectors
from sentiment_train.schema import ModelInputs


@gin.configurable
@dataclass(frozen=True)
class GatedConvolutionClassifier(Part):
    """A stack of gated convolutions over word embeddings (Dauphin et al. 2017).

    It reads all words at once, so a step costs little more for long texts than for short ones; a
    word sees as many others as the widths add up to.
    """

    embedding_size: int = 64
    units: tuple[int, ...] = (64,)  # of each layer, bottom first; the same as below: it is added
    width: int = 3  # words that a layer sees of the one below
    pooling: Literal["mean", "max", "mean+max"] = "mean+max"  # over the real words
    dense_units: tuple[int, ...] = ()  # relu layers between pooling and logits
    embedding_dropout: float = 0.0  # of whole embedding dimensions of a text
    normalized_embedding: bool = False  # over the words of the training texts; for `Adversarial`
    dropout: float | tuple[float, ...] = 0.0  # before each dense layer and the logits
    output: Literal["auto", "sigmoid", "softmax"] = "auto"  # auto: one logit for two classes

    def check(self):
        check_words(self)
        check_head(self)
        self.require(bool(self.units) and min(self.units) >= 1, "units", "numbers above 0")
        self.require(self.width >= 1, "width", "at least 1")

    def build(self, inputs: ModelInputs):
        """A Keras model: `{tokens [batch, length] int32, lengths [batch] int32}` → logits
        `[batch, 1 or num_classes] float32`.

        Raises:
          ConfigError: if `output` is sigmoid and there are more than two classes.
        """
        import keras

        features = token_inputs()
        logits = self.logits(**features, inputs=inputs)
        return keras.Model(features, logits, name="gated_convolution")

    def logits(self, tokens, lengths, inputs: ModelInputs):
        """The layers of `build` on Keras tensors, for a model that these are a part of."""
        from sentiment_train.layers.gated_convolution import GatedConvolution
        from sentiment_train.layers.masking import SequenceMask
        from sentiment_train.layers.pooling import POOLINGS

        check_output(self, inputs.num_classes)
        mask = SequenceMask(name="mask")(lengths, tokens)  # [batch, length]
        x = word_vectors(self, tokens, lengths, inputs)
        for number, units in enumerate(self.units, 1):
            x = GatedConvolution(units, self.width, name=f"convolution_{number}")(x, mask=mask)
        x = POOLINGS[self.pooling](name="pooling")(x, mask=mask)
        return logits_of(x, self.dense_units, self.dropout, self.output, inputs.num_classes)
