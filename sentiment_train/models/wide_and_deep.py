"""A network over words, and beside it a linear model over n-grams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import gin

from sentiment_train.config import Part
from sentiment_train.data.ngrams import NGramEncoder
from sentiment_train.models.sentence_encoder import feature_inputs
from sentiment_train.schema import ModelInputs


@runtime_checkable
class OfWords(Protocol):
    """A model that can be a part of another one, such as `RecurrentClassifier`."""

    def logits(self, tokens, lengths, inputs: ModelInputs):
        """Keras tensors `[batch, length] int32` and `[batch] int32` → `[batch, 1 or num_classes]
        float32`."""


@gin.configurable
@dataclass(frozen=True)
class NGrams(Part):
    """Logistic regression over the n-grams of `NGramEncoder`; see `layers.ngram_regression`."""

    inverse_penalty: float = 64.0  # C of the L2 penalty
    smoothing: float = 1.0  # of the counts
    least_texts: int = 3  # an n-gram of fewer training texts is left out
    folds: int = 5  # while training, a text is answered by a model without its fold of the texts

    def check(self):
        for name in ("inverse_penalty", "smoothing"):
            self.require(getattr(self, name) > 0, name, "above 0")
        self.require(self.least_texts >= 1, "least_texts", "at least 1")
        self.require(2 <= self.folds <= 100, "folds", "2 to 100")

    def logits_of_ngrams(self, tokens, inputs: ModelInputs, outputs: int):
        """Keras tensor `[batch, length, 1 + orders] int32` → `[batch, outputs] float32`."""
        from sentiment_train.layers.ngram_features import NGramFeatures
        from sentiment_train.layers.ngram_regression import Regression

        settings = (self.smoothing, self.least_texts, self.inverse_penalty, self.folds)
        buckets, regression = inputs.encoder.buckets, Regression(*settings)
        return NGramFeatures(buckets, outputs, regression, inputs.served, name="wide")(tokens)


@gin.configurable
@dataclass(frozen=True)
class WideAndDeep(Part):
    """The sum of the logits of a linear model over n-grams and of a network over words.

    The wide model knows from the first step which words, pairs and triples go with which class; the
    network learns what is missing (Cheng et al. 2016 train both together). It would find nothing
    missing in the texts that the wide model was fitted to, so for each of them it sees the answer
    of one that was fitted without it.

    `parts` leaves one of them out, to see what it is worth; data and batches stay the same. Of the
    wide model alone a training moves only the bias.
    """

    deep: OfWords = gin.REQUIRED
    wide: NGrams = gin.REQUIRED
    parts: Literal["both", "deep", "wide"] = "both"

    @property
    def normalized_embedding(self) -> bool | None:
        """Whether the network can be trained against moved words; None if it has no words."""
        return None if self.parts == "wide" else getattr(self.deep, "normalized_embedding", None)

    @property
    def depends_on_padding(self) -> bool:
        """Whether an answer depends on the other texts of the batch, by how long they are."""
        return self.parts != "wide" and getattr(self.deep, "depends_on_padding", False)

    def text_encoder(self):
        """What the experiment encodes the texts with."""
        return NGramEncoder()

    def build(self, inputs: ModelInputs):
        """A Keras model: `{tokens [batch, length, 1 + orders] int32, lengths [batch] int32}` →
        logits `[batch, 1 or num_classes] float32`.

        Raises:
          ConfigError: if the deep model refuses the data.
        """
        import keras

        features = feature_inputs(inputs.encoder)
        tokens, lengths = features["tokens"], features["lengths"]
        outputs = 1 if inputs.num_classes == 2 else inputs.num_classes
        if self.parts == "wide":
            logits = self.wide.logits_of_ngrams(tokens, inputs, outputs)
        else:
            logits = self.deep.logits(tokens[:, :, 0], lengths, inputs)
        if self.parts == "both":
            wide = self.wide.logits_of_ngrams(tokens, inputs, logits.shape[-1])
            logits = keras.layers.Add(name="sum", dtype="float32")([logits, wide])
        return keras.Model(features, logits, name="wide_and_deep")
