"""embedding → recurrent layers → pooling over time → dropout → dense head."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import gin

from sentiment_train.config import Part
from sentiment_train.models.head import check_output, logits_of
from sentiment_train.schema import ModelInputs

_POOLINGS = ("last", "mean", "max", "mean+max")


@gin.configurable
@dataclass(frozen=True)
class RecurrentClassifier(Part):
    """A stack of recurrent layers over word embeddings.

    `pooling` is one of last (the state after the last real token; of a backward layer, after the
    first), mean, max, mean+max, or a class of your own (`@MyPooling`): a Keras layer that is called
    with states `[batch, length, units]` and mask `[batch, length] bool`.
    """

    embedding_size: int = 64
    cell: Literal["simple", "gru", "lstm"] = "lstm"
    units: tuple[int, ...] = (64,)  # of each layer, bottom first
    bidirectional: bool = False
    merge: Literal["concat", "sum", "ave", "mul"] = "concat"  # of the two directions
    pooling: str | Callable = "last"
    dense_units: tuple[int, ...] = ()  # relu layers between pooling and logits
    embedding_dropout: float = 0.0  # of whole embedding dimensions of a text
    dropout: float = 0.0  # before each dense layer
    output: Literal["auto", "sigmoid", "softmax"] = "auto"  # auto: one logit for two classes

    def check(self):
        self.require(self.embedding_size >= 1, "embedding_size", "at least 1")
        self.require(bool(self.units) and min(self.units) >= 1, "units", "numbers above 0")
        self.require(all(u >= 1 for u in self.dense_units), "dense_units", "numbers above 0")
        if isinstance(self.pooling, str):
            self.require(self.pooling in _POOLINGS, "pooling", " | ".join(_POOLINGS))
        for name in ("embedding_dropout", "dropout"):
            self.require(0 <= getattr(self, name) < 1, name, "from 0 to less than 1")

    def build(self, inputs: ModelInputs):
        """A Keras model: `{tokens [batch, length] int32, lengths [batch] int32}` → logits
        `[batch, 1 or num_classes] float32`.

        Raises:
          ConfigError: if `output` is sigmoid and there are more than two classes.
        """
        import keras

        from sentiment_train.layers.dropout import Dropout
        from sentiment_train.layers.masking import SequenceMask

        check_output(self, inputs.num_classes)
        tokens = keras.Input([None], dtype="int32", name="tokens")
        lengths = keras.Input([], dtype="int32", name="lengths")
        mask = SequenceMask(name="mask")(lengths, tokens)  # [batch, length]
        x = keras.layers.Embedding(inputs.vocabulary_size, self.embedding_size, name="embedding")(
            tokens
        )  # [batch, length, embedding_size]
        x = Dropout(self.embedding_dropout, whole_vectors=True, name="embedding_dropout")(x)
        for number, units in enumerate(self.units, 1):
            every_step = number < len(self.units) or self.pooling != "last"
            layer = self._layer(units, every_step, f"{self.cell}_{number}", inputs.use_cudnn)
            x = layer(x, mask=mask)  # [batch, length, features], [batch, features] if the last
        if self.pooling != "last":
            x = self._pooling_layer()(x, mask=mask)  # [batch, features]
        logits = logits_of(x, self.dense_units, self.dropout, self.output, inputs.num_classes)
        return keras.Model({"tokens": tokens, "lengths": lengths}, logits, name="recurrent")

    def _layer(self, units: int, every_step: bool, name: str, use_cudnn):
        import keras

        kinds = {"simple": "SimpleRNN", "gru": "GRU", "lstm": "LSTM"}
        options = {} if self.cell == "simple" else {"use_cudnn": use_cudnn}
        layer = getattr(keras.layers, kinds[self.cell])(
            units, return_sequences=every_step, name=name, **options
        )
        if not self.bidirectional:
            return layer
        return keras.layers.Bidirectional(layer, merge_mode=self.merge, name=f"bi{name}")

    def _pooling_layer(self):
        from sentiment_train.layers.pooling import POOLINGS

        if isinstance(self.pooling, str):
            return POOLINGS[self.pooling](name="pooling")
        return self.pooling()
