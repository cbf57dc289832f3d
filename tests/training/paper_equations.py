"""Miyato, Dai & Goodfellow 2017 once more: text by text, without padding, in plain TensorFlow."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from sentiment_train.schema import Batch
from sentiment_train.training.adversarial import Adversarial


class PooledTexts:
    """Normalised word vectors → mean → relu → logits of several classes.

    Args:
      frequencies: `[vocabulary]` of the words in the training texts.
      arrays: the table of word vectors, kernel and bias of the hidden layer and of the logits.
    """

    def __init__(self, frequencies: np.ndarray, arrays: Sequence[np.ndarray]):
        self.frequencies = frequencies[:, None] / frequencies.sum()
        self.weights = [tf.Variable(array) for array in arrays]

    def texts(self, batch: Batch) -> list:
        """The s of each text, of words by equation 1."""
        table = self.weights[0]
        mean = tf.reduce_sum(self.frequencies * table, axis=0)
        variance = tf.reduce_sum(self.frequencies * (table - mean) ** 2, axis=0)
        normalised = (table - mean) / tf.sqrt(variance)
        tokens, lengths = batch.features["tokens"], batch.features["lengths"]
        return [tf.gather(normalised, t[:n]) for t, n in zip(tokens, lengths, strict=True)]

    def log_p(self, s):
        """`[classes]` log-probabilities of a text."""
        _, kernel, bias, out, out_bias = self.weights
        hidden = tf.nn.relu(tf.reduce_mean(s, axis=0)[None] @ kernel + bias)
        return tf.nn.log_softmax(hidden @ out + out_bias)[0]

    def adversarial(self, s, label: int, of):
        """Equations 5 and 6."""
        g = _gradient(lambda s: self.log_p(s)[label], s)
        r = -of.epsilon * g / tf.norm(g)
        return -self.log_p(s + r)[label]

    def virtual(self, s, d, of):
        """Equations 7 and 8, with as many power iterations as asked for."""
        log_p = tf.stop_gradient(self.log_p(s))
        kl = lambda s: tf.reduce_sum(tf.exp(log_p) * (log_p - self.log_p(s)))  # noqa: E731
        for _ in range(of.power_iterations):
            d = _gradient(kl, s + of.xi * d / tf.norm(d))
        return kl(s + of.epsilon * d / tf.norm(d))

    def gradients(self, batch: Batch, weights: np.ndarray, key, of) -> list[np.ndarray]:
        """Of Σ weight · (−log p + λ · what the regulariser adds).

        Args:
          key: of the step, from which the first d is drawn.
        """
        key = tf.random.experimental.stateless_fold_in(key, zlib.crc32(b"perturbation") >> 1)
        units = self.weights[0].shape[1]
        random = tf.random.stateless_normal([*batch.features["tokens"].shape, units], key)
        total = 0.0
        with tf.GradientTape() as tape:
            for i, s in enumerate(self.texts(batch)):
                label = batch.labels[i]
                if isinstance(of, Adversarial):
                    more = self.adversarial(s, label, of)
                else:
                    more = self.virtual(s, random[i, : len(s)], of)
                total += weights[i] * (-self.log_p(s)[label] + of.weight * more)
        return [tf.convert_to_tensor(g).numpy() for g in tape.gradient(total, self.weights)]


def _gradient(target, x):
    """By x, a number like any other: the weights that it was found with are held constant."""
    x = tf.stop_gradient(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = target(x)
    return tf.stop_gradient(tape.gradient(value, x))
