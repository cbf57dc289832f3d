"""The served functions of a language model: how probable a text is, and how it might go on."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from sentiment_train.data.encoders import padded
from sentiment_train.export.portions import outputs_of
from sentiment_train.schema import FittedEncoder

_RESERVED = 2  # padding and unknown, which are no words; `data.vocabulary` says so
_UNKNOWN = 1


class LanguageServingModule(tf.Module):
    """Host part (strings → ids → strings) and device part of a language model.

    Args:
      encoder: with an attribute `words`, a text for each id; else `generate` is not offered.
      by_token: the model as `models.language_model.TokenByToken`; if None, likewise.
    """

    checked = "loss"  # the output that is read back

    def __init__(self, model, encoder: FittedEncoder, by_token):
        super().__init__(name="sentiment_train")
        self.model = model
        self.resources = list(getattr(encoder, "resources", []))
        self._encode = encoder.encode
        self._words = getattr(encoder, "words", None)
        self._by_token = by_token

    def signatures(self) -> dict:
        """What the SavedModel offers."""
        offered = {"serving_default": self.serve}
        if self._words is not None and self._by_token is not None:
            offered["generate"] = self.generate
        return offered

    def expected(self, outputs: np.ndarray) -> np.ndarray:
        """Outputs of the live model `[n, 3]` → what `compared` must give."""
        return -outputs[:, 0] / outputs[:, 1]

    def compared(self, answers: np.ndarray) -> np.ndarray:
        """`checked` of the SavedModel → the same."""
        return answers

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def serve(self, text):
        """text `[n] string` → log_probability `[n] float32` in nats, tokens `[n] int32`, loss
        `[n] float32` in nats a token, perplexity `[n] float32`.

        A model that reads both ways has two log-probabilities of a text; the mean is given.
        """
        rows = self._encode(text)
        sums, tokens = outputs_of(self.model, rows), tf.cast(rows.row_lengths(), tf.int32)
        loss = -sums[:, 0] / sums[:, 1]
        return {
            "log_probability": -loss * tf.cast(tokens, tf.float32),
            "tokens": tokens,
            "loss": loss,
            "perplexity": tf.exp(loss),
        }

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string, name="text"),
            tf.TensorSpec([], tf.int32, name="words"),
            tf.TensorSpec([], tf.float32, name="temperature"),
            tf.TensorSpec([], tf.int32, name="seed"),
        ]
    )
    def generate(self, text, words, temperature, seed):
        """text `[n] string` → the same continued by so many words.

        Each output is the next input. It is drawn from softmax(logits / temperature); at a
        temperature of 0 it is the likeliest word. Padding and unknown are never drawn. The same
        arguments give the same texts. A text without a known word is continued from nothing.
        """
        features = padded(self._encode(text))
        prompt, lengths = features["tokens"], features["lengths"]
        nothing = tf.logical_and(lengths == 1, prompt[:, 0] == _UNKNOWN)
        lengths = tf.where(nothing, 0, lengths)
        words = tf.maximum(words, 0)
        tokens = self._continued(prompt, lengths, words, temperature, seed)
        places = lengths[:, None] + tf.range(words)
        new = tf.gather(tf.constant(self._words), tf.gather(tokens, places, batch_dims=1))
        new = tf.strings.reduce_join(new, axis=1, separator=" ")
        return {"text": tf.strings.strip(tf.strings.join([text, new], separator=" "))}

    def _continued(self, prompt, lengths, words, temperature, seed):
        """`[n, width + words] int32`: each prompt, and behind it what was made of it."""
        total = tf.shape(prompt)[1] + words
        given = tf.TensorArray(tf.int32, total).unstack(
            tf.transpose(tf.pad(prompt, [[0, 0], [0, words]]))
        )
        written = tf.TensorArray(tf.int32, total, element_shape=[None])

        def step(t, logits, states, written):
            token = tf.where(t < lengths, given.read(t), _drawn(logits, temperature, seed, t))
            logits, states = self._by_token.read(token, states)
            return t + 1, logits, states, written.write(t, token)

        logits, states = self._by_token.start(prompt)
        *_, written = tf.while_loop(
            lambda t, *_: t < total, step, (0, logits, states, written), parallel_iterations=1
        )
        return tf.transpose(written.stack())


def _drawn(logits, temperature, seed, step):
    """logits `[n, vocabulary]` → `[n] int32` words, never padding or unknown."""
    words = logits[:, _RESERVED:]
    likeliest = tf.argmax(words, axis=-1, output_type=tf.int32)
    scaled = words / tf.maximum(temperature, 1e-6)
    drawn = tf.random.stateless_categorical(scaled, 1, tf.stack([seed, step]), dtype=tf.int32)
    return _RESERVED + tf.where(temperature > 0, drawn[:, 0], likeliest)
