"""N-grams against a reference in plain Python, and what a store makes of them."""

import numpy as np
import pytest

from sentiment_train import overview
from sentiment_train.data.encoders import WordEncoder
from sentiment_train.data.ngrams import NGramEncoder
from sentiment_train.data.prepare import prepare
from sentiment_train.data.splits import Splits
from sentiment_train.data.text import TextRules
from sentiment_train.data.vocabulary import Vocabulary
from sentiment_train.errors import ConfigError
from sentiment_train.schema import Encoder, FittedEncoder

PRIME, BASE = 2**31 - 1, 1_103_515_245
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
    return lambda word: int(tf.strings.to_hash_bucket_fast([word.encode()], PRIME)[0])


def ngrams_of(text, rules, digit_of):
    """`[words][orders]`, as `NGramEncoder` says, of a text without punctuation."""
    words, found = text.split(), []
    for end in range(len(words)):
        found.append([])
        for order in rules.orders:
            number = order
            for word in words[max(end - order + 1, 0) : end + 1]:
                number = (number * BASE + digit_of(word)) % PRIME
            found[-1].append(1 + number % (rules.buckets - 1) if end >= order - 1 else 0)
    if (limit := rules.max_length) is not None and len(found) > limit:
        found = found[: limit // 2] + found[len(found) - (limit - limit // 2) :]
    met = set()
    for row in found:
        for column, bucket in enumerate(row):
            if bucket in met:
                row[column] = 0
            met.add(bucket)
    return found or [[0] * len(rules.orders)]


@pytest.mark.parametrize("max_length", [None, 3], ids=["whole", "cut"])
@pytest.mark.parametrize("orders", [(1, 2, 3), (2,), (4, 1)], ids=str)
@pytest.mark.parametrize("buckets", [2**20, 7])
def test_ngrams_are_those_of_a_plain_python_reference(tf, digit_of, max_length, orders, buckets):
    rules = NGramEncoder(orders, buckets, WordEncoder(max_length=max_length))
    tokens = rules.fit(TEXTS).encode(tf.constant(TEXTS))
    assert tokens.dtype == tf.int32
    found = [[word[1:] for word in row] for row in tokens.to_list()]
    assert found == [ngrams_of(text, rules, digit_of) for text in TEXTS]


def test_the_first_id_of_a_token_is_that_of_the_word_encoder(tf, reviews):
    words = WordEncoder(max_length=20, text=TextRules(lowercase="off"))
    encoder = NGramEncoder(words=words).fit(reviews)
    alone = words.fit(reviews)
    texts = tf.constant(["", *reviews])
    assert encoder.encode(texts)[:, :, 0].to_list() == alone.encode(texts).to_list()
    assert encoder.vocabulary_size == alone.vocabulary_size


def test_no_ngram_joins_the_ends_of_a_text_that_was_cut(tf):
    whole = NGramEncoder((2,)).fit(["a b c d e f"])
    cut = NGramEncoder((2,), words=WordEncoder(max_length=3)).fit(["a b c d e f"])
    (all_pairs,), (pairs,) = (
        e.encode(tf.constant(["a b c d e f"])).to_list() for e in (whole, cut)
    )
    assert [pair for _, pair in pairs] == [all_pairs[place][1] for place in (0, 4, 5)]


def test_an_ngram_whose_first_place_was_cut_off_counts_where_it_is_left(tf):
    encoder = NGramEncoder((1,), words=WordEncoder(max_length=2)).fit(["a"])
    (row,) = encoder.encode(tf.constant(["x a b a"])).to_list()
    (whole,) = NGramEncoder((1,)).fit(["a"]).encode(tf.constant(["x a"])).to_list()
    assert row == whole


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


def test_a_store_keeps_words_and_ngrams_and_counts_the_unknown_words(tf, list_source, tmp_path):
    rows = [(f"word{i} is good" if i % 2 else f"word{i} bad", str(i % 2)) for i in range(40)]
    source = list_source(all=rows)
    few_words = WordEncoder(vocabulary=Vocabulary(max_size=4))
    encoder = NGramEncoder(buckets=1000, words=few_words)
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
        ({"buckets": 1}, "buckets"),
        ({"buckets": 2**31}, "buckets"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(settings, name):
    with pytest.raises(ConfigError, match=rf"NGramEncoder\.{name} = "):
        NGramEncoder(**settings)
