"""What a linear model of word counts reaches on the same splits: the least a network should beat.

`tfidf`: TF-IDF of words and pairs of words, logistic regression.
`nb`: presence of words and pairs, weighted by their naive Bayes log-count ratio (Wang and Manning,
"Baselines and Bigrams", 2012), logistic regression in place of their SVM.

Memory and time are bounded, whatever the data: of texts, rows, terms and iterations there are at
most so many (the constants below).
"""

from __future__ import annotations

import inspect
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sentiment_train.data.store import EncodedSplit
from sentiment_train.layers.ngram_regression import log_count_ratios

DESCRIPTIONS = {
    "tfidf": "TF-IDF of words and word pairs + logistic regression",
    "nb": "naive-Bayes-weighted words and word pairs + logistic regression",
}
# The inverse strength C of the L2 penalty is chosen by validation accuracy; without a validation
# split, or with many classes, it is the second.
_STRENGTHS = {"tfidf": (1.0, 4.0, 16.0, 64.0), "nb": (0.1, 1.0, 4.0)}
_MOST_CLASSES_TO_CHOOSE = 20
_TERMS = {"ngram_range": (1, 2), "min_df": 2, "token_pattern": r"(?u)\b\w+\b"}
_ALPHA = 1.0  # smoothing of the log-count ratio
_ITERATIONS = 200
_LONGEST_TEXT = 20_000  # characters; what follows is not read
_MOST_CHARACTERS = 60_000_000  # of all training texts: every pair of words is counted at first
_MOST_TERMS = 1_000_000  # the commonest
_MOST_COEFFICIENTS = 2_000_000  # classes × terms
_MOST_SCORES = 10_000_000  # classes × training texts: one number of each at every iteration
_CHUNK = 10_000  # texts that are answered at a time; with many classes fewer


class NoBaseline(Exception):
    """The training split is not enough for one; the message says why."""


@dataclass(frozen=True)
class Baseline:
    """What it answered, and what is said about it."""

    answers: dict[str, np.ndarray]  # by split, [n] int32
    facts: dict  # JSON values: terms, training examples, penalty, convergence, seconds


def fit_baseline(kind: str, splits: dict[str, EncodedSplit], rows: np.ndarray) -> Baseline:
    """Fits on rows of the training split, with their weights, and answers all other splits.

    Args:
      kind: `tfidf` or `nb`.
      rows: indices into the training split, of `rows_to_fit`.

    Raises:
      NoBaseline: if the rows are of one class, or no word is in two of them.
    """
    from threadpoolctl import threadpool_limits

    started = time.monotonic()
    train = splits["train"]
    labels, weights = train.labels[rows], train.weights[rows].astype(np.float64)
    classes = len(np.unique(labels))
    if classes < 2:
        raise NoBaseline("all training examples that have a weight are of one class")
    others = {name: split for name, split in splits.items() if name != "train"}
    # More threads have nothing to do in sparse products, and on a busy machine wait for each other.
    with threadpool_limits(1):
        fitted = {"tfidf": _Tfidf, "nb": _NaiveBayesWeighted}[kind]
        model = fitted([_text(train, row) for row in rows], labels, weights)
        strengths = _STRENGTHS[kind]
        if "validation" not in others or classes > _MOST_CLASSES_TO_CHOOSE:
            strengths = strengths[1:2]
        candidates = [model.fitted(strength) for strength in strengths]
        best, answers = 0, {}
        if "validation" in others:
            best, answers["validation"] = _best(model, candidates, others.pop("validation"))
        for name, split in others.items():
            (answers[name],) = _answers(model, candidates[best : best + 1], split)
    facts = {
        "training_examples": len(rows),
        "terms": model.terms,
        "inverse_penalty": strengths[best],
        "converged": candidates[best].converged,
        "seconds": round(time.monotonic() - started, 2),
    }
    return Baseline(answers, facts)


def rows_to_fit(train: EncodedSplit, trained: np.ndarray, most: int | None) -> np.ndarray:
    """Of the rows that are trained on those that have a weight; at most so many, evenly spread.

    With very many classes or characters they are fewer than `most`.
    """
    rows = trained[train.weights[trained] > 0]
    classes = max(1, len(np.unique(train.labels[rows])))
    rows = _spread(rows, min(most or len(rows), _MOST_SCORES // classes))
    characters = sum(len(_text(train, row)) for row in rows)
    return _spread(rows, int(len(rows) * min(1.0, _MOST_CHARACTERS / max(characters, 1))))


def _spread(rows: np.ndarray, most: int) -> np.ndarray:
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).astype(int)]


