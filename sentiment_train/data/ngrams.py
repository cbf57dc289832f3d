"""Words → ids, and beside each word the hashed n-grams that end with it: what a wide part reads.

An n-gram is a feature by its hash (Weinberger et al. 2009, "Feature Hashing for Large Scale
Multitask Learning"): no vocabulary of them is learned, saved or looked up, and words that the
vocabulary does not know are part of them like all others. Two that fall into one bucket share it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import gin

from sentiment_train.config import Part
from sentiment_train.data.encoders import FittedWordEncoder, WordEncoder

NO_NGRAM = 0  # in place of an id
# An n-gram is a number of n digits to this base, modulo a prime; the products fit into int64.
_BASE, _PRIME = 1_103_515_245, 2**31 - 1


@gin.configurable
@dataclass(frozen=True)
class NGramEncoder(Part):
    """Words by a vocabulary, and for each of the `orders` the bucket of the n-gram it ends.

    A word then has 1 + len(orders) ids, `[n, (length), 1 + orders] int32`: the first is its own,
    and each of the others is that of an n-gram, from 1 to `buckets` - 1. It is 0 (`NO_NGRAM`) where
    the text has no n words yet, and where this bucket was met in this text before: a text has an
    n-gram or has it not. A text that is too long is cut after its n-grams are made, so none of them
    joins words that did not stand side by side.
    """

    orders: tuple[int, ...] = (1, 2, 3)  # 1: words, 2: pairs, …
    buckets: int = 2**22  # n-grams that meet in one share a weight
    words: WordEncoder = field(default_factory=WordEncoder)

    def check(self):
        fine = bool(self.orders) and min(self.orders) >= 1
        self.require(fine and len(set(self.orders)) == len(self.orders), "orders",
                     "different numbers above 0")  # fmt: skip
        self.require(2 <= self.buckets <= _PRIME, "buckets", f"2 to {_PRIME}")

    @property
    def max_length(self) -> int | None:
        """Of the words."""
        return self.words.max_length

    def fit(self, texts: Iterable[str]) -> FittedNGramEncoder:
        """Learns the vocabulary of words.

        Raises:
          DataError: if the texts hold no word.
        """
        return FittedNGramEncoder(self, self.words.fit(texts))

    def load(self, directory: str) -> FittedNGramEncoder:
        """Reads the vocabulary of an earlier `fit`."""
        return FittedNGramEncoder(self, self.words.load(directory))


class FittedNGramEncoder:
    """An `NGramEncoder` with its vocabulary of words."""

    def __init__(self, rules: NGramEncoder, words: FittedWordEncoder):
        self.rules, self._words = rules, words
        self.vocabulary_size, self.resources = words.vocabulary_size, words.resources
        self.max_length, self.buckets = rules.max_length, rules.buckets
        tokens = (None, None, 1 + len(rules.orders))
        self.feature_specs = {"tokens": (tokens, "int32"), "lengths": ((None,), "int32")}

    def encode(self, texts):
        """`[n] string` → `[n, (length), 1 + orders] int32` ragged, every row at least one word."""
        import tensorflow as tf

        words = self.rules.words.text.words(texts)
        ids = self._words.ids_of(words).flat_values[:, None]
        tokens = words.with_flat_values(tf.concat([ids, self._ngrams(words)], axis=1))
        return each_once(self._words.cut(tokens), self.rules.buckets)

    def _ngrams(self, words):
        """`[n, (words)] string` ragged → the bucket of each n-gram `[words, orders] int32`."""
        import tensorflow as tf

        digits = tf.strings.to_hash_bucket_fast(words.flat_values, _PRIME)  # [words] int64
        place = tf.ragged.range(words.row_lengths()).flat_values
        columns = []
        for order in self.rules.orders:
            number = tf.fill(tf.shape(digits), tf.constant(order, tf.int64))
            for back in range(order - 1, -1, -1):
                digit = tf.roll(digits, back, axis=0)
                number = tf.math.floormod(number * _BASE + digit, _PRIME)
            bucket = 1 + tf.math.floormod(number, self.rules.buckets - 1)
            columns.append(tf.where(place >= order - 1, bucket, NO_NGRAM))
        return tf.cast(tf.stack(columns, axis=1), tf.int32)

    def save(self, directory: str) -> None:
        """Writes `vocabulary.txt`; of the n-grams there is nothing to keep."""
        self._words.save(directory)

    def without_files(self) -> FittedNGramEncoder:
        """The same with its vocabulary in memory."""
        return FittedNGramEncoder(self.rules, self._words.without_files())


def each_once(tokens, buckets: int):
    """`[n, (length), 1 + orders] int32` ragged → the same, but of equal n-grams of a text (all
    columns but the first) only the first one stays, and the others become `NO_NGRAM`."""
    import tensorflow as tf

    ids, ngrams = tokens.flat_values[:, :1], tokens.flat_values[:, 1:]
    text = tf.cast(tokens.value_rowids(), tf.int64)[:, None]
    of_text = tf.reshape(text * buckets + tf.cast(ngrams, tf.int64), [-1])
    place = tf.range(tf.size(of_text))
    different, number = tf.unique(of_text)
    first = tf.math.unsorted_segment_min(place, number, tf.size(different))
    is_first = tf.reshape(tf.equal(tf.gather(first, number), place), tf.shape(ngrams))
    once = tf.where(is_first, ngrams, NO_NGRAM)
    return tokens.with_flat_values(tf.concat([ids, once], axis=1))
