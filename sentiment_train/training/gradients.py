"""Forward and backward through the rows of one replica: the gradients and sums of a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from sentiment_train.layers.dropout import random_key
from sentiment_train.layers.perturbation import WordVectors, word_vectors
from sentiment_train.schema import Batch
from sentiment_train.training import touched_rows
from sentiment_train.training.grouped_optimizer import GroupedOptimizer
from sentiment_train.training.losses import Loss, row_weights


class RowGradients:
    """Model and loss as a function of the rows of a replica.

    Attributes:
      finds_rows: whether a gradient of single rows was met while tracing; see `touched_rows`.
    """

    def __init__(self, model, loss: Loss, class_weights, weights, optimizer: GroupedOptimizer):
        self.model, self.loss, self.class_weights = model, loss, class_weights
        self.weights, self.optimizer = weights, optimizer
        self.regulariser = getattr(loss, "regulariser", None)
        self.finds_rows = False

    def sums(self, phase: int, batch: Batch, key, scale):
        """Gradients of scale · Σ weight·loss by the weights that move in this phase, and (loss,
        weight, correct).

        What regularises is in the gradients, and not in the loss.
        """
        indices, sums = self.optimizer.active(phase), []
        rows = Rows(self, indices, batch, key, scale)

        def target(outputs):
            sums[:] = self.loss.sums(batch, outputs, self.class_weights)
            loss, weight, _ = sums
            if self.model.losses:  # of its layers; in proportion to this replica's share
                loss += weight * tf.add_n(self.model.losses)
            return loss

        clean = rows.answer(target)
        gradients = clean.of_weights
        if self.regulariser is not None:
            more = self.regulariser.gradients(rows, clean)
            gradients = [touched_rows.added(*both) for both in zip(gradients, more, strict=True)]
        takes_rows = self.optimizer.takes_rows
        gradients = [
            touched_rows.in_float32(gradient, keep_rows=i in takes_rows)
            for i, gradient in zip(indices, gradients, strict=True)
        ]
        self.finds_rows |= any(isinstance(g, tf.IndexedSlices) for g in gradients)
        return gradients, sums


class Answer(NamedTuple):
    """What the model says to the rows, and the gradients of a target that was made of it."""

    outputs: Any
    of_weights: list  # gradients by the weights that move
    words: WordVectors
    of_words: Any  # `[rows, length, units] float32`, the gradient by them; of real tokens only


class Rows:
    """The rows of a replica in one step, which the model may answer more than once.

    Attributes:
      key: `[2] int32`, from which all is drawn that is random: in every answer of a step the same
        units are dropped.
    """

    def __init__(self, of: RowGradients, indices: list[int], batch: Batch, key, scale):
        self._of, self.batch, self.key, self._scale = of, batch, key, scale
        self._active = [of.weights[i].value for i in indices]
        self._all_move = len(indices) == len(of.weights)

    @property
    def weights(self):
        """`[rows] float32`, of the examples times those of their classes."""
        return row_weights(self.batch, self._of.class_weights)

    def loss(self, outputs):
        """Σ weight · loss of what the model says."""
        return self._of.loss.sums(self.batch, outputs, self._of.class_weights)[0]

    def answer(self, target: Callable, move=None, by_weights: bool = True) -> Answer:
        """Forward and backward.

        Args:
          target: of the outputs, a scalar; it is multiplied by the scale of the loss.
          move: `[rows, length, units] float32`, is added to the word vectors.
          by_weights: whether the gradients by the weights are wanted.

        Raises:
          ConfigError: if those by the word vectors are, and the model shows none.
        """
        active = self._active if by_weights else []
        watch_all = by_weights and self._all_move
        with tf.GradientTape(watch_accessed_variables=watch_all) as tape, random_key(self.key):
            if not watch_all:
                tape.watch(active)  # what lies below them is not even recorded
            with word_vectors(tape, move) as words:
                outputs = self._of.model(self.batch.features, training=True)
            value = target(outputs) * self._scale
        sought = active if self._of.regulariser is None else [*active, words.seen()]
        found = tape.gradient(value, sought, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        of_words = None
        if self._of.regulariser is not None:
            of_words = words.of_real_tokens(found.pop())
        return Answer(outputs, found, words, of_words)
