"""embedding → recurrent layers → softmax over the vocabulary: the next token from those before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import gin

from sentiment_train.config import Part
from sentiment_train.models.stack import RecurrentStack, check_sizes, token_inputs
from sentiment_train.schema import ModelInputs


@gin.configurable
@dataclass(frozen=True)
class LanguageModel(Part):
    """A recurrent language model (Mikolov et al. 2010), trained by teacher forcing.

    Its layers are those of a `RecurrentClassifier` and have the same names, so that a classifier
    can start from them (`Experiment.init_from`).
    """

    embedding_size: int = 64
    input: Literal["embedding", "one_hot"] = "embedding"
    cell: Literal["simple", "gru", "lstm"] = "lstm"
    units: tuple[int, ...] = (64,)  # of each layer, bottom first
    bidirectional: bool = False  # two models, of which one reads backward; see `NextToken`
    initial_state: Literal["zero", "learned"] = "zero"
    recurrence: Literal["auto", "own", "keras"] = "auto"  # auto: Keras' layers where cuDNN is
    embedding_dropout: float = 0.0  # of whole embedding dimensions of a text
    normalized_embedding: bool = False  # as that of a classifier which is to start from it
    dropout: float = 0.0  # before the softmax
    tie_embeddings: bool = False  # the embedding is the kernel of the softmax as well
    predicts = "tokens"

    def check(self):
        check_sizes(self)
        self.require(0 <= self.dropout < 1, "dropout", "from 0 to less than 1")
        if self.bidirectional and len(self.units) > 1:
            self.refuse("bidirectional", "goes with one layer; a second one would read the answer.")
        if self.tie_embeddings and self.input == "one_hot":
            self.refuse("tie_embeddings", "needs embeddings; input is 'one_hot'.")
        if self.tie_embeddings and self.units[-1] != self.embedding_size:
            self.refuse(
                "tie_embeddings", "needs as many units (of the top layer) as embedding_size."
            )

    def build(self, inputs: ModelInputs):
        """A Keras model: `{tokens [batch, length] int32, lengths [batch] int32}` →
        `[batch, 3] float32`, the sums of `NextToken`."""
        import keras

        from sentiment_train.layers.dropout import Dropout
        from sentiment_train.layers.next_token import NextToken

        features = token_inputs()
        forward, backward = RecurrentStack(self, inputs).directions(
            features["tokens"], features["lengths"], every_step=True
        )
        table = None
        if self.tie_embeddings:
            table = keras.Model(features, forward).get_layer("embedding").output
        forward = Dropout(self.dropout, name="dropout")(forward)
        if backward is not None:
            backward = Dropout(self.dropout, name="dropout_backward")(backward)
        sums = NextToken(inputs.vocabulary_size, name="next_token")(
            forward, features["tokens"], features["lengths"], backward=backward, table=table
        )
        return keras.Model(features, sums, name="language_model")

    def token_by_token(self, model) -> TokenByToken:
        """What `build` gave, for feeding its outputs back as inputs."""
        return TokenByToken(model)


class TokenByToken:
    """The forward direction of a language model, one token at a time: the state is carried along.

    Args:
      model: what `LanguageModel.build` gave.
    """

    def __init__(self, model):
        from sentiment_train.layers.recurrence import KerasRecurrence, Recurrence

        named = {layer.name: layer for layer in model.layers}
        self._embedding, self._output = named.get("embedding"), named["next_token"]
        self._layers = [
            layer
            for layer in model.layers
            if isinstance(layer, Recurrence | KerasRecurrence) and not layer.backward
        ]

    def start(self, rows):
        """Before the first token of as many texts as `rows` `[n, …]`: what `read` gives."""
        import tensorflow as tf

        count = tf.shape(rows)[0]
        first = tf.tile(tf.convert_to_tensor(self._output.start)[:1], [count, 1])
        states = tuple(layer.initial_states(rows) for layer in self._layers)
        return self._logits(rows, first), states

    def read(self, tokens, states):
        """tokens `[n] int32` and the states before them → `[n, vocabulary] float32` logits of the
        next token, and the states after them."""
        x, after = tokens, []
        table = self._embedding(tokens) if self._embedding else None
        for number, (layer, before) in enumerate(zip(self._layers, states, strict=True)):
            after.append(layer.step(x, before, table if number == 0 else None))
            x = after[-1][0]
        return self._logits(tokens, x), tuple(after)

    def _logits(self, tokens, states):
        tied = self._embedding(tokens) if self._output.tied else None
        return self._output.logits(states, tied)
