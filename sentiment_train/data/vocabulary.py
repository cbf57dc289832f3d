"""Which words have an id: counted on the training split, saved one word per line, line = id."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import gin

from sentiment_train.config import Part
from sentiment_train.errors import DataError
from sentiment_train.replacing import replace_file

PADDING_ID, UNKNOWN_ID = 0, 1
RESERVED = ("[PAD]", "[UNK]")
FILE_NAME = "vocabulary.txt"


@gin.configurable
@dataclass(frozen=True)
class Vocabulary(Part):
    """The most frequent words, at most `max_size` ids including padding and unknown."""

    max_size: int = 20_000
    min_count: int = 1

    def check(self):
        self.require(self.max_size > len(RESERVED), "max_size", "at least 3")
        self.require(self.min_count >= 1, "min_count", "at least 1")

    def learn(
        self, token_batches: Iterable[Iterable[bytes] | Mapping[bytes, int]]
    ) -> tuple[str, ...]:
        """The vocabulary in the order of its ids, beginning with padding and unknown.

        A batch is its tokens, or how often it has each of them.

        Ties of the count are broken by the bytes of the word, so the result depends on nothing but
        the texts.

        Raises:
          DataError: if no word occurs `min_count` times.
        """
        counts: Counter[bytes] = Counter()
        for tokens in token_batches:
            counts.update(tokens)
        for reserved in RESERVED:  # as literal words they are unknown
            counts.pop(reserved.encode(), None)
        kept = [word for word, count in counts.items() if count >= self.min_count]
        if not kept:
            raise DataError(
                f"No word occurs {self.min_count} times in the training texts; there is nothing to"
                " learn from. Check the text column, or lower Vocabulary.min_count."
            )
        kept.sort(key=lambda word: (-counts[word], word))
        return RESERVED + tuple(w.decode() for w in kept[: self.max_size - len(RESERVED)])


def save_vocabulary(words: Iterable[str], directory: str) -> None:
    """Writes `vocabulary.txt`, in one step: a reader sees the old file or the new one."""
    content = "".join(f"{word}\n" for word in words)
    replace_file(f"{directory}/{FILE_NAME}", content.encode())


def load_vocabulary(directory: str) -> tuple[str, ...]:
    """Reads `vocabulary.txt`.

    Raises:
      DataError: if the file is missing, is not UTF-8, does not start with padding and unknown, or
        holds a word twice.
    """
    import tensorflow as tf

    path = f"{directory}/{FILE_NAME}"
    try:
        text = tf.io.gfile.GFile(path, "rb").read().decode()
    except (tf.errors.NotFoundError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a vocabulary ({type(error).__name__}).") from None
    words = tuple(text.removesuffix("\n").split("\n"))
    if words[: len(RESERVED)] != RESERVED:
        raise DataError(f"{path}: the first two lines must be [PAD] and [UNK].")
    if len(set(words)) != len(words):
        twice = Counter(words).most_common(1)[0][0]
        line = words.index(twice, words.index(twice) + 1) + 1
        raise DataError(f"{path}:{line}: '{twice}' is there twice.")
    return words
