"""Pieces of a text → its sentence vector: the network of the Universal Sentence Encoder v3.

A deep averaging network (Iyyer et al. 2015; Cer et al. 2018) over n-gram features, as in Yang et
al. 2019, "Multilingual Universal Sentence Encoder for Semantic Retrieval". For the pieces t of a
text:

    p_t = LayerNorm(W e_t + b)                                  three parts, one per n in 2, 3, 5
    h_t = p_t + relu(conv_n(p)_t),  g_t = h_t + relu(conv_n'(h)_t)
    s   = Σ_t (W' LayerNorm[e_t; g²_t; g³_t; g⁵_t] + b') / √length
    y₁  = relu(P s + D₁ relu(D₀ s)),  z = tanh(P' y₁ + D₃ relu(D₂ y₁)),  answer = z / |z|

A convolution of n pieces begins (n − 1) // 2 pieces to the left; outside of a text there are zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import keras
import numpy as np
import tensorflow as tf

from sentiment_train.layers.dropout import Dropout

ORDERS = (2, 3, 5)
EPSILON = 1e-12  # of both norms and of the length of the answer
CHUNKS = 17  # a packed table has a scale for all rows of the same id modulo this


def network_shapes(
    pieces: int, units: int = 512, ngram_units: int = 256, hidden_units: int = 320
) -> dict[str, tuple[int, ...]]:
    """The variables of an `AveragingNetwork` from the input to the output, with their shapes."""
    wide, features = len(ORDERS) * ngram_units, units + len(ORDERS) * ngram_units
    shapes = {
        "piece_embeddings": (pieces, units),
        "projection_kernel": (units, wide),
        "projection_bias": (wide,),
        "projection_gamma": (wide,),
        "projection_beta": (wide,),
    }
    for n in ORDERS:
        for number in (1, 2):
            shapes[f"ngram{n}_{number}_kernel"] = (n, ngram_units, ngram_units)
            shapes[f"ngram{n}_{number}_bias"] = (ngram_units,)
    return shapes | {
        "average_gamma": (features,),
        "average_beta": (features,),
        "average_kernel": (features, units),
        "average_bias": (units,),
        "deep_1_kernel": (units, hidden_units),
        "deep_2_kernel": (hidden_units, hidden_units),
        "deep_2_skip_kernel": (units, hidden_units),
        "deep_3_kernel": (hidden_units, units),
        "deep_4_kernel": (units, units),
        "deep_4_skip_kernel": (hidden_units, units),
    }


def packed_shapes(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """The same network with a table of bytes: `piece_codes`, `code_scales`, `code_offsets`."""
    shapes = dict(shapes)
    table = {"piece_codes": shapes.pop("piece_embeddings")}
    return table | {"code_scales": (CHUNKS,), "code_offsets": (CHUNKS,)} | shapes


class AveragingNetwork(keras.layers.Layer):
    """tokens `[batch, length] int32`, lengths `[batch] int32` ≥ 1, as a dict → `[batch, units]
    float32` of length 1.

    Only the first `lengths` tokens of a row count. With a reduced precision the products are in the
    compute dtype; the table, both norms, the sum over the pieces and the last step stay float32.

    Args:
      shapes: of the variables, by name: `network_shapes(…)`, or `packed_shapes` of it. A packed
        table is a quarter as large, cannot be trained, and gives the same numbers:
        row i is `codes[i] · scales[i mod 17] + offsets[i mod 17]`.
      initial: gives the first value of a variable by name; None: random ones.
      embedding_dropout: rate for whole dimensions of the piece vectors of a text.
    """

    def __init__(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        initial: Callable[[str], np.ndarray] | None = None,
        embedding_dropout: float = 0.0,
        **options,
    ):
        super().__init__(**options)
        self._shapes, self._initial = dict(shapes), initial
        self.packed = "piece_codes" in shapes
        self.units = shapes["average_bias"][0]
        self.dropout = Dropout(
            embedding_dropout, whole_vectors=True, name="embedding_dropout", dtype=self.dtype_policy
        )

    @property
    def top_first(self) -> list[str]:
        """The names of the trainable variables, the nearest to the output first."""
        return [variable.name for variable in reversed(self.trainable_variables)]

    def build(self, features_shape=None):
        self._named = {
            name: self.add_weight(
                name=name,
                shape=shape,
                dtype="uint8" if name == "piece_codes" else "float32",
                initializer=self._initializer(name),
                trainable=not name.startswith(("piece_codes", "code_")),
                autocast=not name.startswith(_FLOAT32),
            )
            for name, shape in self._shapes.items()
        }

    def _initializer(self, name: str):
        if self._initial is not None:
            return lambda shape, dtype=None: tf.convert_to_tensor(self._initial(name), dtype)
        kind = name.rpartition("_")[2]
        return _FRESH.get(kind, "zeros")

    def call(self, features, training=False):
        ids, lengths = features["tokens"], features["lengths"]
        mask = tf.sequence_mask(lengths, tf.shape(ids)[1])[:, :, None]  # [batch, length, 1]
        vectors = tf.cast(self._vectors(ids), self.compute_dtype)  # [batch, length, units]
        vectors = self.dropout(vectors, training=training)
        x = self._projected(vectors)
        parts = tf.split(x, len(ORDERS), axis=-1)
        grams = [self._ngrams(n, part, mask) for n, part in zip(ORDERS, parts, strict=True)]
        x = self._averaged(tf.concat([vectors, *grams], axis=-1), mask, lengths)
        return self._deep(x)

    def compute_output_spec(self, features, training=False):
        return keras.KerasTensor([features["tokens"].shape[0], self.units], "float32")

    def _value(self, name: str):
        """A variable as a tensor: kernels and biases in the compute dtype, the others float32."""
        return tf.convert_to_tensor(self._named[name])

    def _vectors(self, ids):
        """`[batch, length, units] float32`; only these rows of the table are read."""
        if not self.packed:
            return tf.gather(self._named["piece_embeddings"].value, ids)
        codes = tf.cast(tf.gather(self._named["piece_codes"].value, ids), tf.float32)
        scales, offsets = self._value("code_scales"), self._value("code_offsets")
        chunks = (ids % CHUNKS)[:, :, None]
        return codes * tf.gather(scales, chunks) + tf.gather(offsets, chunks)

    def _projected(self, vectors):
        """`[batch, length, 3 · ngram_units]`, normalised over all of them."""
        x = tf.tensordot(vectors, self._value("projection_kernel"), 1)
        x = tf.cast(x + self._value("projection_bias"), tf.float32)
        mean, scale = _mean_and_scale(x)
        x = (x - mean) * scale * self._value("projection_gamma") + self._value("projection_beta")
        return tf.cast(x, self.compute_dtype)

    def _ngrams(self, n: int, x, mask):
        """`[batch, length, ngram_units]` → the same, each seeing the pieces around it; twice."""
        for number in (1, 2):
            x = tf.where(mask, x, tf.zeros([], x.dtype))
            window = tf.nn.conv1d(x, self._value(f"ngram{n}_{number}_kernel"), 1, "SAME")
            x += tf.nn.relu(window + self._value(f"ngram{n}_{number}_bias"))
        return x

    def _averaged(self, x, mask, lengths):
        """`[batch, length, features]` → `[batch, units]`.

        The norm and the product that follows are linear but for each piece's mean and scale, so the
        pieces are summed first: Σ (x − mean) · scale is a product with a row of scales.
        """
        x = tf.cast(x, tf.float32)
        mean, scale = _mean_and_scale(x)
        scale *= tf.cast(mask, tf.float32)
        total = tf.matmul(scale, x, transpose_a=True)[:, 0]  # [batch, features]
        total -= tf.reduce_sum(scale * mean, axis=1)
        count = tf.cast(lengths, tf.float32)[:, None]
        total = total * self._value("average_gamma") + count * self._value("average_beta")
        root = tf.sqrt(count)
        total = tf.cast(total / root, self.compute_dtype)
        bias = tf.cast(root, self.compute_dtype) * self._value("average_bias")
        return tf.matmul(total, self._value("average_kernel")) + bias

    def _deep(self, x):
        """`[batch, units]` → `[batch, units] float32` of length 1."""
        hidden = tf.nn.relu(tf.matmul(x, self._value("deep_1_kernel")))
        skipped = tf.matmul(x, self._value("deep_2_skip_kernel"))
        x = tf.nn.relu(skipped + tf.matmul(hidden, self._value("deep_2_kernel")))
        hidden = tf.nn.relu(tf.matmul(x, self._value("deep_3_kernel")))
        skipped = tf.matmul(x, self._value("deep_4_skip_kernel"))
        x = tf.tanh(tf.cast(skipped + tf.matmul(hidden, self._value("deep_4_kernel")), tf.float32))
        square = tf.reduce_sum(tf.square(x), axis=-1, keepdims=True)
        return x * tf.math.rsqrt(tf.maximum(square, EPSILON))


# First values where none are given, by the end of the name; of the others zeros.
_FRESH = {
    "embeddings": "uniform",
    "kernel": "glorot_uniform",
    "gamma": "ones",
    "scales": "ones",
}

# What is not cast to the compute dtype when it is read. Of the table that would be all of it.
_FLOAT32 = (
    "piece_",
    "code_",
    "projection_gamma",
    "projection_beta",
    "average_gamma",
    "average_beta",
)


def _mean_and_scale(x):
    """Of the last axis, `[…, 1] float32`: the mean and 1 / standard deviation."""
    mean, variance = tf.nn.moments(x, axes=[-1], keepdims=True)
    return mean, tf.math.rsqrt(variance + EPSILON)
