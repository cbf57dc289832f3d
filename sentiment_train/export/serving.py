"""The served function: raw strings in, labels and probabilities out."""

from __future__ import annotations

import functools

import tensorflow as tf

from sentiment_train.data.encoders import features_of
from sentiment_train.schema import FittedEncoder


class ServingModule(tf.Module):
    """Host part (strings → features) and device part (features → logits) as one exported object."""

    checked = "logits"  # the output that is read back

    def __init__(self, model, encoder: FittedEncoder, class_names: tuple[str, ...]):
        super().__init__(name="sentiment_train")
        self.model = model
        self.resources = list(getattr(encoder, "resources", []))
        self._features = functools.partial(features_of, encoder)
        self._class_names = class_names

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def serve(self, text):
        """text `[n] string` → label `[n] string`, probabilities `[n, classes] float32`,
        logits `[n, 1 or classes] float32`; any n, any bytes."""
        logits = tf.cast(self.model(self._features(text), training=False), tf.float32)
        probabilities = probabilities_of(logits)
        best = tf.argmax(probabilities, axis=-1)
        return {
            "label": tf.gather(tf.constant(self._class_names), best),
            "probabilities": probabilities,
            "logits": logits,
        }

    def signatures(self) -> dict:
        """What the SavedModel offers."""
        return {"serving_default": self.serve}

    def expected(self, outputs):
        """Outputs of the live model `[n, 1 or classes]` → what `checked` must be."""
        return outputs


def probabilities_of(logits):
    """logits `[n, 1 or classes]` → `[n, classes] float32`; one logit is the log-odds of class 1."""
    if logits.shape[-1] == 1:
        return tf.concat([tf.sigmoid(-logits), tf.sigmoid(logits)], axis=-1)
    return tf.nn.softmax(logits)
