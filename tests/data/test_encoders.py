import re
import string

import numpy as np
import pytest

from sentiment_train.data.encoders import FittedWordEncoder, WordEncoder, encode_all
from sentiment_train.data.text import TextRules
from sentiment_train.data.vocabulary import RESERVED, Vocabulary
from sentiment_train.errors import ConfigError
from sentiment_train.schema import Encoder, FittedEncoder

TRUNCATIONS = ("keep_head", "keep_tail", "keep_both_ends")


def reference(text, words, max_length, truncation):
    """What `encode` does, on Python bytes."""
    text = re.sub(rb"<br\s*/?>", b" ", text.encode(), flags=re.IGNORECASE).lower()
    tokens = text.translate(None, string.punctuation.encode()).split()
    id_of = {word.encode(): i for i, word in enumerate(words)}
    ids = [max(id_of.get(token, 1), 1) for token in tokens]
    if max_length is not None and len(ids) > max_length:
        head = {"keep_head": max_length, "keep_tail": 0, "keep_both_ends": max_length // 2}
        ids = ids[: head[truncation]] + ids[len(ids) - (max_length - head[truncation]) :]
    return ids or [1]


@pytest.fixture(scope="module")
def learned(tf, reviews):
    return WordEncoder(vocabulary=Vocabulary(max_size=2000)).fit(reviews).words


@pytest.mark.parametrize("truncation", TRUNCATIONS)
@pytest.mark.parametrize("max_length", [256, 101, 1, None])
def test_real_reviews_get_the_ids_of_a_plain_python_reference(
    tf, reviews, learned, max_length, truncation
):
    rules = WordEncoder(max_length=max_length, truncation=truncation)
    ids = FittedWordEncoder(rules, learned).encode(tf.constant(reviews)).to_list()
    assert ids == [reference(text, learned, max_length, truncation) for text in reviews]


@pytest.mark.parametrize("truncation", TRUNCATIONS)
@pytest.mark.parametrize("max_length", [1, 2, 5, 6, None])
def test_texts_are_cut_to_the_limit_and_no_shorter(tf, max_length, truncation):
    words = RESERVED + tuple(f"w{i}" for i in range(20))
    limit = max_length or 6
    texts = [" ".join(words[2 : 2 + n]) for n in (0, limit - 1, limit, limit + 1, 3 * limit)]
    encoder = FittedWordEncoder(WordEncoder(max_length=max_length, truncation=truncation), words)
    ids = encoder.encode(tf.constant(texts)).to_list()
    assert ids == [reference(text, words, max_length, truncation) for text in texts]
    if max_length:
        assert [len(row) for row in ids] == [1, max(limit - 1, 1), limit, limit, limit]


@pytest.mark.parametrize(
    "truncation, kept", [("keep_head", "abc"), ("keep_tail", "cde"), ("keep_both_ends", "ade")]
)
def test_the_odd_token_goes_to_the_tail(tf, truncation, kept):
    encoder = WordEncoder(max_length=3, truncation=truncation).fit(["a b c d e"])
    (ids,) = encoder.encode(tf.constant(["a b c d e"])).to_list()
    assert "".join(encoder.words[i] for i in ids) == kept


def test_a_text_without_words_is_one_unknown(tf):
    encoder = WordEncoder().fit(["a"])
    assert encoder.encode(tf.constant(["", "a", " ", "<br>"])).to_list() == [[1], [2], [1], [1]]
    assert encoder.encode(tf.constant([], tf.string)).shape[0] == 0


def test_reserved_words_as_literal_text_are_unknown(tf):
    encoder = WordEncoder(text=TextRules(lowercase="off", punctuation="keep")).fit(["a [PAD]"])
    assert encoder.encode(tf.constant(["[PAD] [UNK] a"])).to_list() == [[1, 1, 2]]


def test_a_loaded_encoder_gives_the_ids_of_the_fitted_one(tf, reviews, tmp_path):
    rules = WordEncoder(max_length=50)
    fitted = rules.fit([*reviews, "x\u2028y \u00a0 nul\0 naïve 名前"])
    fitted.save(str(tmp_path))
    loaded = rules.load(str(tmp_path))
    assert (loaded.words, loaded.vocabulary_size) == (fitted.words, len(fitted.words))
    texts = tf.constant([*reviews, "x\u2028y nul\0 naïve 名前 unseenword"])
    assert loaded.encode(texts).to_list() == fitted.encode(texts).to_list()


def test_ids_in_a_tf_data_pipeline_are_those_of_a_plain_call(tf, reviews, learned):
    encoder = FittedWordEncoder(WordEncoder(max_length=20), learned)
    plain = encoder.encode(tf.constant(reviews))
    assert plain.dtype == tf.int32
    dataset = tf.data.Dataset.from_tensor_slices(reviews).batch(37).map(encoder.encode)
    assert [row for ids in dataset for row in ids.to_list()] == plain.to_list()


def test_encode_all_keeps_the_order_over_many_batches(tf, learned):
    rng = np.random.default_rng(0)
    texts = [" ".join(learned[i] for i in rng.integers(2, 900, n % 7)) for n in range(1700)]
    encoder = FittedWordEncoder(WordEncoder(max_length=5), learned)
    pieces = list(encode_all(encoder, iter(texts)))
    assert len(pieces) > 2
    assert all(ids.dtype == np.int32 and lengths.min() >= 1 for ids, lengths in pieces)
    rows = [
        row.tolist() for ids, lengths in pieces for row in np.split(ids, np.cumsum(lengths)[:-1])
    ]
    assert rows == [reference(text, learned, 5, "keep_both_ends") for text in texts]


def test_encode_all_of_nothing_gives_nothing(tf, learned):
    assert list(encode_all(FittedWordEncoder(WordEncoder(), learned), [])) == []


def test_it_keeps_the_contract_of_encoders(tf):
    assert isinstance(WordEncoder(), Encoder)
    assert isinstance(WordEncoder().fit(["a"]), FittedEncoder)


@pytest.mark.parametrize("max_length", [0, -1])
def test_a_limit_below_one_is_refused(max_length):
    with pytest.raises(ConfigError, match=r"WordEncoder.max_length .* at least 1"):
        WordEncoder(max_length=max_length)
