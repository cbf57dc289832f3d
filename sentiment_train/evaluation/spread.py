"""How far the embeddings of different texts lie apart, and a warning when they fall together.

Fine-tuning a sentence encoder at the learning rate of a fresh network (Adam, 1e-3) can make it give
one vector for every text: the loss then stays at that of the class shares
(https://github.com/tensorflow/hub/issues/688). Accuracy shows that late, the spread at once.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

MOST_TEXTS = 512
COLLAPSED = 0.1  # a share of the spread before the training


def spread_of(embeddings: np.ndarray) -> float:
    """embeddings `[texts, dimension]` → about 1 if they point everywhere alike, 0 if all are one.

    Chen & He 2021 ("Exploring Simple Siamese Representation Learning", section 4.1) measure a
    collapse so: the standard deviation over the texts of the l2-normalised vectors, mean over the
    dimensions, which is 1 / √dimension for isotropic ones. Times √dimension.
    """
    vectors = np.asarray(embeddings, np.float64)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = vectors / np.maximum(norms, 1e-12)
    return float(vectors.std(axis=0).mean() * np.sqrt(vectors.shape[1]))


def rows_looked_at(texts: int) -> np.ndarray:
    """`[at most 512] int64` rows of a split of `texts` rows, evenly spaced, the same every time."""
    return np.unique(np.linspace(0, texts - 1, min(texts, MOST_TEXTS)).astype(np.int64))


class SpreadWatch:
    """Measures the spread, and warns when it falls under a tenth of what it was.

    It warns once for each fall: only after the spread has risen above the limit, a new one counts.

    Args:
      measure: gives the spread of the current weights.
      warn: takes a text.
    """

    def __init__(self, measure: Callable[[], float], warn: Callable[[str], None]):
        self.measure, self.warn = measure, warn
        self._fallen = False

    def look(self, at_start: float) -> float:
        """The spread now.

        Args:
          at_start: what it was before the training; below 0 if that is not known.
        """
        now = self.measure()
        fallen = now < COLLAPSED * at_start
        if fallen and not self._fallen:
            self.warn(
                f"the embeddings of different texts fall together: their spread is {now:.3g}, it"
                f" was {at_start:.3g} before the training. The encoder learns too fast: lower"
                " SentenceEncoderClassifier.encoder_learning_rate (of other models"
                " ParameterGroup.learning_rate) to something between 1e-5 and 1e-4, give it a"
                " warm-up, and start with a new --model_dir."
            )
        self._fallen = fallen
        return now
