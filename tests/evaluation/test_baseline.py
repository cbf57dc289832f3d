"""The baselines on real sentences, and how their answers are kept."""

import numpy as np
import pytest

from sentiment_train.data.sources.packaged import PackagedReviews
from sentiment_train.data.splits import Splits, split
from sentiment_train.data.store import EncodedSplit
from sentiment_train.errors import DataError
from sentiment_train.evaluation.baseline import NoBaseline, fit_baseline, rows_to_fit
from sentiment_train.evaluation.kept_baseline import baseline_of


def encoded(texts, labels, weights=None):
    """A split of which only texts, labels and weights are looked at."""
    weights = np.ones(len(texts)) if weights is None else weights
    nothing = np.zeros(0, np.int32)
    labels, weights = np.asarray(labels, np.int32), np.asarray(weights, np.float32)
    return EncodedSplit(nothing, nothing, labels, weights, texts)


@pytest.fixture(scope="module")
def reviews():
    """Real sentences; 0 is negative, 1 is positive."""
    found = split(PackagedReviews("rotten_tomatoes"), Splits())
    return {
        name: encoded([e.text for e in rows], [found.class_names.index(e.label) for e in rows])
        for name, rows in found.splits.items()
    }


def rows_of(splits, most=None):
    return rows_to_fit(splits["train"], np.arange(len(splits["train"])), most)


def accuracy(splits, answers, name="test"):
    return np.mean(answers[name] == splits[name].labels)


@pytest.mark.parametrize("kind", ["tfidf", "nb"])
def test_on_real_sentences_it_is_as_good_as_such_models_are(reviews, kind):
    found = fit_baseline(kind, reviews, rows_of(reviews))
    assert found.answers.keys() == {"validation", "test"}
    assert accuracy(reviews, found.answers) > 0.76  # Wang and Manning: 78 to 79 % with all data
    assert found.facts["training_examples"] == 6826
    assert found.facts["terms"] > 10_000
    assert found.facts["seconds"] > 0


# Each word says a class; the words that all texts share say nothing.
WORDS = {0: "bad awful", 1: "good lovely", 2: "so middling"}


@pytest.mark.parametrize("kind", ["tfidf", "nb"])
@pytest.mark.parametrize("labels", [(0, 1), (0, 1, 2), (0, 2)])
def test_classes_come_back_by_their_number(kind, labels):
    texts = [f"the film was {WORDS[label]}" for label in labels] * 10
    train = encoded(texts, list(labels) * 10)
    test = encoded([WORDS[label] for label in labels], labels)
    found = fit_baseline(kind, {"train": train, "test": test}, np.arange(len(train)))
    assert found.answers["test"].tolist() == list(labels)


@pytest.mark.parametrize("kind", ["tfidf", "nb"])
@pytest.mark.parametrize("heavier", [0, 1])
def test_of_equal_texts_with_two_labels_the_heavier_label_wins(kind, heavier):
    labels = np.array([0, 1] * 10)
    train = encoded(["a film"] * 20, labels, np.where(labels == heavier, 3.0, 1.0))
    test = encoded(["a film"], [0])
    found = fit_baseline(kind, {"train": train, "test": test}, np.arange(20))
    assert found.answers["test"].tolist() == [heavier]


