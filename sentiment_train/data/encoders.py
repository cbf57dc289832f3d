"""Text → ids: the host part of a model, the same in the input pipeline and in the SavedModel."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal

import gin
import numpy as np

from sentiment_train.config import Part
from sentiment_train.data.stored_texts import as_bytes
from sentiment_train.data.text import TextRules
from sentiment_train.data.vocabulary import (
    FILE_NAME,
    UNKNOWN_ID,
    Vocabulary,
    load_vocabulary,
    save_vocabulary,
)
from sentiment_train.errors import DataError
from sentiment_train.schema import FittedEncoder

_TEXTS_PER_CALL = 512


@gin.configurable
@dataclass(frozen=True)
class WordEncoder(Part):
    """Words → ids by a learned vocabulary, cut to `max_length` tokens."""

    max_length: int | None = 256  # None: nothing is cut
    truncation: Literal["keep_head", "keep_tail", "keep_both_ends"] = "keep_both_ends"
    text: TextRules = field(default_factory=TextRules)
    vocabulary: Vocabulary = field(default_factory=Vocabulary)

    def check(self):
        self.require(self.max_length is None or self.max_length >= 1, "max_length", "at least 1")

    def fit(self, texts: Iterable[str]) -> FittedWordEncoder:
        """Learns the vocabulary.

        Raises:
          DataError: if the texts hold no word.
        """
        counted = lambda batch: word_counts(self.text.words(batch))  # noqa: E731
        return self.learned(counted_side_by_side(counted, texts))

    def learned(self, counted: Iterable[tuple[np.ndarray, np.ndarray]]) -> FittedWordEncoder:
        """With the vocabulary of `word_counts` of some texts after the other.

        Raises:
          DataError: if there is no word.
        """
        counts = (dict(zip(w.tolist(), n.tolist(), strict=True)) for w, n in counted)
        return FittedWordEncoder(self, self.vocabulary.learn(counts))

    def load(self, directory: str) -> FittedWordEncoder:
        """Reads the vocabulary of an earlier `fit`."""
        return FittedWordEncoder(self, load_vocabulary(directory), f"{directory}/{FILE_NAME}")

    def kept_ends(self) -> tuple[int, int]:
        """How many tokens are kept of the head and of the tail of a text that is too long."""
        length = self.max_length
        head = {"keep_head": length, "keep_tail": 0, "keep_both_ends": length // 2}[self.truncation]
        return head, length - head


class FittedWordEncoder:
    """A `WordEncoder` with its vocabulary.

    `resources` are what a SavedModel must carry along: the lookup table.
    """

    def __init__(self, rules: WordEncoder, words: tuple[str, ...], file: str | None = None):
        import tensorflow as tf

        self.rules, self.words = rules, words
        self.vocabulary_size = len(words)
        self.max_length = rules.max_length
        if file:  # becomes an asset of the SavedModel
            whole_line, line_number = (
                tf.lookup.TextFileIndex.WHOLE_LINE,
                tf.lookup.TextFileIndex.LINE_NUMBER,
            )
            initializer = tf.lookup.TextFileInitializer(
                file, tf.string, whole_line, tf.int64, line_number
            )
        else:
            ids = tf.range(self.vocabulary_size, dtype=tf.int64)
            initializer = tf.lookup.KeyValueTensorInitializer(tf.constant(words), ids)
        self._table = tf.lookup.StaticHashTable(initializer, UNKNOWN_ID)
        self.resources = [self._table]

    def encode(self, texts):
        """`[n] string` → `[n, (length)] int32` ragged, every row at least one id."""
        return self.cut(self.ids_of(self.rules.text.words(texts)))

    def ids_of(self, words):
        """`[n, (words)] string` ragged → ids `[n, (words)] int32`."""
        import tensorflow as tf

        ids = tf.cast(self._table.lookup(words.flat_values), tf.int32)
        return words.with_flat_values(tf.maximum(ids, UNKNOWN_ID))  # the literal word "[PAD]"

    def cut(self, ids):
        """`[n, (words), *inner] int32` ragged → the same, no row too long and none empty."""
        if self.rules.max_length is not None:
            ids = truncate(ids, *self.rules.kept_ends())
        return unknown_if_empty(ids)

    def save(self, directory: str) -> None:
        """Writes `vocabulary.txt`."""
        save_vocabulary(self.words, directory)

    def without_files(self) -> FittedWordEncoder:
        """The same with its vocabulary in memory."""
        return FittedWordEncoder(self.rules, self.words)


def word_counts(words):
    """`[n, (words)] string` ragged → its different words `[k] string`, and how often each is there
    `[k] int32`: counted by TensorFlow, since of the words of some texts one in eight is new."""
    import tensorflow as tf

    different, _, counts = tf.unique_with_counts(words.flat_values)
    return different, counts


def counted_side_by_side(count: Callable, texts: Iterable[str]) -> Iterator[tuple]:
    """What a function of `[n] string` gives for some texts after the other, on all cores."""
    import tensorflow as tf

    count = tf.function(count, input_signature=[_some_texts()], autograph=False)
    return _side_by_side(count, texts, _TEXTS_PER_CALL)


def truncate(ids, head: int, tail: int):
    """`[n, (length), *inner]` ragged → the same with at most `head + tail` ids a row, from its two
    ends."""
    import tensorflow as tf

    lengths = ids.row_lengths()
    position = tf.ragged.range(lengths).flat_values
    from_end = tf.repeat(lengths, lengths) - position
    keep = ids.with_flat_values((position < head) | (from_end <= tail))
    return tf.ragged.boolean_mask(ids, keep)


def unknown_if_empty(ids):
    """`[n, (length), *inner] int32` ragged → the same with one unknown id in every empty row; of
    several ids of a word the first is unknown, and the others are 0."""
    import tensorflow as tf

    missing = tf.cast(tf.equal(ids.row_lengths(), 0), tf.int64)
    inner = ids.flat_values.shape[1:].as_list()
    token = np.zeros(inner, np.int32)
    token[(0,) * len(inner)] = UNKNOWN_ID
    filler = tf.tile(token[None], [tf.reduce_sum(missing), *(1 for _ in inner)])
    return tf.concat([ids, tf.RaggedTensor.from_row_lengths(filler, missing)], axis=1)


def batched(
    texts: Iterable[str | bytes], at_a_time: int = _TEXTS_PER_CALL
) -> Iterator[list[bytes]]:
    """Lists of a few hundred texts in UTF-8: enough for an op to be worth its call.

    Half of a surrogate pair becomes bytes that are not UTF-8, as when predicting; see `TextRules`.
    """
    texts = map(as_bytes, texts)
    while batch := list(islice(texts, at_a_time)):
        yield batch


def padded(rows) -> dict:
    """`[n, (tokens), *inner]` ragged, maybe of no rows → features as models take them:

    tokens `[n, width, *inner]`, padded on the right, and lengths `[n] int32`.
    """
    import tensorflow as tf

    lengths = tf.cast(rows.row_lengths(), tf.int32)
    width = tf.maximum(tf.reduce_max(tf.concat([lengths, [1]], axis=0)), 1)
    inner = rows.flat_values.shape[1:].as_list()
    return {"tokens": rows.to_tensor(shape=tf.stack([-1, width, *inner])), "lengths": lengths}


def features_of(encoder: FittedEncoder, texts) -> dict:
    """`[n] string` → the features of a model while serving; any `n`, any bytes."""
    if hasattr(encoder, "features"):
        return encoder.features(texts)
    return padded(encoder.encode(texts))


class Encoding:
    """`encoder.encode` for any number of texts, in parallel; its graph is made once."""

    def __init__(self, encoder: FittedEncoder):
        import tensorflow as tf

        def encode(batch):
            rows = encoder.encode(batch)
            tokens = rows.flat_values
            if tokens.shape.rank == 1:
                tokens = tf.cast(tokens, tf.int32)
            return tokens, rows.row_lengths()

        self._encode = tf.function(encode, input_signature=[_some_texts()])
        self._at_a_time = getattr(encoder, "texts_per_call", _TEXTS_PER_CALL)

    def __call__(self, texts: Iterable[str | bytes]):
        """Yields `(tokens [tokens, *inner], lengths [n] int64)` numpy pairs of some texts each, in
        the order of the texts. Ids are int32.

        Raises:
          DataError: if the encoder fails for a text.
        """
        import tensorflow as tf

        try:
            yield from _side_by_side(self._encode, texts, self._at_a_time)
        except tf.errors.InvalidArgumentError as error:
            reason = error.message.splitlines()[0]
            raise DataError(f"The encoder fails for a text: {reason}") from None


def encode_all(encoder: FittedEncoder, texts: Iterable[str | bytes]):
    """What `Encoding` gives, for texts that are all there are."""
    return Encoding(encoder)(texts)


def _some_texts():
    import tensorflow as tf

    return tf.TensorSpec([None], tf.string)


def _side_by_side(function, texts: Iterable[str | bytes], at_a_time: int):
    """A function of `[n] string` of some texts at a time, on all cores; yields what it gives as
    numpy arrays, in the order of the texts."""
    import tensorflow as tf

    batches = tf.data.Dataset.from_generator(
        lambda: batched(texts, at_a_time), output_signature=_some_texts()
    )
    options = tf.data.Options()
    options.deterministic = True
    found = batches.map(function, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
    yield from found.with_options(options).as_numpy_iterator()
