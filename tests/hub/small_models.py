"""Small encoders as SavedModels, in the manner of published ones."""

from __future__ import annotations

import os

import numpy as np
import tensorflow as tf

WORDS = 200
STRING = [tf.TensorSpec([None], tf.string)]


def _values(rng, *shape, scale=0.5):
    return rng.normal(0, scale, shape).astype(np.float32)


class Hashed(tf.Module):
    """In the manner of USE v4: regex, split, hashed words and pairs of them, shards, a DNN."""

    def __init__(self, shards=3, dimension=8):
        super().__init__(name="hashed")
        rng = np.random.default_rng(1)
        rows = WORDS // shards + 1
        self.shards = [
            tf.Variable(_values(rng, rows, dimension), name=f"embeddings/part_{i}")
            for i in range(shards)
        ]
        self.pairs = tf.Variable(_values(rng, WORDS, dimension), name="pairs/embeddings")
        self.hidden = tf.Variable(_values(rng, 2 * dimension, 12), name="hidden/kernel")
        self.bias = tf.Variable(_values(rng, 12), name="hidden/bias")
        self.projection = tf.Variable(_values(rng, 12, 6), name="projection/kernel")

    @tf.function(input_signature=STRING)
    def __call__(self, texts):
        texts = tf.strings.regex_replace(tf.strings.lower(texts), r"[^\w\s]", " ")
        words = tf.compat.v1.string_split(texts)
        words = tf.sparse.fill_empty_rows(words, "<empty>")[0]
        ids = tf.strings.to_hash_bucket_fast(words.values, WORDS)
        one_by_one = tf.sparse.SparseTensor(words.indices, ids, words.dense_shape)
        single = tf.compat.v1.nn.safe_embedding_lookup_sparse(
            self.shards, one_by_one, combiner="sqrtn", partition_strategy="mod"
        )
        return self._dense(tf.concat([single, self._pairs_of(words)], axis=1))

    def _pairs_of(self, words):
        pairs = tf.strings.ngrams(tf.RaggedTensor.from_sparse(words), 2)
        ids = tf.strings.to_hash_bucket_fast(pairs.flat_values, WORDS)
        place = tf.cast(pairs.value_rowids(), tf.int32)
        distinct, index = tf.unique(ids)
        rows = tf.nn.embedding_lookup(self.pairs, distinct)
        return tf.sparse.segment_sqrt_n(rows, index, place, num_segments=pairs.nrows())

    def _dense(self, x):
        hidden = tf.nn.relu(tf.linalg.matmul(x, self.hidden) + self.bias)
        return tf.nn.l2_normalize(tf.linalg.matmul(hidden, self.projection), axis=-1)


@tf.custom_gradient
def _slower(x):
    """Learns half as fast as its value says: a gradient that differentiating does not find."""
    return tf.identity(x), lambda upstream: 0.5 * upstream


class Looked(tf.Module):
    """Words by a table that is an asset, ragged → padded, the mean over the real places."""

    def __init__(self, directory, dimension=8):
        super().__init__(name="looked")
        rng = np.random.default_rng(2)
        words = "the a film was good bad great and not i it of worst ever cat mat sat on"
        path = os.path.join(directory, "words.txt")
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join(["[PAD]", *words.split()]))
        whole, number = tf.lookup.TextFileIndex.WHOLE_LINE, tf.lookup.TextFileIndex.LINE_NUMBER
        initializer = tf.lookup.TextFileInitializer(path, tf.string, whole, tf.int64, number)
        self.table = tf.lookup.StaticVocabularyTable(initializer, num_oov_buckets=30)
        size = len(words.split()) + 1 + 30
        self.embeddings = tf.Variable(_values(rng, size, dimension), name="embeddings")
        self.frozen = tf.Variable(_values(rng, dimension), trainable=False, name="shift")
        self.kernel = tf.Variable(_values(rng, dimension, 6), name="dense/kernel")

    @tf.function(input_signature=STRING)
    def __call__(self, texts):
        words = tf.strings.split(tf.strings.lower(texts))
        ids = words.with_flat_values(self.table.lookup(words.flat_values)).to_tensor(0)
        mask = tf.cast(ids > 0, tf.float32)[:, :, None]
        vectors = _slower(tf.gather(self.embeddings, ids)) + self.frozen
        mean = tf.math.divide_no_nan(
            tf.reduce_sum(vectors * mask, axis=1), tf.reduce_sum(mask, axis=1)
        )
        return {"default": tf.tanh(tf.linalg.matmul(mean, self.kernel)), "mean": mean}