def test_with_naive_bayes_an_integer_weight_counts_like_repeated_rows(reviews):
    texts = list(reviews["train"].texts[::20]) * 2
    labels = np.tile(reviews["train"].labels[::20], 2)
    weights = np.tile(np.random.default_rng(0).integers(1, 4, len(texts) // 2), 2)
    rows = np.repeat(np.arange(len(texts)), weights)
    weighted = {**reviews, "train": encoded(texts, labels, weights)}
    repeated = {**reviews, "train": encoded([texts[i] for i in rows], labels[rows])}
    one, other = (fit_baseline("nb", of, rows_of(of)) for of in (weighted, repeated))
    assert one.facts["terms"] == other.facts["terms"]
    assert np.mean(one.answers["test"] == other.answers["test"]) > 0.995  # but for rounding


def test_rows_are_those_trained_on_with_a_weight_and_evenly_spread():
    train = encoded(["x"] * 10, [0] * 10, [1, 0] * 5)
    assert rows_to_fit(train, np.arange(8), None).tolist() == [0, 2, 4, 6]
    assert rows_to_fit(train, np.arange(10), 3).tolist() == [0, 4, 8]


def test_many_classes_or_characters_make_the_rows_fewer(monkeypatch):
    from sentiment_train.evaluation import baseline

    train = encoded(["x" * 100] * 40, [0, 1, 2, 3] * 10)
    monkeypatch.setattr(baseline, "_MOST_SCORES", 80)
    assert len(rows_to_fit(train, np.arange(40), None)) == 20
    monkeypatch.setattr(baseline, "_MOST_CHARACTERS", 500)
    assert rows_to_fit(train, np.arange(40), None).tolist() == [0, 8, 18, 28, 39]
    assert len(rows_to_fit(train, np.arange(40), 3)) == 3


@pytest.mark.parametrize("kind", ["tfidf", "nb"])
def test_terms_texts_and_iterations_are_bounded(kind, small, monkeypatch):
    from sentiment_train.evaluation import baseline

    whole = fit_baseline(kind, small, rows_of(small))
    assert whole.facts["converged"]
    monkeypatch.setattr(baseline, "_CHUNK", 7)  # texts are answered one by one all the same
    again = fit_baseline(kind, small, rows_of(small))
    np.testing.assert_array_equal(again.answers["test"], whole.answers["test"])
    monkeypatch.setattr(baseline, "_MOST_COEFFICIENTS", 100)
    monkeypatch.setattr(baseline, "_ITERATIONS", 1)
    bounded = fit_baseline(kind, small, rows_of(small))  # without a warning of scikit-learn
    assert bounded.facts["terms"] == 50  # of two classes
    assert not bounded.facts["converged"]
    monkeypatch.setattr(baseline, "_LONGEST_TEXT", 0)
    with pytest.raises(NoBaseline, match="no word"):
        fit_baseline(kind, small, rows_of(small))


def test_a_thousand_classes_take_seconds():
    texts = [f"word{label} of class{label}" for label in range(1000)] * 3
    train = encoded(texts, list(range(1000)) * 3)
    test = encoded(texts[:50], range(50))
    splits = {"train": train, "validation": test, "test": test}
    found = fit_baseline("tfidf", splits, rows_of(splits))
    assert found.facts["terms"] == 2000
    assert found.facts["inverse_penalty"] == 4.0  # not chosen
    assert found.facts["seconds"] < 60


@pytest.mark.parametrize(
    "texts, labels, why",
    [(["a b", "a b"], [1, 1], "one class"), (["a", "b"], [0, 1], "two training texts")],
)
def test_where_there_can_be_none_it_says_why(texts, labels, why):
    train = encoded(texts, labels)
    with pytest.raises(NoBaseline, match=why):
        fit_baseline("tfidf", {"train": train, "test": train}, np.arange(2))


@pytest.fixture
def small(reviews):
    return {
        name: encoded(of.texts[:: len(of) // 400][:400], of.labels[:: len(of) // 400][:400])
        for name, of in reviews.items()
    }


def test_the_same_texts_are_fitted_once(small, tmp_path, monkeypatch):
    said = []
    first = baseline_of("tfidf", small, rows_of(small), str(tmp_path), said.append)
    assert len(said) == 1
    assert "400 texts (kept for the next run)" in said[0]
    again = baseline_of("tfidf", small, rows_of(small), str(tmp_path), said.append)
    assert len(said) == 1
    assert again.facts == first.facts
    for name, answers in first.answers.items():
        np.testing.assert_array_equal(again.answers[name], answers)

    baseline_of("nb", small, rows_of(small), str(tmp_path), said.append)
    baseline_of("tfidf", small, rows_of(small, 300), str(tmp_path), said.append)
    other = encoded(["another text", *small["test"].texts[1:]], small["test"].labels)
    baseline_of("tfidf", {**small, "test": other}, rows_of(small), str(tmp_path), said.append)
    assert len(said) == 4


def test_a_damaged_file_is_fitted_again(small, tmp_path):
    said = []
    first = baseline_of("tfidf", small, rows_of(small), str(tmp_path), said.append)
    kept = next(tmp_path.glob("baseline-*.npz"))
    content = kept.read_bytes()
    flipped = [bytearray(content) for _ in range(4)]
    for copy, at in zip(flipped, (8, 40, len(content) // 2, len(content) - 1), strict=True):
        copy[at] ^= 1
    for damaged in (b"", content[:100], content[: len(content) // 2] + b"\0\0" * 9, *flipped):
        kept.write_bytes(damaged)
        said.clear()
        again = baseline_of("tfidf", small, rows_of(small), str(tmp_path), said.append)
        assert said[0].startswith("damaged, fitted again")
        np.testing.assert_array_equal(again.answers["test"], first.answers["test"])
    assert not list(tmp_path.glob("*.partial"))


def test_a_cache_that_cannot_be_written_is_one_message(small, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"--cache_dir, or set Report.baseline = 'none'"):
        baseline_of("tfidf", small, rows_of(small), str(tmp_path / "file"), print)
