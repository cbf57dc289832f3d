"""Logistic regression over the n-grams of texts, each weighted by its naive Bayes log-count ratio.

Wang & Manning 2012, "Baselines and Bigrams", equations 1 ff., with a logistic regression in place
of their SVM (as Mesnil et al. 2015). Of the texts of a class and all others, with f ∈ {0, 1} for
each n-gram and the weights of the texts in the sums,

    p = α + Σ f over the class,   q = α + Σ f over the others,   r = log((p / ‖p‖₁) / (q / ‖q‖₁))

A text is r ∘ f, divided by its length ‖r ∘ f‖₂, so that long and short texts weigh the same.

Such a model knows the texts that it was fitted to by heart. What learns beside it must see its
answers to texts that it does not know (Wolpert 1992, "Stacked Generalization"): so the texts are
dealt into folds, and for each fold there is another model, fitted to the texts of all others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sentiment_train.schema import TrainingExamples

_ITERATIONS = 100  # of L-BFGS, at most
_MOST_TOKENS = 20_000_000  # that are fitted to, of evenly spread texts; some 3 GB of memory
FOLD_PRIME = 8191  # see `folds_of`


@dataclass(frozen=True)
class Linear:
    """log-odds of a text = bias + Σ weights · f / √(Σ squares · f)."""

    weights: np.ndarray  # [size] float
    bias: float


@dataclass(frozen=True)
class Fitted:
    """One class against the rest; all numbers are 0 of n-grams that no text has."""

    squares: np.ndarray  # [size] float64: r² of all texts, in all models, also those of a fold
    of_all: Linear
    without_fold: list[Linear]


@dataclass(frozen=True)
class Regression:
    """How it is fitted."""

    smoothing: float  # α
    inverse_penalty: float  # C of the L2 penalty
    folds: int

    def fit(self, examples: TrainingExamples, size: int, classes: list[int]) -> list[Fitted]:
        """For each of some classes, how it is told from all others.

        Args:
          examples: all ids of a token but the first are n-grams, from 1 to `size` - 1, or 0 for
            none; no text has one twice.
        """
        from threadpoolctl import threadpool_limits

        rows = _spread(examples)
        features = presence(examples, rows, size)
        of_fold = folds_of(features, self.folds)
        labels, weights = examples.labels[rows], examples.weights[rows].astype(np.float64)
        with threadpool_limits(1):  # more would have nothing to do in sparse products, and wait
            return [
                self._fit_class(_Texts(features, labels == of, weights), of_fold) for of in classes
            ]

    def _fit_class(self, texts: _Texts, of_fold: np.ndarray) -> Fitted:
        squares = np.square(texts.ratios(self.smoothing))
        texts = texts.of_length_one(squares)
        others = (texts.chosen(of_fold != fold) for fold in range(self.folds))
        return Fitted(squares, self._fit_some(texts), [self._fit_some(some) for some in others])

    def _fit_some(self, texts: _Texts) -> Linear:
        import scipy.sparse
        from sklearn.linear_model import LogisticRegression

        if texts.inside.all() or not texts.inside.any():
            return Linear(np.zeros(texts.features.shape[1]), texts.log_odds(self.smoothing))
        ratios = texts.ratios(self.smoothing).astype(np.float32)
        model = LogisticRegression(C=self.inverse_penalty, max_iter=_ITERATIONS)
        scaled = (texts.normalised @ scipy.sparse.diags_array(ratios)).tocsr()
        model.fit(scaled, texts.inside, sample_weight=texts.weights)
        return Linear(ratios * model.coef_[0], float(model.intercept_[0]))


@dataclass(frozen=True)
class _Texts:
    """Texts and whether they are of a class; features are sparse, `[texts, size]`."""

    features: Any  # 1 or 0
    inside: np.ndarray  # [texts] bool
    weights: np.ndarray  # [texts]
    normalised: Any = None  # the features, each divided by the length of its text

    def ratios(self, smoothing: float) -> np.ndarray:
        """r `[size]`; 0 of what none of these texts has, which may well be there in others."""
        ratios = log_count_ratios(self.features, self.inside, self.weights, smoothing)
        return np.where(self.features.sum(axis=0) > 0, ratios, 0.0)

    def log_odds(self, smoothing: float) -> float:
        """Of the class, whatever the text; finite also if there are only texts of one side."""
        of_class, others = (self.weights[side].sum() for side in (self.inside, ~self.inside))
        return float(np.log((smoothing + of_class) / (smoothing + others)))

    def of_length_one(self, squares: np.ndarray) -> _Texts:
        import scipy.sparse

        lengths = np.sqrt(self.features @ squares)
        scales = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
        normalised = (scipy.sparse.diags_array(scales.astype(np.float32)) @ self.features).tocsr()
        return _Texts(self.features, self.inside, self.weights, normalised)

    def chosen(self, mask: np.ndarray) -> _Texts:
        parts = (self.features, self.inside, self.weights, self.normalised)
        return _Texts(*(part[mask] for part in parts))


def _spread(examples: TrainingExamples) -> np.ndarray:
    """The rows that are fitted to: those that have a weight; of very many evenly spread ones."""
    rows = examples.rows[examples.weights[examples.rows] > 0]
    tokens = int((examples.offsets[rows + 1] - examples.offsets[rows]).sum())
    most = len(rows) * min(1.0, _MOST_TOKENS / max(tokens, 1))
    return rows[np.linspace(0, len(rows) - 1, int(most)).astype(np.int64)]


def presence(examples: TrainingExamples, rows: np.ndarray, size: int):
    """`[rows, size] float32`, sparse: 1 where a text has an n-gram."""
    import scipy.sparse

    found, counts = [np.zeros(0, np.int32)], np.zeros(len(examples.labels), np.int64)
    for tokens, row in examples.by_token(rows):
        there = tokens[:, 1:] > 0
        found.append(tokens[:, 1:][there])
        counts += np.bincount(row, there.sum(axis=1), len(counts)).astype(np.int64)
    columns = np.concatenate(found)
    begins = np.concatenate([[0], np.cumsum(counts[rows])])
    ones = np.ones(len(columns), np.float32)
    return scipy.sparse.csr_array((ones, columns, begins), shape=(len(rows), size))


def folds_of(features, folds: int) -> np.ndarray:
    """`[texts]` from 0 to `folds` - 1: (Σ n-gram mod `FOLD_PRIME`) mod `folds` of each text.

    So a text tells its fold by itself, wherever it is met.

    Args:
      features: of `presence`.
    """
    import scipy.sparse

    digits = (features.indices % FOLD_PRIME).astype(np.int64)
    parts = (digits, features.indices, features.indptr)
    return scipy.sparse.csr_array(parts, shape=features.shape).sum(axis=1) % folds


def log_count_ratios(features, inside: np.ndarray, weights: np.ndarray, smoothing: float):
    """r of each column of features `[n, terms]`: `[terms] float64`.

    Args:
      inside: `[n] bool`, the texts of the class.
      weights: `[n]` of the texts.
      smoothing: α.
    """
    p = smoothing + features.T @ (weights * inside)
    q = smoothing + features.T @ (weights * ~inside)
    return np.log((p / p.sum()) / (q / q.sum()))
