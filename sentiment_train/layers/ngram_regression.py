"""Logistic regression over the n-grams of texts, each weighted by its naive Bayes log-count ratio.

Wang & Manning 2012, "Baselines and Bigrams", equations 1 ff., with a logistic regression in place
of their SVM (as Mesnil et al. 2015). Of the texts of a class and all others, with f ∈ {0, 1} for
each n-gram and the weights of the texts in the sums,

    p = α + Σ f over the class,   q = α + Σ f over the others,   r = log((p / ‖p‖₁) / (q / ‖q‖₁))

A text is r ∘ f, divided by its length ‖r ∘ f‖₂, so that long and short texts weigh the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sentiment_train.schema import TrainingExamples

_ITERATIONS = 100  # of L-BFGS, at most
_MOST_TOKENS = 20_000_000  # that are fitted to, of evenly spread texts; some 3 GB of memory


@dataclass(frozen=True)
class Fitted:
    """log-odds of a text = bias + Σ weights · f / √(Σ squares · f), each `[buckets] float32`.

    Both are 0 of what too few texts have, and of bucket 0, which is no n-gram.
    """

    weights: np.ndarray
    squares: np.ndarray
    bias: float


@dataclass(frozen=True)
class Regression:
    """What is fitted, one class against the rest."""

    smoothing: float  # α
    least_texts: int  # an n-gram of fewer training texts is left out
    inverse_penalty: float  # C of the L2 penalty

    def fit(self, examples: TrainingExamples, buckets: int, classes: list[int]) -> list[Fitted]:
        """For each of some classes, how it is told from all others.

        Args:
          examples: all ids of a token but the first are n-grams, from 1 to `buckets` - 1, or 0 for
            none; no text has one twice.
        """
        from threadpoolctl import threadpool_limits

        rows = _spread(examples)
        features = presence(examples, rows, buckets)
        texts = np.bincount(features.indices, minlength=buckets)  # that have an n-gram
        kept = np.flatnonzero(texts >= self.least_texts)
        features = features[:, kept]
        labels, weights = examples.labels[rows], examples.weights[rows].astype(np.float64)
        # More threads would have nothing to do in sparse products, and wait for each other.
        with threadpool_limits(1):
            return [self._fit_one(features, labels == of, weights, kept, buckets) for of in classes]

    def _fit_one(self, features, inside, weights, kept, buckets: int) -> Fitted:
        import scipy.sparse
        from sklearn.linear_model import LogisticRegression

        table, squares = np.zeros(buckets, np.float32), np.zeros(buckets, np.float32)
        if inside.all() or not inside.any() or not len(kept):
            return Fitted(table, squares, 0.0)
        ratios = log_count_ratios(features, inside, weights, self.smoothing).astype(np.float32)
        squares[kept] = np.square(ratios)
        lengths = np.sqrt(features @ squares[kept])
        scales = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
        features = scipy.sparse.diags_array(scales) @ features @ scipy.sparse.diags_array(ratios)
        model = LogisticRegression(C=self.inverse_penalty, max_iter=_ITERATIONS)
        model.fit(features.tocsr(), inside, sample_weight=weights)
        table[kept] = ratios * model.coef_[0]
        return Fitted(table, squares, float(model.intercept_[0]))


def _spread(examples: TrainingExamples) -> np.ndarray:
    """The rows that are fitted to: those that have a weight; of very many evenly spread ones."""
    rows = examples.rows[examples.weights[examples.rows] > 0]
    tokens = int((examples.offsets[rows + 1] - examples.offsets[rows]).sum())
    most = len(rows) * min(1.0, _MOST_TOKENS / max(tokens, 1))
    return rows[np.linspace(0, len(rows) - 1, int(most)).astype(np.int64)]


def presence(examples: TrainingExamples, rows: np.ndarray, buckets: int):
    """`[rows, buckets] float32`, sparse: 1 where a text has an n-gram."""
    import scipy.sparse

    found, counts = [np.zeros(0, np.int32)], np.zeros(len(examples.labels), np.int64)
    for tokens, row in examples.by_token(rows):
        there = tokens[:, 1:] > 0
        found.append(tokens[:, 1:][there])
        counts += np.bincount(row, there.sum(axis=1), len(counts)).astype(np.int64)
    columns = np.concatenate(found)
    begins = np.concatenate([[0], np.cumsum(counts[rows])])
    ones = np.ones(len(columns), np.float32)
    return scipy.sparse.csr_array((ones, columns, begins), shape=(len(rows), buckets))


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
