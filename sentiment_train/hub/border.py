"""Border tensors of one shape for every batch of a bucket, whatever the model.

XLA compiles once for each shape, and the shapes at the border depend on the texts. How they do is
learnt by trying: every size has to be

    a + b · texts + c · (sum of the lengths of the texts) + d · (length of the longest)

with whole numbers a, b, c, d. The length of a text is measured in repetitions of a *filler word*,
each of which makes a text longer by one. A flat border (ids of all texts in a row) has sizes with
c, a padded one has sizes with d, and one of a fixed length neither.

In a batch of `n` texts of `shortest` to `L`, filler texts at its end then make the sum and the
maximum those of the bucket:

* padded: one filler text of length L.
* flat: one filler text, as long as all the others fall short of `n · L`, and one.
* both: one of length L, and as many of at most L as take up what the others may fall short.

They have a word each wherever there is room for one: the mean of no words is 0 / 0 in many models,
and 0 times the gradient of that is no number either.

Where sizes follow no such rule, shapes stay dynamic, and XLA would compile nearly every batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sentiment_train.hub.cut import PROBES
from sentiment_train.hub.saved_models import said_by

_WORDS = (b"a", b"the", b"x", b"1", b"word", b".", "一".encode())
_SHORT = (1, 2, 3, 5, 8, 13, 40)
_LONG = (100, 1000, 6000)
_SAMPLES = (
    *PROBES,
    b"<br />",
    b"a" * 60,
    b"!!!",
    b"1,234.5 & 6 % of 7",
    "Это лучший фильм года".encode(),
    "これは最高の映画です。".encode(),
    b"I can't believe it's not butter :-) @united #fail",
    b"one\ntwo\tthree\r\nfour",
)


@dataclass(frozen=True)
class Rule:
    """How the sizes at the border follow from the texts.

    `terms [sizes, 4] int64` are a, b, c, d of every dimension of every feature. Lengths count from
    1, which is that of an empty text: `repetitions + offset`.
    """

    terms: np.ndarray
    ranks: tuple[int, ...]
    word: bytes
    offset: int
    longest: int  # the greatest length that a filler text can have

    @property
    def flat(self) -> bool:
        """Whether some size grows with the sum of the lengths."""
        return bool(self.terms[:, 2].any())

    @property
    def padded(self) -> bool:
        """Whether some size is that of the longest text."""
        return bool(self.terms[:, 3].any())

    @property
    def fixed(self) -> int | None:
        """The length of every text where none depends on it: the largest size that never varies."""
        if self.flat or self.padded:
            return None
        return max(1, *(int(a) for a, b, _, _ in self.terms if b == 0), 1)

    def described(self) -> str:
        """For people: what filler texts are needed."""
        if self.fixed:
            return f"every text has {self.fixed} places"
        kinds = [kind for kind in ("flat", "padded") if getattr(self, kind)]
        return f"{' and '.join(kinds)}; filler texts of '{self.word.decode()}' keep shapes static"

    def sizes(self, lengths: Sequence[int]) -> np.ndarray:
        """`[sizes]` for texts of these lengths."""
        repetitions = np.asarray(lengths) - self.offset
        facts = [1, len(repetitions), repetitions.sum(), repetitions.max(initial=0)]
        return self.terms @ np.array(facts, np.int64)

    def length_from(self, sizes):
        """The sizes for one text alone (numpy or TensorFlow, `[sizes]`) → its length."""
        if self.fixed:
            return sizes[0] * 0 + self.fixed
        at = self._telling
        a, b, c, d = (int(term) for term in self.terms[at])
        return (sizes[at] - a - b) // (c + d) + self.offset

    @property
    def _telling(self) -> int:
        """A size that a longer text changes by one, or by as little as there is."""
        steps = np.abs(self.terms[:, 2] + self.terms[:, 3])
        return int(np.where(steps == 0, np.iinfo(np.int64).max, steps).argmin())

    def filler(self, length: int) -> bytes:
        """A text of that length; where all have the same, one that has a word."""
        return b" ".join([self.word] * (1 if self.fixed else length - self.offset))

    def length_of_filler(self, longest: int, shortest: int) -> int:
        """The least length of a text with a word, if a bucket has room for that."""
        return min(longest, max(shortest, 1 + self.offset))

    def fillers(self, lengths: Sequence[int], longest: int, shortest: int) -> list[int]:
        """The lengths of the filler texts that complete a batch of a bucket.

        Args:
          lengths: of the texts of the batch, from `shortest` to `longest`.
        """
        found = [longest] if self.padded else []
        if not self.flat:
            return found
        at_most = longest if self.padded else self.longest
        missing = len(lengths) * longest - int(np.sum(lengths))
        most_missing = len(lengths) * (longest - shortest)
        least = min(1 + self.offset, at_most - (most_missing > 0))
        room = at_most - least
        count = max(1, -(-most_missing // room)) if room else 1
        spread = np.full(count, least)
        for place in range(count):
            spread[place] += (taken := min(missing, room))
            missing -= taken
        return [*found, *spread.tolist()]


def learn(host: Callable) -> Rule | str:
    """Tries a host half out; a `Rule`, or why there is none.

    Args:
      host: texts `[n] string` → the features at the border.
    """
    import tensorflow as tf

    why = None
    for most in (len(_SHORT), 5, 4):  # fewer where the model itself cuts texts early
        for word in _WORDS:
            try:
                found = _learn_with(host, word, _SHORT[:most])
            except tf.errors.OpError as error:
                found = f"it fails for some texts ({said_by(error)})"
            if isinstance(found, Rule):
                return found
            why = why or found
    return why or "no word makes every text longer by the same"


def sizes_of(host: Callable, texts: Sequence[bytes]) -> np.ndarray:
    """`[sizes] int64` of all features, one after the other."""
    import tensorflow as tf

    shapes = [tuple(feature.shape) for feature in host(tf.constant(list(texts), tf.string))]
    return np.array([size for shape in shapes for size in shape], np.int64)


def _learn_with(host: Callable, word: bytes, counts: Sequence[int]) -> Rule | str | None:
    """None: the sizes of repeated words alone follow no rule."""
    import tensorflow as tf

    repeated = lambda count: b" ".join([word] * count)  # noqa: E731
    rng = np.random.default_rng(0)
    batches = [[count] for count in counts]
    batches += [rng.choice(counts, rows).tolist() for rows in (2, 2, 3, 3, 4, 5, 7)]
    facts = np.array([[1, len(b), sum(b), max(b)] for b in batches], np.int64)
    seen = np.stack([sizes_of(host, [repeated(count) for count in b]) for b in batches])
    terms = np.rint(np.linalg.lstsq(facts.astype(float), seen.astype(float), rcond=None)[0])
    terms = terms.astype(np.int64).T
    if not (facts @ terms.T == seen).all():
        return None
    ranks = tuple(len(feature.shape) for feature in host(tf.constant([word])))
    rule = Rule(terms, ranks, word, 0, 0)
    if rule.fixed:
        lengths = dict.fromkeys(_SAMPLES, rule.fixed)
        rule = Rule(terms, ranks, word, rule.fixed, rule.fixed)
    else:
        lengths = {text: int(rule.length_from(sizes_of(host, [text]))) for text in _SAMPLES}
        offset = 1 - min(1, lengths[b""])
        longest = offset + _greatest(counts[-1], lambda n: _fits(rule, host, [n], [repeated(n)]))
        lengths = {text: length + offset for text, length in lengths.items()}
        rule = Rule(terms, ranks, word, offset, longest)
    return _checked(rule, host, lengths, rng)


def _checked(rule: Rule, host: Callable, lengths: dict[bytes, int], rng) -> Rule | str:
    """The rule, if it holds for texts alone and in mixed batches."""
    for text, length in lengths.items():
        if not _fits(rule, host, [length], [text]):
            shown = text.decode()[:40]
            return f"its sizes for {shown!r} are those of two lengths at once, or of none"
    texts = list(lengths)
    for _ in range(8):
        chosen = [texts[i] for i in rng.integers(len(texts), size=rng.integers(2, 9))]
        if not _fits(rule, host, [lengths[text] for text in chosen], chosen):
            return "its sizes for several texts do not follow from those for each"
    return rule


def _fits(rule: Rule, host: Callable, lengths: Sequence[int], texts: Sequence[bytes]) -> bool:
    return bool((rule.sizes(lengths) == sizes_of(host, texts)).all())


def _greatest(good: int, fits: Callable[[int], bool]) -> int:
    """The greatest number of repetitions up to which sizes follow the rule."""
    for bad in _LONG:
        if fits(bad):
            good = bad
            continue
        while bad - good > 1:
            middle = (good + bad) // 2
            good, bad = (middle, bad) if fits(middle) else (good, middle)
        return good
    return good
