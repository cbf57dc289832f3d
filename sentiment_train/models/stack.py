"""Embedding and recurrent layers, as every recurrent model has them: tokens → states."""

from __future__ import annotations

from sentiment_train.models.words import NO_HINTS, check_words, word_table, word_vectors
from sentiment_train.schema import ModelInputs

# Of a batch, computed side by side. Each is traced by itself (64 of them took half a minute), and
# the fewer rows one has, the less its matrix products are worth.
_MOST_PIECES = 4


def check_sizes(config) -> None:
    """Ranges of the fields that all recurrent models share; raises ConfigError."""
    check_words(config)
    config.require(bool(config.units) and min(config.units) >= 1, "units", "numbers above 0")
    if config.input == "one_hot" and config.recurrence == "keras":
        config.refuse("recurrence", "would need the one-hot vectors; use 'own' or 'auto'.")
    if config.input == "one_hot":
        for name in ("embedding_dropout", "normalized_embedding"):
            if getattr(config, name):
                config.refuse(name, "has no embedding to work on: input = 'one_hot'.")


def token_inputs():
    """The features of a batch as Keras inputs: tokens `[batch, length]`, lengths `[batch]`."""
    import keras

    return {
        "tokens": keras.Input([None], dtype="int32", name="tokens"),
        "lengths": keras.Input([], dtype="int32", name="lengths"),
    }


class RecurrentStack:
    """Builds the layers of a model config with the fields of `RecurrentClassifier`.

    Layer names are the same in all models, so that one can start from the weights of another:
    `embedding`; `lstm_1`, `lstm_2` … for the forward layers and `lstm_1_backward` … for the others.
    """

    def __init__(self, config, inputs: ModelInputs):
        self.config, self.inputs = config, inputs

    def states(self, tokens, lengths, every_step: bool):
        """`[batch, length, features]` of the top layer, or `[batch, features]` of its last step."""
        forward, backward = self.directions(tokens, lengths, every_step)
        return forward if backward is None else self._merged(forward, backward, "merged")

    def directions(self, tokens, lengths, every_step: bool):
        """The states of the top layer forward and, if the stack is bidirectional, backward.

        The layers below the top one are merged, so an upper layer sees both directions.
        """
        x, table = self._embedded(tokens, lengths)
        layers = len(self.config.units)
        for number, units in enumerate(self.config.units, 1):
            sequences = every_step or number < layers
            forward = self._layer(units, number, sequences, False)(x, lengths, table=table)
            backward = None
            if self.config.bidirectional:
                backward = self._layer(units, number, sequences, True)(x, lengths, table=table)
            if number < layers:
                table = None
                x = forward
                if backward is not None:
                    x = self._merged(forward, backward, f"merged_{number}")
        return forward, backward

    def _embedded(self, tokens, lengths):
        """(inputs, table) of the first layer: vectors, or ids and the table they are rows of."""
        config, inputs = self.config, self.inputs
        hinted = inputs.added_by_words is not None
        if config.input == "one_hot":
            if hinted:
                config.refuse("input", NO_HINTS.format(why="there are no vectors to add them to"))
            return tokens, None
        if config.embedding_dropout or config.normalized_embedding or hinted:
            return word_vectors(config, tokens, lengths, inputs), None
        return tokens, word_table(config, tokens, inputs.vocabulary_size)

    def _layer(self, units: int, number: int, sequences: bool, backward: bool):
        from sentiment_train.layers.recurrence import KerasRecurrence, Recurrence

        config = self.config
        one_hot = config.input == "one_hot" and number == 1
        keras_layer = config.recurrence == "keras" or (
            config.recurrence == "auto"
            and self.inputs.use_cudnn
            and config.cell != "simple"  # cuDNN has it, Keras does not ask for it
            and not one_hot
        )
        options = {
            "backward": backward,
            "return_sequences": sequences,
            "initial_state": config.initial_state,
            "one_hot_size": self.inputs.vocabulary_size if one_hot else None,
            "name": f"{config.cell}_{number}" + ("_backward" if backward else ""),
        }
        if keras_layer:
            return KerasRecurrence(config.cell, units, use_cudnn=self.inputs.use_cudnn, **options)
        loops, directions = self.inputs.recurrent_loops, 1 + config.bidirectional
        pieces = min(max(self.inputs.cores // directions, 1), _MOST_PIECES)
        return Recurrence(config.cell, units, loops, pieces, **options)

    def _merged(self, forward, backward, name: str):
        import keras

        kinds = {
            "concat": keras.layers.Concatenate,
            "sum": keras.layers.Add,
            "ave": keras.layers.Average,
            "mul": keras.layers.Multiply,
        }
        return kinds[self.config.merge](name=name)([forward, backward])
