"""embedding → flattened or pooled → dense layers → logits: no recurrence, no order beyond place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import gin

from sentiment_train.config import Part
from sentiment_train.models.head import check_head, check_output, logits_of
from sentiment_train.models.recurrent import check_pad_to
from sentiment_train.models.stack import token_inputs
from sentiment_train.models.words import NO_HINTS, check_words, word_vectors
from sentiment_train.schema import ModelInputs


@gin.configurable
@dataclass(frozen=True)
class MlpClassifier(Part):
    """Dense layers over word embeddings.

    `pooling = 'flatten'` puts the vectors of all places side by side and needs `pad_to`: each place
    has weights of its own, padding included. The others are over the real tokens only.
    """

    embedding_size: int = 128
    pooling: Literal["flatten", "mean", "max", "mean+max"] = "flatten"
    pad_to: int | None = None  # tokens, for flatten
    padding: Literal["right", "left"] = "right"  # where it stands, for flatten
    dense_units: tuple[int, ...] = (64, 64)  # relu layers
    embedding_dropout: float = 0.0  # of whole embedding dimensions of a text
    normalized_embedding: bool = False  # over the words of the training texts; for `Adversarial`
    dropout: float | tuple[float, ...] = 0.0  # before each dense layer and the logits
    output: Literal["auto", "sigmoid", "softmax"] = "auto"  # auto: one logit for two classes

    def check(self):
        check_words(self)
        check_head(self)
        if self.pooling == "flatten" and self.pad_to is None:
            self.refuse("pad_to", "must be the longest text in tokens for pooling = 'flatten'.")
        self.require(self.pad_to is None or self.pad_to >= 1, "pad_to", "at least 1")
        if self.pooling != "flatten":
            for name, default in (("padding", "right"), ("pad_to", None)):
                if getattr(self, name) != default:
                    self.refuse(name, f"is for pooling = 'flatten', not '{self.pooling}'.")

    def build(self, inputs: ModelInputs):
        """A Keras model: `{tokens [batch, length] int32, lengths [batch] int32}` → logits
        `[batch, 1 or num_classes] float32`.

        Raises:
          ConfigError: if `output` is sigmoid and there are more than two classes, or if texts may
            be longer than `pad_to`.
        """
        import keras

        features = token_inputs()
        return keras.Model(features, self.logits(**features, inputs=inputs), name="mlp")

    def logits(self, tokens, lengths, inputs: ModelInputs):
        """The layers of `build` on Keras tensors, for a model that these are a part of."""
        check_output(self, inputs.num_classes)
        read = self._flattened if self.pooling == "flatten" else self._pooled
        x = read(tokens, lengths, inputs)
        return logits_of(x, self.dense_units, self.dropout, self.output, inputs.num_classes)

    def _flattened(self, tokens, lengths, inputs: ModelInputs):
        """`[batch, pad_to · embedding_size]`."""
        import keras

        from sentiment_train.layers.padding import FullLengths, Padded

        check_pad_to(self, inputs)
        if inputs.added_by_words is not None:
            self.refuse("pooling", NO_HINTS.format(why="words are moved to other places"))
        places = Padded(self.padding, self.pad_to, name="padded")(tokens, lengths)
        lengths = FullLengths(name="full_lengths")(places)  # padding has weights like all else
        vectors = word_vectors(self, places, lengths, inputs)
        return keras.layers.Flatten(name="flatten")(vectors)

    def _pooled(self, tokens, lengths, inputs: ModelInputs):
        """`[batch, embedding_size]`, twice as much for mean+max."""
        from sentiment_train.layers.masking import SequenceMask
        from sentiment_train.layers.pooling import POOLINGS

        mask = SequenceMask(name="mask")(lengths, tokens)
        vectors = word_vectors(self, tokens, lengths, inputs)
        return POOLINGS[self.pooling](name="pooling")(vectors, mask=mask)
