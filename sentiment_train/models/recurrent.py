"""embedding → recurrent layers → pooling over time → dropout → dense head."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import gin

from sentiment_train.config import Part
from sentiment_train.models.head import check_head, check_output, logits_of, pooled_logits_of
from sentiment_train.models.stack import RecurrentStack, check_sizes, token_inputs
from sentiment_train.models.words import NO_HINTS
from sentiment_train.schema import ModelInputs

_POOLINGS = ("last", "mean", "max", "mean+max", "mean_logits", "mean_probabilities")


@gin.configurable
@dataclass(frozen=True)
class RecurrentClassifier(Part):
    """A stack of recurrent layers over word embeddings.

    `pooling` is one of last (the state after the last real token; of a backward layer, after the
    first), mean, max, mean+max, or a class of your own (`@MyPooling`): a Keras layer that is called
    with states `[batch, length, units]` and mask `[batch, length] bool`. With mean_logits and
    mean_probabilities the head classifies every step, and these answers are averaged.

    `masked = False` is the classic mistake, here to be measured: padding counts as words. Batches
    are padded on the right whatever `padding` says; the model turns the rows around.
    """

    embedding_size: int = 64
    input: Literal["embedding", "one_hot"] = "embedding"  # of the words; one_hot learns no vectors
    cell: Literal["simple", "gru", "lstm"] = "lstm"
    units: tuple[int, ...] = (64,)  # of each layer, bottom first
    bidirectional: bool = False
    merge: Literal["concat", "sum", "ave", "mul"] = "concat"  # of the two directions
    initial_state: Literal["zero", "learned"] = "zero"
    recurrence: Literal["auto", "own", "keras"] = "auto"  # auto: Keras' layers where cuDNN is
    pooling: str | Callable = "last"
    masked: bool = True  # whether padding is skipped
    padding: Literal["right", "left"] = "right"  # where it is seen, if it is not skipped
    pad_to: int | None = None  # tokens, if it is not skipped; None: as the batch is padded
    dense_units: tuple[int, ...] = ()  # relu layers between pooling and logits
    embedding_dropout: float = 0.0  # of whole embedding dimensions of a text
    normalized_embedding: bool = False  # over the words of the training texts; for `Adversarial`
    dropout: float | tuple[float, ...] = 0.0  # before each dense layer and the logits
    output: Literal["auto", "sigmoid", "softmax"] = "auto"  # auto: one logit for two classes

    def check(self):
        check_sizes(self)
        check_head(self)
        if isinstance(self.pooling, str):
            self.require(self.pooling in _POOLINGS, "pooling", " | ".join(_POOLINGS))
        self.require(self.pad_to is None or self.pad_to >= 1, "pad_to", "at least 1")
        if self.masked:
            for name, default in (("padding", "right"), ("pad_to", None)):
                if getattr(self, name) != default:
                    self.refuse(name, "changes nothing while masked = True: padding is skipped.")

    @property
    def depends_on_padding(self) -> bool:
        """Whether an answer depends on the other texts of the batch, by how long they are."""
        return not self.masked and self.pad_to is None

    def build(self, inputs: ModelInputs):
        """A Keras model: `{tokens [batch, length] int32, lengths [batch] int32}` → logits
        `[batch, 1 or num_classes] float32`.

        Raises:
          ConfigError: if `output` is sigmoid and there are more than two classes, or if texts may
            be longer than `pad_to`.
        """
        import keras

        features = token_inputs()
        return keras.Model(features, self.logits(**features, inputs=inputs), name="recurrent")

    def logits(self, tokens, lengths, inputs: ModelInputs):
        """The layers of `build` on Keras tensors, for a model that these are a part of."""
        from sentiment_train.layers.masking import SequenceMask

        check_output(self, inputs.num_classes)
        tokens, lengths = self._seen(tokens, lengths, inputs)
        every_step = self.pooling != "last"
        x = RecurrentStack(self, inputs).states(tokens, lengths, every_step)
        head = (self.dense_units, self.dropout, self.output, inputs.num_classes)
        if every_step:
            mask = SequenceMask(name="mask")(lengths, tokens)  # [batch, length]
        if self.pooling in ("mean_logits", "mean_probabilities"):
            return pooled_logits_of(x, mask, self.pooling, head)
        if every_step:
            x = self._pooling_layer()(x, mask=mask)  # [batch, features]
        return logits_of(x, *head)

    def _seen(self, tokens, lengths, inputs: ModelInputs):
        """The tokens and lengths as the recurrent layers see them."""
        if self.masked:
            return tokens, lengths
        from sentiment_train.layers.padding import FullLengths, Padded

        check_pad_to(self, inputs)
        if inputs.added_by_words is not None:
            self.refuse("masked", NO_HINTS.format(why="words are moved to other places"))
        tokens = Padded(self.padding, self.pad_to, name="padded")(tokens, lengths)
        return tokens, FullLengths(name="full_lengths")(tokens)

    def _pooling_layer(self):
        from sentiment_train.layers.pooling import POOLINGS

        if isinstance(self.pooling, str):
            return POOLINGS[self.pooling](name="pooling")
        return self.pooling()


def check_pad_to(model, inputs: ModelInputs) -> None:
    """Raises ConfigError if texts may be longer than what a model pads to."""
    longest = inputs.max_length
    if model.pad_to is not None and (longest is None or longest > model.pad_to):
        have = "have any length" if longest is None else f"have up to {longest} tokens"
        model.refuse("pad_to", f"is too short: texts {have}; set WordEncoder.max_length.")


def layer_outputs(model):
    """A Keras model of the same features → `{layer name: output}`, for every layer with weights.

    The states of a recurrent layer are under its name: `[batch, length, units]`, or
    `[batch, units]` of the last step if that is all that its model uses.
    """
    import keras

    named = {layer.name: layer.output for layer in model.layers if layer.weights}
    return keras.Model(model.input, named, name="layer_outputs")
