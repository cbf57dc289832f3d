"""A small trained pair of encoder and model."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from sentiment_train.data.encoders import WordEncoder, encode_all
from sentiment_train.export.serving import ServingModule
from sentiment_train.models.recurrent import RecurrentClassifier
from sentiment_train.schema import ModelInputs

TEXTS = ["a good film", "a bad film", "it was okay, not great, not terrible", "worst word ever"]
CLASSES = {1: ("no", "yes"), 3: ("bad", "so-so", "gut")}


class Served:
    """A serving module and the answers of its parts."""

    def __init__(self, directory, width):
        rules = WordEncoder(max_length=None)
        rules.fit(TEXTS).save(directory)
        self.encoder = rules.load(directory)
        inputs = ModelInputs(self.encoder.vocabulary_size, len(CLASSES[width]))
        settings = RecurrentClassifier(embedding_size=4, cell="gru", units=(3,), dropout=0.5)
        self.model = settings.build(inputs)
        rng = np.random.default_rng(5)
        self.model.set_weights([rng.normal(0, 0.7, w.shape) for w in self.model.weights])
        self.class_names = CLASSES[width]
        self.module = ServingModule(self.model, self.encoder, self.class_names)
        self._logits = tf.function(
            lambda row: self.model({"tokens": row, "lengths": tf.shape(row)[1:]}, training=False),
            input_signature=[tf.TensorSpec([1, None], tf.int32)],
        )

    def live(self, texts):
        """`[n, 1 or classes]` logits of each text alone, not by way of the serving function."""
        ids, lengths = map(np.concatenate, zip(*encode_all(self.encoder, texts), strict=True))
        rows = np.split(ids, np.cumsum(lengths)[:-1])
        return np.concatenate([self._logits(row[None]).numpy() for row in rows])


@pytest.fixture(scope="session")
def served(tf, tmp_path_factory):
    made = {}

    def make(width=1):
        if width not in made:
            made[width] = Served(str(tmp_path_factory.mktemp("encoder")), width)
        return made[width]

    return make
