"""Words → ids, and beside each word the ids of the n-grams that end with it: for a wide part.

An n-gram is known by a hash of 63 bits (Weinberger et al. 2009, "Feature Hashing for Large Scale
Multitask Learning"), so its words need not be in the vocabulary, and no strings are kept. Those
that enough training texts have get ids of their own, so that none shares a weight with another one;
that any two of 10 million have the same hash has a chance of 1 in 180,000.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import gin
import numpy as np

from sentiment_train.config import Part
from sentiment_train.data.encoders import (
    FittedWordEncoder,
    WordEncoder,
    counted_side_by_side,
    word_counts,
)
from sentiment_train.errors import DataError
from sentiment_train.replacing import replace_file

NO_NGRAM = 0  # in place of an id
_NO_HASH = -1  # where a text has not enough words yet
FILE_NAME = "ngrams.npy"
_MULTIPLIER = 0x9E3779B97F4A7C15  # odd, so that nothing is lost modulo 2⁶⁴; 2⁶⁴ / golden ratio
_MOST_COUNTED = 16_000_000  # n-grams at a time; less than a GB of memory


@gin.configurable
@dataclass(frozen=True)
class NGramEncoder(Part):
    """Words by a vocabulary, and for each of the `orders` the id of the n-gram that a word ends.

    A word then has 1 + len(orders) ids, `[n, (length), 1 + orders] int32`: the first is its own,
    and each of the others is that of an n-gram, from 1 to `size` - 1 of the fitted encoder. It is 0
    (`NO_NGRAM`) where the text has no n words yet, where too few training texts have this n-gram,
    and where this text had it before: a text has an n-gram or has it not. A text that is too long
    is cut after its n-grams are made, so none of them joins words that did not stand side by side.
    """

    orders: tuple[int, ...] = (1, 2, 3)  # 1: words, 2: pairs, …
    least_texts: int = 2  # an n-gram of fewer training texts is left out
    most_ngrams: int = 2_000_000  # that are kept: those of the most texts
    words: WordEncoder = field(default_factory=WordEncoder)

    def check(self):
        fine = bool(self.orders) and min(self.orders) >= 1
        self.require(fine and len(set(self.orders)) == len(self.orders), "orders",
                     "different numbers above 0")  # fmt: skip
        self.require(self.least_texts >= 1, "least_texts", "at least 1")
        most = _MOST_COUNTED // 2
        self.require(1 <= self.most_ngrams <= most, "most_ngrams", f"1 to {most:,}")

    @property
    def max_length(self) -> int | None:
        """Of the words."""
        return self.words.max_length

    def fit(self, texts: Iterable[str]) -> FittedNGramEncoder:
        """Learns the vocabulary of words, and which n-grams enough texts have.

        Raises:
          DataError: if the texts hold no word.
        """
        ngrams = _TextCounts()

        def counted(batch):
            words = self.words.text.words(batch)
            return *word_counts(words), *text_counts(hashes_of(words, self.orders))

        def counted_words() -> Iterator:
            for words, counts, hashes, texts_having in counted_side_by_side(counted, texts):
                ngrams.add(hashes, texts_having)
                yield words, counts

        words = self.words.learned(counted_words())
        return FittedNGramEncoder(self, words, ngrams.most(self.most_ngrams, self.least_texts))

    def load(self, directory: str) -> FittedNGramEncoder:
        """Reads the vocabulary and the n-grams of an earlier `fit`.

        Raises:
          DataError: if a file is missing or is something else.
        """
        return FittedNGramEncoder(self, self.words.load(directory), _load(directory))


class FittedNGramEncoder:
    """An `NGramEncoder` with its vocabulary of words and its n-grams.

    Attributes:
      size: one more than there are n-grams.
    """

    def __init__(self, rules: NGramEncoder, words: FittedWordEncoder, hashes: np.ndarray):
        import tensorflow as tf

        self.rules, self._words, self.hashes = rules, words, hashes  # [size - 1] int64
        self.vocabulary_size, self.size = words.vocabulary_size, 1 + len(hashes)
        self.max_length, self.other_files = rules.max_length, (FILE_NAME,)
        keys = tf.constant(np.concatenate([[_NO_HASH], hashes]))  # a table is never empty
        ngrams = tf.lookup.KeyValueTensorInitializer(keys, tf.range(self.size, dtype=tf.int64))
        self._table = tf.lookup.StaticHashTable(ngrams, NO_NGRAM)
        self.resources = [*words.resources, self._table]
        tokens = (None, None, 1 + len(rules.orders))
        self.feature_specs = {"tokens": (tokens, "int32"), "lengths": ((None,), "int32")}

    @property
    def lines(self) -> list[tuple[str, str]]:
        """How many n-grams there are, as label and text, to be printed."""
        of = ", ".join(str(order) for order in self.rules.orders)
        text = (
            f"{len(self.hashes):,} of {of} words, each in {self.rules.least_texts:,} texts or more"
        )
        if len(self.hashes) == self.rules.most_ngrams:
            text += " (NGramEncoder.most_ngrams: there are others)"
        return [("n-grams", text)]

    def encode(self, texts):
        """`[n] string` → `[n, (length), 1 + orders] int32` ragged, every row at least one word."""
        import tensorflow as tf

        words = self.rules.words.text.words(texts)
        ids = self._words.ids_of(words).flat_values[:, None]
        hashes = hashes_of(words, self.rules.orders).flat_values
        ngrams = tf.cast(self._table.lookup(hashes), tf.int32)
        tokens = words.with_flat_values(tf.concat([ids, ngrams], axis=1))
        return each_once(self._words.cut(tokens), self.size)

    def save(self, directory: str) -> None:
        """Writes `ngrams.npy`, the hashes in the order of their ids, and then `vocabulary.txt`: who
        finds that finds both."""
        content = io.BytesIO()
        np.save(content, self.hashes)
        replace_file(f"{directory}/{FILE_NAME}", content.getvalue())
        self._words.save(directory)

    def without_files(self) -> FittedNGramEncoder:
        """The same with its vocabulary in memory."""
        return FittedNGramEncoder(self.rules, self._words.without_files(), self.hashes)


def hashes_of(words, orders: Iterable[int]):
    """`[n, (words)] string` ragged → the n-grams that end with each word, `[n, (words), orders]
    int64` ragged; `_NO_HASH` where the text has fewer words up to there."""
    import tensorflow as tf

    def number(value):
        return tf.constant(value, tf.uint64)

    digits = tf.cast(tf.strings.to_hash_bucket_fast(words.flat_values, 2**63 - 1), tf.uint64)
    place = tf.ragged.range(words.row_lengths()).flat_values
    columns = []
    for order in orders:
        hashed = tf.fill(tf.shape(digits), number(order))
        for back in range(order - 1, -1, -1):
            # A polynomial in the multiplier, modulo 2⁶⁴.
            hashed = hashed * number(_MULTIPLIER) + tf.roll(digits, back, axis=0)
        hashed = tf.cast(tf.bitwise.right_shift(hashed, number(1)), tf.int64)
        columns.append(tf.where(place >= order - 1, hashed, _NO_HASH))
    return words.with_flat_values(tf.stack(columns, axis=1))


def each_once(tokens, size: int):
    """`[n, (length), 1 + orders] int32` ragged → the same, but of equal n-grams of a text (all
    columns but the first, below `size`) only the first one stays; the others become `NO_NGRAM`."""
    import tensorflow as tf

    ids, ngrams = tokens.flat_values[:, :1], tokens.flat_values[:, 1:]
    text = tf.cast(tokens.value_rowids(), tf.int64)[:, None]
    is_first = _first_places(text * size + tf.cast(ngrams, tf.int64))
    once = tf.where(is_first, ngrams, NO_NGRAM)
    return tokens.with_flat_values(tf.concat([ids, once], axis=1))


def text_counts(hashes):
    """Of `hashes_of` some texts: the different n-grams `[k] int64`, and how many of the texts have
    each `[k] int32`."""
    import tensorflow as tf

    flat = hashes.flat_values
    text = tf.cast(hashes.value_rowids(), tf.int64)[:, None]
    # Equal n-grams of different texts become different numbers.
    of_text = tf.bitwise.bitwise_xor(flat, tf.bitwise.left_shift(text, tf.constant(40, tf.int64)))
    once = tf.boolean_mask(flat, _first_places(of_text) & (flat != _NO_HASH))
    different, _, counts = tf.unique_with_counts(once)
    return different, counts


def _first_places(numbers):
    """`[n, columns] int64` → whether a number is the first of its kind, row by row, `bool`."""
    import tensorflow as tf

    flat = tf.reshape(numbers, [-1])
    place = tf.range(tf.size(flat))
    different, number = tf.unique(flat)
    first = tf.math.unsorted_segment_min(place, number, tf.size(different))
    return tf.reshape(tf.equal(tf.gather(first, number), place), tf.shape(numbers))


class _TextCounts:
    """How many texts have each n-gram.

    Memory is bounded: of more than `_MOST_COUNTED` different ones that wait, the half that the most
    texts had so far is kept, and the others begin anew at 0 if they are met again. So one that is
    rare, or comes late, may be missed.
    """

    def __init__(self):
        self._hashes, self._counts, self._waiting = [], [], 0

    def add(self, hashes: np.ndarray, counts: np.ndarray) -> None:
        self._hashes.append(hashes)
        self._counts.append(counts)
        self._waiting += len(hashes)
        if self._waiting > _MOST_COUNTED:
            self._merge()
            if len(self._hashes[0]) > _MOST_COUNTED // 2:
                kept = np.sort(self._most_first()[: _MOST_COUNTED // 2])
                self._hashes, self._counts = [self._hashes[0][kept]], [self._counts[0][kept]]
            self._waiting = len(self._hashes[0])

    def most(self, at_most: int, least_texts: int) -> np.ndarray:
        """`[k] int64`: those of the most texts first; of equally many, in the order of the hash."""
        self._merge()
        order = self._most_first()[:at_most]
        return self._hashes[0][order[self._counts[0][order] >= least_texts]]

    def _most_first(self) -> np.ndarray:
        return np.argsort(-self._counts[0], kind="stable")

    def _merge(self) -> None:
        """Leaves one array of different hashes, sorted, and one of their counts."""
        hashes = np.concatenate([np.zeros(0, np.int64), *self._hashes])
        counts = np.concatenate([np.zeros(0, np.int32), *self._counts])
        self._hashes, self._counts = [], []  # not needed beside the copies
        order = np.argsort(hashes)
        hashes, counts = hashes[order], counts[order]
        begins = np.flatnonzero(np.diff(hashes, prepend=_NO_HASH))
        if len(begins):
            counts = np.add.reduceat(counts, begins)
        self._hashes, self._counts = [hashes[begins]], [counts]


def _load(directory: str) -> np.ndarray:
    """`[size - 1] int64`, all different and none below 0."""
    import tensorflow as tf

    path = f"{directory}/{FILE_NAME}"
    try:
        content = tf.io.gfile.GFile(path, "rb").read()
        hashes = np.load(io.BytesIO(content), allow_pickle=False)
    except (tf.errors.OpError, ValueError, EOFError) as error:
        raise DataError(f"{path}: not a file of n-grams ({type(error).__name__}).") from None
    fine = isinstance(hashes, np.ndarray) and hashes.dtype == np.int64 and hashes.ndim == 1
    if not fine or (hashes < 0).any() or len(np.unique(hashes)) < len(hashes):
        raise DataError(f"{path}: not a file of n-grams.")
    return hashes
