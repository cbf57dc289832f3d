"""A small sentence encoder with real TensorFlow ops, cut in two as those of TF-Hub are.

Words are hashed to rows of a table, their mean is multiplied with a matrix, and tanh of it is the
vector. What the halves hand over depends on all texts of a batch together.
"""

from __future__ import annotations

from dataclasses import dataclass

import gin
import numpy as np

from sentiment_train.config import Part

DIMENSION = 4


def pretrained(buckets: int) -> dict[str, np.ndarray]:
    """The "pretrained" weights."""
    rng = np.random.default_rng(7)
    shapes = {"kernel": (DIMENSION, DIMENSION), "table": (buckets, DIMENSION)}
    return {name: rng.normal(0, 0.7, shape).astype(np.float32) for name, shape in shapes.items()}


def vector_of(text: bytes, weights: dict[str, np.ndarray]) -> np.ndarray:
    """`[DIMENSION]`: the vector of one text, without any of the code below."""
    import tensorflow as tf

    words = text.split()
    buckets = len(weights["table"])
    ids = [int(tf.strings.to_hash_bucket_fast(word, buckets)) for word in words]
    mean = weights["table"][ids].sum(axis=0) / max(len(words), 1)
    return np.tanh(mean @ weights["kernel"])


@gin.configurable
@dataclass(frozen=True)
class HashingEncoder(Part):
    """Settings of the encoder."""

    buckets: int = 50
    static_shapes: bool = True

    def refuse_unless(self, mode):
        if mode == "gradual" and not self.static_shapes:
            self.refuse("static_shapes", "is not for mode = 'gradual'.")

    def text_encoder(self, frozen):
        return FrozenText(self.buckets) if frozen else CutText(self.buckets, self.static_shapes)

    def layer(self, fitted, name):
        return device_half(self.buckets, name)


@dataclass(frozen=True)
class FrozenText:
    """Texts → vectors."""

    buckets: int
    vocabulary_size = 0
    max_length = None
    feature_specs = {"tokens": ((None, 1, DIMENSION), "float32"), "lengths": ((None,), "int32")}  # noqa: RUF012

    def fit(self, texts):
        return FittedFrozenText(self.buckets)

    def load(self, directory):
        return FittedFrozenText(self.buckets)


class FittedFrozenText:
    vocabulary_size = 0
    feature_specs = FrozenText.feature_specs
    calls = 0  # of `encode` while tracing, in this process

    def __init__(self, buckets):
        self._host, self._layer = FittedCutText(buckets, True), device_half(buckets, "frozen")
        self.resources = [self._layer]

    def encode(self, texts):
        import tensorflow as tf

        type(self).calls += 1
        vectors = self._layer(self._host.features(texts))
        return tf.RaggedTensor.from_uniform_row_length(vectors, 1)

    def features(self, texts):
        import tensorflow as tf

        vectors = self._layer(self._host.features(texts))
        return {"tokens": vectors[:, None], "lengths": tf.ones_like(texts, tf.int32)}

    def save(self, directory):
        pass


@dataclass(frozen=True)
class CutText:
    """The host half: texts → words, hashed."""

    buckets: int
    static_shapes: bool = True

    def fit(self, texts):
        return FittedCutText(self.buckets, self.static_shapes)

    def load(self, directory):
        return FittedCutText(self.buckets, self.static_shapes)


class FittedCutText:
    vocabulary_size = 0
    lines = (("encoder", "cut at border_0 (ids), border_1 (texts)"),)
    feature_specs = {  # noqa: RUF012
        "border_0": ((None,), "int32"),  # ids of all words
        "border_1": ((None,), "int32"),  # the text of each
        "border_2": ((None,), "int32"),  # how many words each text has
        "rows": ((None,), "int32"),
    }

    def __init__(self, buckets, static_shapes):
        self.buckets, self.static_shapes = buckets, static_shapes
        self.resources = []

    def encode(self, texts):
        import tensorflow as tf

        lengths = tf.maximum(self._words(texts).row_lengths(), 1)
        nothing = tf.zeros([tf.reduce_sum(lengths), 0], tf.uint8)
        return tf.RaggedTensor.from_row_lengths(nothing, lengths)

    def features(self, texts):
        import tensorflow as tf

        words = self._words(texts)
        ids = tf.strings.to_hash_bucket_fast(words.flat_values, self.buckets)
        return {
            "border_0": tf.cast(ids, tf.int32),
            "border_1": tf.cast(words.value_rowids(), tf.int32),
            "border_2": tf.cast(words.row_lengths(), tf.int32),
            "rows": tf.range(tf.size(texts)),
        }

    def batch_features(self, texts, length, shortest, lengths):
        """With one more text, as long as it must be for the shapes to depend on nothing else."""
        import tensorflow as tf

        real = [max(len(text.split()), 1) for text in texts if text is not None]
        known = [n for text, n in zip(texts, lengths, strict=True) if text is not None]
        assert known == real
        assert all(shortest <= n <= length for n in lengths)
        rows = [text or b"" for text in texts]
        if self.static_shapes:
            missing = len(rows) * length - sum(len(row.split()) for row in rows)
            rows.append(b"x " * (missing + 1))
        features = self.features(tf.constant(rows))
        return {**features, "rows": features["rows"][: len(texts)]}

    def save(self, directory):
        pass

    def _words(self, texts):
        import tensorflow as tf

        return tf.strings.split(texts)


def device_half(buckets: int, name: str):
    """The device half as a Keras layer: the features of `FittedCutText` → `[batch, DIMENSION]`."""
    import keras
    import tensorflow as tf

    class DeviceHalf(keras.layers.Layer):
        top_first = ("kernel", "table")

        def __init__(self, **options):
            super().__init__(**options)
            for variable, value in pretrained(buckets).items():
                start = keras.initializers.Constant(value)
                weight = self.add_weight(value.shape, start, name=variable, dtype="float32")
                setattr(self, f"_{variable}", weight)

        def call(self, features):
            vectors = tf.gather(tf.convert_to_tensor(self._table), features["border_0"])
            counts = features["border_2"]
            sums = tf.math.unsorted_segment_sum(vectors, features["border_1"], tf.shape(counts)[0])
            mean = sums / tf.cast(tf.maximum(counts, 1), tf.float32)[:, None]
            return tf.gather(tf.tanh(mean @ tf.convert_to_tensor(self._kernel)), features["rows"])

        def compute_output_spec(self, features):
            return keras.KerasTensor((None, DIMENSION), "float32")

    return DeviceHalf(name=name, dtype="float32")
