"""What a user would type first: linear models of scikit-learn over words and word pairs.

tfidf: TF-IDF of words and pairs (sublinear), logistic regression.
nb: presence of words, pairs and triples, weighted by their naive Bayes log-count ratio (Wang and
  Manning 2012), logistic regression in place of their SVM.

The settings are those with the best validation accuracy on the packaged reviews or tweets; what it
took to find them is not counted, which is to the good of the linear models.
"""

from __future__ import annotations

import json
import pathlib

from benchmarks import processes

# Signs count as words: half a point more than without them.
_WORDS_AND_SIGNS = r"\w+(?:'\w+)?|[^\w\s]"


def measure(kind: str, examples: str, inverse_penalty: float) -> dict:
    """Fits on the training texts and answers the others.

    Args:
      kind: tfidf | nb.
      examples: path of `{"train": {"texts": […], "labels": [str, …]}, "validation": …}`.
      inverse_penalty: `C` of scikit-learn's `LogisticRegression`.

    Returns:
      The accuracy on validation and test, and the `macro_f1` on test.
    """
    from sklearn.metrics import f1_score

    splits = json.loads(pathlib.Path(examples).read_text(encoding="utf-8"))
    texts, labels = splits["train"]["texts"], splits["train"]["labels"]
    fit = {"tfidf": _tfidf, "nb": _naive_bayes_weighted}[kind]
    features_of, model = fit(texts, labels, inverse_penalty)
    answers = {n: model.predict(features_of(splits[n]["texts"])) for n in ("validation", "test")}
    found = {n: float((a == splits[n]["labels"]).mean()) for n, a in answers.items()}
    macro_f1 = f1_score(splits["test"]["labels"], answers["test"], average="macro")
    return {**found, "macro_f1": float(macro_f1)}


def _tfidf(texts, labels, inverse_penalty):
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    vectorizer = TfidfVectorizer(
        ngram_range=(1, 2), min_df=2, sublinear_tf=True, token_pattern=_WORDS_AND_SIGNS
    )
    features = vectorizer.fit_transform(texts)
    model = LogisticRegression(C=inverse_penalty, max_iter=1000)
    return vectorizer.transform, model.fit(features, labels)


def _naive_bayes_weighted(texts, labels, inverse_penalty):
    """For two classes."""
    import numpy as np
    from scipy import sparse
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    vectorizer = CountVectorizer(
        ngram_range=(1, 3), min_df=2, binary=True, token_pattern=_WORDS_AND_SIGNS
    )
    counts = vectorizer.fit_transform(texts)  # [n, terms]
    inside = np.array(labels) == max(labels)
    p, q = (1.0 + np.asarray(counts[rows].sum(axis=0))[0] for rows in (inside, ~inside))
    weights = sparse.diags(np.log((p / p.sum()) / (q / q.sum())))
    model = LogisticRegression(C=inverse_penalty, max_iter=1000)
    model.fit(counts @ weights, labels)
    return lambda texts: vectorizer.transform(texts) @ weights, model


if __name__ == "__main__":
    processes.answer(measure)
