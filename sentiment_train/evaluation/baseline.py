"""What a linear model of word counts reaches on the same splits: the least a network should beat.

`tfidf`: TF-IDF of words and pairs of words, logistic regression.
`nb`: presence of words and pairs, weighted by their naive Bayes log-count ratio (Wang and Manning,
"Baselines and Bigrams", 2012), logistic regression in place of their SVM.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sentiment_train.data.store import EncodedSplit

DESCRIPTIONS = {
    "tfidf": "TF-IDF of words and word pairs + logistic regression",
    "nb": "naive-Bayes-weighted words and word pairs + logistic regression",
}
# The inverse strength C of the L2 penalty is chosen by validation accuracy; without a validation
# split it is the second.
_STRENGTHS = {"tfidf": (1.0, 4.0, 16.0, 64.0), "nb": (0.1, 1.0, 4.0)}
_TERMS = {"ngram_range": (1, 2), "min_df": 2, "token_pattern": r"(?u)\b\w+\b"}
_ALPHA = 1.0  # smoothing of the log-count ratio
_ITERATIONS = 1000


class NoBaseline(Exception):
    """The training split is not enough for one; the message says why."""


@dataclass(frozen=True)
class Baseline:
    """What it answered, and what is said about it."""

    answers: dict[str, np.ndarray]  # by split, [n] int32
    facts: dict  # JSON values: terms, training examples, penalty, seconds


def fit_baseline(kind: str, splits: dict[str, EncodedSplit], rows: np.ndarray) -> Baseline:
    """Fits on rows of the training split, with their weights, and answers all other splits.

    Args:
      kind: `tfidf` or `nb`.
      rows: indices into the training split.

    Raises:
      NoBaseline: if the rows are of one class, or no word is in two of them.
    """
    from threadpoolctl import threadpool_limits

    started = time.monotonic()
    train = splits["train"]
    labels, weights = train.labels[rows], train.weights[rows].astype(np.float64)
    if len(np.unique(labels)) < 2:
        raise NoBaseline("all training examples that have a weight are of one class")
    others = {name: split for name, split in splits.items() if name != "train"}
    # More threads have nothing to do in sparse products, and on a busy machine wait for each other.
    with threadpool_limits(1):
        fitted = {"tfidf": _Tfidf, "nb": _NaiveBayesWeighted}[kind]
        model = fitted([train.texts[row] for row in rows], labels, weights)
        features = {name: model.features(_texts(split)) for name, split in others.items()}
        if "validation" in others:
            strength, answer = _best(model, kind, features["validation"], others["validation"])
        else:
            strength = _STRENGTHS[kind][1]
            answer = model.fitted(strength)
        answers = {name: answer(values).astype(np.int32) for name, values in features.items()}
    facts = {
        "training_examples": len(rows),
        "terms": model.terms,
        "inverse_penalty": strength,
        "seconds": round(time.monotonic() - started, 2),
    }
    return Baseline(answers, facts)


def rows_to_fit(train: EncodedSplit, trained: np.ndarray, most: int | None) -> np.ndarray:
    """Of the rows that are trained on those that have a weight; at most so many, evenly spread."""
    rows = trained[train.weights[trained] > 0]
    if most is None or len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).astype(int)]


def source_code() -> str:
    """Of this module: what is kept of a baseline is of no use once it has changed."""
    return inspect.getsource(inspect.getmodule(source_code))


def _texts(split: EncodedSplit) -> Sequence[str]:
    return [split.texts[row] for row in range(len(split))]


def _best(model, kind: str, features, validation: EncodedSplit):
    """The penalty with the best validation accuracy (the strongest of equals), and its model."""
    from sklearn.metrics import accuracy_score

    best = None
    for strength in _STRENGTHS[kind]:
        answer = model.fitted(strength)
        accuracy = accuracy_score(
            validation.labels, answer(features), sample_weight=validation.weights
        )
        if best is None or accuracy > best[0]:
            best = accuracy, strength, answer
    return best[1:]


def _counted(vectorizer, texts: Sequence[str]):
    """The fitted features of the training texts."""
    try:
        return vectorizer.fit_transform(texts)
    except ValueError:  # scikit-learn: the vocabulary is empty
        raise NoBaseline("no word occurs in two training texts") from None


class _Tfidf:
    """1 + log(count), times the inverse document frequency, each text of length 1."""

    def __init__(self, texts: Sequence[str], labels: np.ndarray, weights: np.ndarray):
        from sklearn.feature_extraction.text import TfidfVectorizer

        vectorizer = TfidfVectorizer(sublinear_tf=True, **_TERMS)
        self.train = _counted(vectorizer, texts)  # [n, terms]
        self.labels, self.weights = labels, weights
        self.features, self.terms = vectorizer.transform, self.train.shape[1]

    def fitted(self, strength: float) -> Callable:
        """A function from features `[n, terms]` to classes `[n]`."""
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(C=strength, max_iter=_ITERATIONS)
        return model.fit(self.train, self.labels, sample_weight=self.weights).predict


class _NaiveBayesWeighted:
    """x = r ∘ f: each term that is there counts as its log-count ratio, one class against the rest.

    Equation 1 ff. of Wang and Manning: p = α + Σ f over the class, q = α + Σ f over the rest,
    r = log((p / ‖p‖₁) / (q / ‖q‖₁)), with f ∈ {0, 1} and the examples' weights in the sums.
    """

    def __init__(self, texts: Sequence[str], labels: np.ndarray, weights: np.ndarray):
        from sklearn.feature_extraction.text import CountVectorizer

        vectorizer = CountVectorizer(binary=True, dtype=np.float64, **_TERMS)
        self.train = _counted(vectorizer, texts)  # [n, terms]
        self.labels, self.weights = labels, weights
        self.features, self.terms = vectorizer.transform, self.train.shape[1]
        classes = np.unique(labels)
        self.sides = classes[1:] if len(classes) == 2 else classes  # two need only one model
        self.classes = classes

    def _ratio(self, inside: np.ndarray) -> np.ndarray:
        p = _ALPHA + self.train.T @ (self.weights * inside)  # [terms]
        q = _ALPHA + self.train.T @ (self.weights * ~inside)
        return np.log((p / p.sum()) / (q / q.sum()))

    def fitted(self, strength: float) -> Callable:
        """A function from features `[n, terms]` to classes `[n]`."""
        from sklearn.linear_model import LogisticRegression

        models = []
        for side in self.sides:
            ratio = self._ratio(self.labels == side)
            model = LogisticRegression(C=strength, max_iter=_ITERATIONS)
            model.fit(self.train.multiply(ratio).tocsr(), self.labels == side, self.weights)
            models.append((ratio, model))

        def answer(features):
            scores = np.stack(
                [m.decision_function(features.multiply(r).tocsr()) for r, m in models], axis=1
            )  # [n, sides]
            if len(models) == 1:
                return self.classes[(scores[:, 0] > 0).astype(int)]
            return self.classes[scores.argmax(axis=1)]

        return answer
