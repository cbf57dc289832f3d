"""A network over words, and beside it a linear model over n-grams."""

from __future__ import annotations

import dataclasses
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
        float32`. It reads `inputs.added_by_words`, or is no part of a model with `hints`."""


@gin.configurable
@dataclass(frozen=True)
class NGrams(Part):
    """Logistic regression over the n-grams of `NGramEncoder`; see `layers.ngram_regression`."""

    inverse_penalty: float = 32.0  # C of the L2 penalty
    smoothing: float = 1.0  # of the counts
    folds: int = 5  # while training, a text is answered by a model without its fold of the texts

    def check(self):
        for name in ("inverse_penalty", "smoothing"):
            self.require(getattr(self, name) > 0, name, "above 0")
        self.require(2 <= self.folds <= 100, "folds", "2 to 100")

    def logits_of_ngrams(self, tokens, inputs: ModelInputs, outputs: int):
        """Keras tensor `[batch, length, 1 + orders] int32` → `[batch, outputs] float32`, and what
        each n-gram adds to them, `[batch, length, orders · outputs] float32`."""
        from sentiment_train.layers.ngram_features import NGramFeatures
        from sentiment_train.layers.ngram_regression import Regression

        regression = Regression(self.smoothing, self.inverse_penalty, self.folds)
        size = inputs.encoder.size
        return NGramFeatures(size, outputs, regression, inputs.served, name="wide")(tokens)


@gin.configurable
@dataclass(frozen=True)
class WideAndDeep(Part):
    """The sum of the logits of a linear model over n-grams and of a network over words.

    The wide model knows from the first step which words, pairs and triples go with which class; the
    network learns what is missing (Cheng et al. 2016 train both together). It would find nothing
    missing in the texts that the wide model was fitted to, so for each of them it sees the answer
    of one that was fitted without it. With `hints` the network reads, beside the vector of a word,
    what the n-grams that end with it add to the wide model's answer, and how near the word is to
    the beginning and the end of the text.

    `parts` leaves one of them out, to see what it is worth; data and batches stay the same. Of the
    wide model alone a training moves only the bias.
    """

    deep: OfWords = gin.REQUIRED
    wide: NGrams = gin.REQUIRED
    parts: Literal["both", "deep", "wide"] = "both"
    hints: bool = True

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
        if self.parts != "deep":
            outputs = 1 if inputs.num_classes == 2 else inputs.num_classes
            wide, added = self.wide.logits_of_ngrams(tokens, inputs, outputs)
            if self.parts == "wide":
                return keras.Model(features, wide, name="wide_and_deep")
            if self.hints:
                inputs = dataclasses.replace(inputs, added_by_words=added)
        logits = self.deep.logits(tokens[:, :, 0], lengths, inputs)
        if self.parts == "both":
            if logits.shape[-1] > wide.shape[-1]:  # of two classes: the difference is the log-odds
                wide = keras.ops.concatenate([-0.5 * wide, 0.5 * wide], axis=-1)
            logits = keras.layers.Add(name="sum", dtype="float32")([logits, wide])
        model = keras.Model(features, logits, name="wide_and_deep")
        if inputs.added_by_words is not None:
            self._check_hints_are_read(model)
        return model

    def _check_hints_are_read(self, model) -> None:
        from sentiment_train.layers.hints import Hints

        if not any(isinstance(layer, Hints) for layer in model.layers):
            name = type(self.deep).__name__
            self.refuse("hints", f"is read by no layer of {name}; set it to False. (The vectors of"
                        " `models.words.word_vectors` have them.)")  # fmt: skip
