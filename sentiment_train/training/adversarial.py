"""Regularisers that move the word vectors of a text where it hurts (Miyato, Dai & Goodfellow 2017).

A text is the sequence s of its word vectors, `[length, units]`, and a perturbation r of it has one
L2 norm ε over all of them. Both regularisers ask the model for the direction in which its answer
changes most, and train it to answer s + r as it should. To the model r is a given number: no
gradient goes through the search for it. Where there is no such direction (the gradient is 0 in all
numbers of a text, as that of a row of weight 0 is) r is 0, and the text is answered where it is.

Dropout masks are the same in all answers of a step, so that r alone makes them differ. (The code
that the authors published draws those of the word vectors once, for it moves what is left of them,
and those of later layers anew for each answer.)
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import gin

from sentiment_train.config import Part
from sentiment_train.errors import ConfigError

# From 1 over 2 to 4 the direction comes nearer to that of float32 (see docs/models.md).
_ABOVE_ROUNDING = 4.0


@dataclass(frozen=True)
class _Perturbing(Part):
    """What both share: λ · Σ weight · (loss of the moved text) is added to the loss."""

    epsilon: float = 5.0  # L2 norm of the perturbation of all word vectors of a text
    weight: float = 1.0  # λ

    def check(self):
        for name in ("epsilon", "weight"):
            self.require(getattr(self, name) > 0, name, "above 0")

    def check_model(self, model) -> None:
        """Raises ConfigError unless the word vectors of a model config are normalised."""
        # Of a wide and deep model it is the deep one that has words.
        mine, name = type(self).__name__, type(getattr(model, "deep", model)).__name__
        normalized = getattr(model, "normalized_embedding", None)
        if normalized is None:
            raise ConfigError(
                f"CrossEntropy.regulariser = @{mine}() moves word vectors, and {name} has none that"
                " it could move.",
                "CrossEntropy.regulariser",
            )
        if not normalized:
            raise ConfigError(
                f"CrossEntropy.regulariser = @{mine}() needs normalised word vectors in {name}:"
                " normalized_embedding = True. A model would otherwise make its vectors so large"
                " that no perturbation counts.",
                "CrossEntropy.regulariser",
            )

    def gradients(self, rows, clean) -> list:
        """By the trained weights, of λ · Σ weight · loss of the moved rows.

        Args:
          rows: `training.gradients.Rows`.
          clean: `training.gradients.Answer` to the rows as they are.
        """
        move = self.perturbation(rows, clean)
        moved = rows.answer(lambda logits: self.weight * self.loss(rows, clean, logits), move)
        return moved.of_weights


@gin.configurable
@dataclass(frozen=True)
class Adversarial(_Perturbing):
    """The label is to be found from the worst place around a text, to first order (equations 2, 5
    and 6): r = ε g / ‖g‖ with g the gradient of the loss by s.

    A step takes twice the time.
    """

    def perturbation(self, rows, clean):
        """`[rows, length, units] float32`."""
        return of_norm(self.epsilon, clean.of_words)

    def loss(self, rows, clean, logits):
        """Σ weight · loss, scalar float32."""
        return rows.loss(logits)


@gin.configurable
@dataclass(frozen=True)
class VirtualAdversarial(_Perturbing):
    """The answer is to stay the same around a text, whatever its label (equations 3, 4, 7 and 8).

    r = ε g / ‖g‖, with g the gradient by d of KL[answer to s ‖ answer to s + d] at a random d of
    norm ξ: a step of the power iteration towards the direction in which KL bends most. The answer
    to s is a given number, too. A step takes three times the time, and one more for each further
    iteration. If no number of the answer changes at s + d, g is 0 and so is r: that text adds
    nothing to the loss.

    In bfloat16 and float16 so short a d would be rounded away in s + d, and what the answers differ
    by be noise. So d is four times as long there as the rounding of s, if that is more than ξ, but
    not longer than ε. In float32 it is ξ.
    """

    power_iterations: int = 1
    xi: float = 0.1  # ξ

    def check(self):
        super().check()
        self.require(self.power_iterations >= 1, "power_iterations", "at least 1")
        self.require(self.xi > 0, "xi", "above 0")

    def perturbation(self, rows, clean):
        """`[rows, length, units] float32`."""
        import tensorflow as tf

        key = tf.random.experimental.stateless_fold_in(rows.key, zlib.crc32(b"perturbation") >> 1)
        direction = tf.random.stateless_normal(tf.shape(clean.words.vectors), key)
        direction = clean.words.of_real_tokens(direction)
        apart = lambda logits: self.loss(rows, clean, logits)  # noqa: E731
        least = tf.minimum(_ABOVE_ROUNDING * clean.words.rounding(), self.epsilon)
        near = tf.maximum(least, self.xi)  # [rows, 1, 1]
        for _ in range(self.power_iterations):
            moved = rows.answer(apart, of_norm(near, direction), by_weights=False)
            direction = moved.of_words
        return of_norm(self.epsilon, direction)

    def loss(self, rows, clean, logits):
        """Σ weight · KL[answer to s ‖ `logits`], scalar float32."""
        import tensorflow as tf

        return tf.reduce_sum(rows.weights * divergence(tf.stop_gradient(clean.outputs), logits))


def of_norm(norm, directions):
    """`[rows, length, units]` → the same directions, each row of one L2 norm; 0 stays 0.

    Args:
      norm: a number, or `[rows, 1, 1]`.
    """
    import tensorflow as tf

    from sentiment_train.layers.perturbation import l2_norms

    # The squares of gradients that are small, but not 0, would be.
    largest = tf.reduce_max(tf.abs(directions), axis=[1, 2], keepdims=True)
    directions = tf.math.divide_no_nan(directions, largest)
    return norm * tf.math.divide_no_nan(directions, l2_norms(directions))


def divergence(logits, others):
    """KL[p ‖ q] of the classes, p and q by logits `[rows, 1 or classes]` → `[rows] float32`."""
    import tensorflow as tf

    if logits.shape[-1] == 1:
        p, cross_entropy = tf.sigmoid(logits), tf.nn.sigmoid_cross_entropy_with_logits
        return (cross_entropy(p, others) - cross_entropy(p, logits))[:, 0]
    p, cross_entropy = tf.nn.softmax(logits), tf.nn.softmax_cross_entropy_with_logits
    return cross_entropy(p, others) - cross_entropy(p, logits)
