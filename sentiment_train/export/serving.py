"""The served function: raw strings in, labels and probabilities out."""

from __future__ import annotations

import functools

import tensorflow as tf

from sentiment_train.data.encoders import features_of
from sentiment_train.export.portions import outputs_of
from sentiment_train.schema import FittedEncoder


class ServingModule(tf.Module):
    """Host part (strings → features) and device part (features → logits) as one exported object.

    Args:
      temperature: that the logits are divided by, so that the probabilities are calibrated.
    """

    checked = "logits"  # the output that is read back

    def __init__(
        self,
        model,
        encoder: FittedEncoder,
        class_names: tuple[str, ...],
        temperature: float = 1.0,
    ):
        super().__init__(name="sentiment_train")
        self.model = model
        self.resources = list(getattr(encoder, "resources", []))
        self._logits = functools.partial(_logits_of, model, encoder)
        self._class_names, self._temperature = class_names, temperature

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def serve(self, text):
        """text `[n] string` → label `[n] string`, probabilities `[n, classes] float32`,
        logits `[n, 1 or classes] float32`; any n, any bytes.

        The probabilities are the softmax of the logits, which are those of the model divided by the
        temperature. The label is that of the model's own, so that no rounding changes it.
        """
        logits = self._logits(text)
        best = tf.argmax(_of_classes(logits), axis=-1)
        logits = logits / self._temperature
        return {
            "label": tf.gather(tf.constant(self._class_names), best),
            "probabilities": probabilities_of(logits),
            "logits": logits,
        }

    def signatures(self) -> dict:
        """What the SavedModel offers."""
        return {"serving_default": self.serve}

    def expected(self, outputs):
        """Outputs of the live model `[n, 1 or classes]` → what `compared` must give."""
        return outputs

    def compared(self, answers):
        """`checked` of the SavedModel → the logits of the model.

        Undivided ones, so that a high temperature hides no difference and a low one makes none.
        """
        return answers * self._temperature


def _logits_of(model, encoder: FittedEncoder, text):
    """`[n] string` → logits of the model `[n, 1 or classes] float32`."""
    if hasattr(encoder, "features"):  # which may depend on all texts of a call together
        return tf.cast(model(features_of(encoder, text), training=False), tf.float32)
    return outputs_of(model, encoder.encode(text))


def _of_classes(logits):
    """logits `[n, 1 or classes]` → `[n, classes]`: one logit stands against 0."""
    if logits.shape[-1] == 1:
        return tf.concat([tf.zeros_like(logits), logits], axis=-1)
    return logits


def probabilities_of(logits):
    """logits `[n, 1 or classes]` → `[n, classes] float32`; one logit is the log-odds of class 1."""
    if logits.shape[-1] == 1:
        return tf.concat([tf.sigmoid(-logits), tf.sigmoid(logits)], axis=-1)
    return tf.nn.softmax(logits)
