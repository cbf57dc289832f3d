"""Normalising and splitting strings as TensorFlow ops: the same while training and serving."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import gin

from sentiment_train.config import Part

# The characters that keras.layers.TextVectorization strips by default, as an RE2 class.
_PUNCTUATION = r'[!"#$%&()\*\+,-\./:;<=>?@\[\\\]^_`{|}~\']'
_HTML_BREAK = r"<[bB][rR]\s*/?>"
# What is no part of a word in any language; then apostrophes that are not between two letters.
_MARK = r"([^\pL\pM\pN_\s'])"
_LAST_APOSTROPHES, _FIRST_APOSTROPHES = r"('+)(\s|$)", r"(\s|^)('+)"


@gin.configurable
@dataclass(frozen=True)
class TextRules(Part):
    """Which steps a text goes through before it is split at whitespace, in this order."""

    html_breaks: bool = True  # `<br />` separates words; first, while its punctuation is there
    lowercase: Literal["ascii", "unicode", "off"] = "ascii"  # ascii: as TextVectorization does
    # strip: removed, not replaced, "don't" becomes "dont"; separate: a mark is a word, "so!" is two
    punctuation: Literal["strip", "keep", "separate"] = "strip"

    def normalise(self, texts):
        """`[n] string` → `[n] string`. Invalid UTF-8 becomes U+FFFD, so any bytes get an answer."""
        import tensorflow as tf

        texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace")
        if self.html_breaks:
            texts = tf.strings.regex_replace(texts, _HTML_BREAK, " ")
        if self.lowercase != "off":
            encoding = "utf-8" if self.lowercase == "unicode" else ""
            texts = tf.strings.lower(texts, encoding=encoding)
        if self.punctuation == "strip":
            texts = tf.strings.regex_replace(texts, _PUNCTUATION, "")
        elif self.punctuation == "separate":
            texts = tf.strings.regex_replace(texts, _MARK, r" \1 ")
            texts = tf.strings.regex_replace(texts, _LAST_APOSTROPHES, r" \1\2")
            texts = tf.strings.regex_replace(texts, _FIRST_APOSTROPHES, r"\1\2 ")
        return texts

    def words(self, texts):
        """`[n] string` → `[n, (words)] string` ragged."""
        import tensorflow as tf

        return tf.strings.split(self.normalise(texts))
