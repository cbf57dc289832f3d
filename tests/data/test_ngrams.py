"""N-grams against a reference in plain Python, and what a store makes of them."""

import collections

import numpy as np
import pytest

from sentiment_train import overview
from sentiment_train.data import encoders, ngrams
from sentiment_train.data.encoders import WordEncoder
from sentiment_train.data.ngrams import NGramEncoder
from sentiment_train.data.prepare import prepare
from sentiment_train.data.splits import Splits
from sentiment_train.data.text import TextRules
from sentiment_train.data.vocabulary import Vocabulary
from sentiment_train.errors import ConfigError, DataError
from sentiment_train.schema import Encoder, FittedEncoder

ARRAYS = {
    "floats": np.zeros(3),
    "pickled": np.array([None]),
    "twice": np.array([5, 5]),
    "negative": np.array([-1]),
}
MULTIPLIER = 0x9E3779B97F4A7C15
TEXTS = [
    "",
    "so",
    "so good",
    "not good not good not good",  # equal n-grams of every order
    "名前 naïve 😀 名前 naïve unseen",
    "a b c d e f g h i j",
]


@pytest.fixture(scope="module")
def digit_of(tf):
    return lambda word: int(tf.strings.to_hash_bucket_fast([word], 2**63 - 1)[0])


def hash_of(words, digit_of):
    number = len(words)
    for word in words:
        number = (number * MULTIPLIER + digit_of(word)) % 2**64
    return number >> 1


def words_of_ngrams(text, rules):
    """`[words][orders]` tuples of words, None where there is none, of text without punctuation."""
    words = text.split()
    found = [
        [tuple(words[end - order : end]) if end >= order else None for order in rules.orders]
        for end in range(1, len(words) + 1)
    ]
    if (limit := rules.max_length) is not None and len(found) > limit:
        found = found[: limit // 2] + found[len(found) - (limit - limit // 2) :]
    met = set()
    for row in found:
        for column, ngram in enumerate(row):
            row[column] = None if ngram in met else ngram
            met.add(ngram)
    return found or [[None] * len(rules.orders)]


def learned(texts, rules, digit_of):
    """The ids of n-grams, by their words."""
    having = collections.Counter()
    for text in texts:
        words = text.split()
        having.update(
            {tuple(words[i : i + n]) for n in rules.orders for i in range(len(words) - n + 1)}
        )
    enough = [ngram for ngram, count in having.items() if count >= rules.least_texts]
    enough.sort(key=lambda ngram: (-having[ngram], hash_of(ngram, digit_of)))
    return {ngram: 1 + i for i, ngram in enumerate(enough[: rules.most_ngrams])}


@pytest.mark.parametrize("max_length", [None, 3], ids=["whole", "cut"])
@pytest.mark.parametrize("orders", [(1, 2, 3), (2,), (4, 1)], ids=str)
@pytest.mark.parametrize("kept", [(1, 100), (1, 4), (2, 100), (9, 9)], ids=str)
def test_ngrams_are_those_of_a_plain_python_reference(tf, digit_of, max_length, orders, kept):
    rules = NGramEncoder(orders, *kept, WordEncoder(max_length=max_length))
    encoder = rules.fit([*TEXTS, "so good so good"])
    ids = learned([*TEXTS, "so good so good"], rules, digit_of)
    assert encoder.size == 1 + len(ids)
    tokens = encoder.encode(tf.constant([*TEXTS, "never met so"]))
    assert tokens.dtype == tf.int32
    found = [[word[1:] for word in row] for row in tokens.to_list()]
    assert found == [
        [[ids.get(ngram, 0) for ngram in row] for row in words_of_ngrams(text, rules)]
        for text in [*TEXTS, "never met so"]
    ]


def test_of_very_many_ngrams_the_rare_ones_are_forgotten_while_counting(monkeypatch, tf):
    monkeypatch.setattr(ngrams, "_MOST_COUNTED", 500)
    monkeypatch.setattr(encoders, "_TEXTS_PER_CALL", 50)
    texts = [f"good {i}" if i % 2 else f"bad {i}" for i in range(1000)]
    rules = NGramEncoder((1, 2), least_texts=1, most_ngrams=250)
    encoder = rules.fit(texts)
    assert encoder.size == 251  # of 2,002; half of the limit is kept each time
    good, bad = encoder.encode(tf.constant(["good", "bad"])).to_list()
    assert {good[0][1], bad[0][1]} == {1, 2}


def test_of_equally_frequent_ngrams_counting_keeps_half_of_its_limit(monkeypatch):
    monkeypatch.setattr(ngrams, "_MOST_COUNTED", 10)
    counts = ngrams._TextCounts()
    for _ in range(3):
        counts.add(np.arange(20), np.full(20, 5, np.int32))
    assert counts.most(100, 2).tolist() == [0, 1, 2, 3, 4]


def test_the_first_id_of_a_token_is_that_of_the_word_encoder(tf, reviews):
    words = WordEncoder(max_length=20, text=TextRules(lowercase="off"))
    encoder = NGramEncoder(words=words).fit(reviews)
    alone = words.fit(reviews)
    texts = tf.constant(["", *reviews])
    assert encoder.encode(texts)[:, :, 0].to_list() == alone.encode(texts).to_list()
    assert encoder.vocabulary_size == alone.vocabulary_size


def test_no_ngram_joins_the_ends_of_a_text_that_was_cut(tf):
    text = "a b c d e f"
    whole = NGramEncoder((2,), 1).fit([text])
    cut = NGramEncoder((2,), 1, words=WordEncoder(max_length=3)).fit([text, "a e"])
    (all_pairs,), (pairs,) = (e.encode(tf.constant([text])).to_list() for e in (whole, cut))
    assert all(pair for _, pair in all_pairs[1:])
    known = set(cut.hashes) & set(whole.hashes)
    assert len(known) == 5  # the pair "a e" is another one
    assert [cut.hashes[pair - 1] if pair else 0 for _, pair in pairs] == [
        whole.hashes[pair - 1] if pair else 0 for _, pair in np.take(all_pairs, [0, 4, 5], axis=0)
    ]


def test_an_ngram_whose_first_place_was_cut_off_counts_where_it_is_left(tf):
    encoder = NGramEncoder((1,), 1, words=WordEncoder(max_length=2)).fit(["x a b a"])
    (row,) = encoder.encode(tf.constant(["x a b a"])).to_list()
    (whole,) = encoder.encode(tf.constant(["x a"])).to_list()
    assert row == whole
    assert all(ngram for _, ngram in row)


def test_no_texts_are_no_rows(tf):
    tokens = NGramEncoder().fit(["a"]).encode(tf.constant([], tf.string))
    assert tokens.to_list() == []
    assert tokens.flat_values.shape == (0, 4)


def test_a_loaded_encoder_gives_the_ids_of_the_fitted_one(tf, reviews, tmp_path):
    fitted = NGramEncoder().fit(reviews)
    fitted.save(str(tmp_path))
    texts = tf.constant([*reviews[:50], "unseenword \ud83d".encode("utf-8", "surrogatepass")])
    loaded = NGramEncoder().load(str(tmp_path))
    assert loaded.encode(texts).to_list() == fitted.encode(texts).to_list()


@pytest.mark.parametrize(
    "content", [None, b"", b"words", "floats", "pickled", "twice", "negative"], ids=str
)
def test_what_is_no_file_of_ngrams_is_refused(tf, tmp_path, content):
    NGramEncoder().fit(["a"]).save(str(tmp_path))
    path = tmp_path / "ngrams.npy"
    if content is None:
        path.unlink()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, ARRAYS[content])
    with pytest.raises(DataError, match=r"ngrams.npy: not a file of n-grams"):
        NGramEncoder().load(str(tmp_path))