class Pieces(tf.Module):
    """A SentencePiece model in the graph; ragged vectors of the pieces, summed."""

    def __init__(self, model: bytes, size: int, dimension=8):
        import tensorflow_text

        super().__init__(name="pieces")
        rng = np.random.default_rng(3)
        self.tokenizer = tensorflow_text.SentencepieceTokenizer(model, add_bos=True, add_eos=True)
        self.embeddings = tf.Variable(_values(rng, size, dimension), name="embeddings")
        self.kernel = tf.Variable(_values(rng, 3 * dimension, 6), name="dense/kernel")

    @tf.function(input_signature=STRING)
    def __call__(self, texts):
        ids = self.tokenizer.tokenize(tf.strings.regex_replace(texts, r"\s+", " "))
        vectors = ids.with_values(tf.nn.embedding_lookup(self.embeddings, ids.flat_values))
        padded = vectors.to_tensor()
        before = tf.pad(padded, [[0, 0], [1, 0], [0, 0]])[:, :-1]
        both = tf.concat([padded, before, padded * padded], axis=-1)
        mask = tf.sequence_mask(ids.row_lengths(), tf.shape(padded)[1], tf.float32)[..., None]
        return tf.reduce_sum(tf.tanh(tf.matmul(both, self.kernel)) * mask, axis=1)


class WordPieces(tf.Module):
    """In the manner of the BERT preprocessors: word pieces, [CLS] and [SEP], 16 places."""

    WORDS = "[PAD] [UNK] [CLS] [SEP] the a film was good bad ##s great not worst ever cat mat on"

    def __init__(self, directory, length=16):
        import tensorflow_text

        super().__init__(name="word_pieces")
        path = os.path.join(directory, "pieces.txt")
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join(self.WORDS.split()))
        self.length = length
        self.tokenizer = tensorflow_text.BertTokenizer(path, lower_case=True)

    @tf.function(input_signature=STRING)
    def __call__(self, texts):
        import tensorflow_text

        pieces = self.tokenizer.tokenize(texts).merge_dims(-2, -1)
        pieces = pieces[:, : self.length - 2]
        ids, types = tensorflow_text.combine_segments([pieces], 2, 3)
        ids, mask = tensorflow_text.pad_model_inputs(ids, self.length)
        types, _ = tensorflow_text.pad_model_inputs(types, self.length)
        return {
            "input_word_ids": tf.cast(ids, tf.int32),
            "input_mask": tf.cast(mask, tf.int32),
            "input_type_ids": tf.cast(types, tf.int32),
        }


class Attention(tf.Module):
    """In the manner of the BERT encoders: a dictionary in, one attention layer, several outputs."""

    def __init__(self, words=18, dimension=8, length=16):
        super().__init__(name="attention")
        rng = np.random.default_rng(4)
        names = {"word": (words, dimension), "type": (2, dimension), "place": (length, dimension)}
        self.tables = {
            n: tf.Variable(_values(rng, *s), name=f"embeddings/{n}") for n, s in names.items()
        }
        self.kernels = {
            n: tf.Variable(_values(rng, dimension, dimension), name=f"layer_0/{n}/kernel")
            for n in ("query", "key", "value", "pooler")
        }
        self.scale = tf.Variable(tf.ones([dimension]), name="layer_norm/gamma")
        self.shift = tf.Variable(tf.zeros([dimension]), name="layer_norm/beta")
        specs = {
            name: tf.TensorSpec([None, length], tf.int32)
            for name in ("input_word_ids", "input_mask", "input_type_ids")
        }
        for training in (True, False):
            self.__call__.get_concrete_function(specs, training=training)

    @tf.function
    def __call__(self, inputs, training=False):
        x = tf.gather(self.tables["word"], inputs["input_word_ids"])
        x += tf.gather(self.tables["type"], inputs["input_type_ids"]) + self.tables["place"]
        x = tf.nn.dropout(x, 0.5) if training else x
        query, key, value = (x @ self.kernels[name] for name in ("query", "key", "value"))
        mask = tf.ones_like(inputs["input_mask"])[:, :, None] * inputs["input_mask"][:, None, :]
        scores = tf.matmul(query, key, transpose_b=True) - 1e9 * (1 - tf.cast(mask, tf.float32))
        x += tf.nn.softmax(scores) @ value
        mean, variance = tf.nn.moments(x, [-1], keepdims=True)
        x = (x - mean) * tf.math.rsqrt(variance + 1e-6) * self.scale + self.shift
        pooled = tf.tanh(x[:, 0] @ self.kernels["pooler"])
        return {"pooled_output": pooled, "sequence_output": x}