def source_code() -> str:
    """What is kept of a baseline is of no use once this module or its ratios have changed."""
    return "".join(map(inspect.getsource, (inspect.getmodule(source_code), log_count_ratios)))


def _text(split: EncodedSplit, row: int) -> str:
    return split.texts[row][:_LONGEST_TEXT]


@dataclass(frozen=True)
class _Candidate:
    """A fitted model: from features `[n, terms]` to classes `[n]`."""

    answer: Callable
    converged: bool  # before the last iteration that is allowed


def _answers(model, candidates: Sequence[_Candidate], split: EncodedSplit) -> Iterator[np.ndarray]:
    """The classes `[n] int32` that each candidate answers; the texts are read once, in chunks."""
    chunk = max(1, min(_CHUNK, _MOST_SCORES // len(model.classes)))
    answers = np.zeros((len(candidates), len(split)), np.int32)
    for start in range(0, len(split), chunk):
        rows = range(start, min(start + chunk, len(split)))
        features = model.features([_text(split, row) for row in rows])
        for own, candidate in zip(answers, candidates, strict=True):
            own[rows.start : rows.stop] = candidate.answer(features)
    yield from answers


def _best(
    model, candidates: Sequence[_Candidate], validation: EncodedSplit
) -> tuple[int, np.ndarray]:
    """Which one has the best validation accuracy (the first of equals), and its answers."""
    from sklearn.metrics import accuracy_score

    answers = list(_answers(model, candidates, validation))
    accuracies = [
        accuracy_score(validation.labels, own, sample_weight=validation.weights) for own in answers
    ]
    best = int(np.argmax(accuracies))
    return best, answers[best]


def _counted(vectorizer, texts: Sequence[str], classes: int):
    """The fitted features of the training texts; with many classes of fewer terms."""
    vectorizer.set_params(max_features=min(_MOST_TERMS, max(1, _MOST_COEFFICIENTS // classes)))
    try:
        return vectorizer.fit_transform(texts)
    except ValueError:  # scikit-learn: the vocabulary is empty
        raise NoBaseline("no word occurs in two training texts") from None


def _regression(strength: float, features, labels, weights) -> tuple[object, bool]:
    """A logistic regression, and whether it converged."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=strength, max_iter=_ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is told by the facts
        model.fit(features, labels, sample_weight=weights)
    return model, bool(model.n_iter_.max() < _ITERATIONS)


class _Tfidf:
    """1 + log(count), times the inverse document frequency, each text of length 1."""

    def __init__(self, texts: Sequence[str], labels: np.ndarray, weights: np.ndarray):
        from sklearn.feature_extraction.text import TfidfVectorizer

        self.classes = np.unique(labels)
        vectorizer = TfidfVectorizer(sublinear_tf=True, **_TERMS)
        self.train = _counted(vectorizer, texts, len(self.classes))  # [n, terms]
        self.labels, self.weights = labels, weights
        self.features, self.terms = vectorizer.transform, self.train.shape[1]

    def fitted(self, strength: float) -> _Candidate:
        model, converged = _regression(strength, self.train, self.labels, self.weights)
        return _Candidate(model.predict, converged)


class _NaiveBayesWeighted:
    """x = r ∘ f: each term that is there counts as its log-count ratio, one class against the rest.

    The equations of Wang and Manning are in `layers.ngram_regression`.
    """

    def __init__(self, texts: Sequence[str], labels: np.ndarray, weights: np.ndarray):
        from sklearn.feature_extraction.text import CountVectorizer

        classes = np.unique(labels)
        vectorizer = CountVectorizer(binary=True, dtype=np.float64, **_TERMS)
        self.train = _counted(vectorizer, texts, len(classes))  # [n, terms]
        self.labels, self.weights = labels, weights
        self.features, self.terms = vectorizer.transform, self.train.shape[1]
        self.sides = classes[1:] if len(classes) == 2 else classes  # two need only one model
        self.classes = classes

    def fitted(self, strength: float) -> _Candidate:
        models, all_converged = [], True
        for side in self.sides:
            inside = self.labels == side
            ratio = log_count_ratios(self.train, inside, self.weights, _ALPHA)
            weighted = self.train.multiply(ratio).tocsr()
            model, converged = _regression(strength, weighted, inside, self.weights)
            models.append((ratio, model))
            all_converged &= converged

        def answer(features):
            scores = np.stack(
                [m.decision_function(features.multiply(r).tocsr()) for r, m in models], axis=1
            )  # [n, sides]
            if len(models) == 1:
                return self.classes[(scores[:, 0] > 0).astype(int)]
            return self.classes[scores.argmax(axis=1)]

        return _Candidate(answer, all_converged)