def test_a_store_keeps_words_and_ngrams_and_counts_the_unknown_words(tf, list_source, tmp_path):
    rows = [(f"word{i} is good" if i % 2 else f"word{i} bad", str(i % 2)) for i in range(40)]
    source = list_source(all=rows)
    few_words = WordEncoder(vocabulary=Vocabulary(max_size=4))
    encoder = NGramEncoder(words=few_words)
    data = prepare(source, Splits(), encoder, str(tmp_path), print)
    train = data.splits["train"]
    assert train.tokens.shape == (sum(train.lengths), 4)
    again = data.encoder.encode(tf.constant(list(train.texts)))
    np.testing.assert_array_equal(train.tokens, again.flat_values)
    np.testing.assert_array_equal(train.ids, again.flat_values[:, 0])
    assert not data.vectors
    unknown = np.mean(train.ids == 1)
    assert 0 < unknown < 1
    assert f"{unknown:.1%} of the training tokens are unknown" in overview._text_line(data)


def test_texts_of_one_word_are_no_vectors(tf, list_source, tmp_path):
    rows = [("good", "1"), ("bad", "0"), ("fine", "1"), ("awful", "0")]
    source = list_source(train=rows, test=rows[:2])
    data = prepare(source, Splits(), NGramEncoder(), str(tmp_path), print)
    assert data.longest == 1
    assert not data.vectors


def test_it_keeps_the_contract_of_encoders(tf):
    assert isinstance(NGramEncoder(), Encoder)
    assert isinstance(NGramEncoder().fit(["a"]), FittedEncoder)


@pytest.mark.parametrize(
    "settings, name",
    [
        ({"orders": ()}, "orders"),
        ({"orders": (0, 1)}, "orders"),
        ({"orders": (2, 2)}, "orders"),
        ({"least_texts": 0}, "least_texts"),
        ({"most_ngrams": 0}, "most_ngrams"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(settings, name):
    with pytest.raises(ConfigError, match=rf"NGramEncoder\.{name} = "):
        NGramEncoder(**settings)
