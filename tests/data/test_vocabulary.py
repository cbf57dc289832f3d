import random

import pytest

from sentiment_train.data.vocabulary import (
    RESERVED,
    Vocabulary,
    load_vocabulary,
    save_vocabulary,
)
from sentiment_train.errors import ConfigError, DataError


def learn(text, **settings):
    words = Vocabulary(**settings).learn([line.encode().split() for line in text.split("\n")])
    assert words[:2] == RESERVED
    return words[2:]


def test_frequent_words_come_first_and_ties_in_the_order_of_their_bytes():
    assert learn("b c c\nz ä a\nb c") == ("c", "b", "a", "z", "ä")


@pytest.mark.parametrize("max_size, kept", [(3, "c"), (4, "cb"), (5, "cba"), (100, "cba")])
def test_max_size_counts_padding_and_unknown(max_size, kept):
    assert learn("a b b c c c", max_size=max_size) == tuple(kept)


@pytest.mark.parametrize("min_count, kept", [(1, "cba"), (2, "cb"), (3, "c")])
def test_rare_words_are_left_out(min_count, kept):
    assert learn("a b b c c c", min_count=min_count) == tuple(kept)


@pytest.mark.parametrize("text, min_count", [("", 1), ("a b", 2), ("[PAD] [UNK]", 1)])
def test_nothing_to_learn_from_is_refused(text, min_count):
    with pytest.raises(DataError, match=f"No word occurs {min_count} times"):
        learn(text, min_count=min_count)


def test_the_order_of_the_texts_does_not_matter(reviews):
    text = "\n".join(reviews)
    shuffled = random.Random(0).sample(reviews, len(reviews))
    assert learn(text, max_size=500) == learn("\n".join(shuffled), max_size=500)


def test_reserved_words_in_a_text_are_no_words():
    assert learn("[PAD] [PAD] a [UNK] [UNK]") == ("a",)


@pytest.mark.parametrize("settings", [{"max_size": 2}, {"min_count": 0}])
def test_senseless_limits_are_refused(settings):
    with pytest.raises(ConfigError, match="at least"):
        Vocabulary(**settings)


WORDS = (*RESERVED, "the", "ä", "名前", "'s", "x\u2028y", "#", "\u00a0")


def test_saved_words_are_loaded_again(tf, tmp_path, ram_directory):
    for directory in (str(tmp_path), ram_directory):
        for words in (WORDS[::-1], WORDS):  # the second replaces the first
            save_vocabulary(words, directory)
        assert load_vocabulary(directory) == WORDS


@pytest.mark.parametrize(
    "content, message",
    [
        (None, r"vocabulary.txt: not a vocabulary \(NotFoundError\)"),
        (b"[PAD]\n[UNK]\ncaf\xe9\n", r"vocabulary.txt: not a vocabulary \(UnicodeDecodeError\)"),
        (b"", r"vocabulary.txt: the first two lines must be \[PAD\] and \[UNK\]"),
        (b"the\na\n", r"vocabulary.txt: the first two lines must be \[PAD\] and \[UNK\]"),
        (b"[PAD]\r\n[UNK]\r\na\r\n", r"the first two lines must be \[PAD\] and \[UNK\]"),
        (b"[PAD]\n[UNK]\na\nb\na\n", r"vocabulary.txt:5: 'a' is there twice"),
    ],
)
def test_a_malformed_file_is_refused_with_its_place(tf, tmp_path, content, message):
    if content is not None:
        (tmp_path / "vocabulary.txt").write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_vocabulary(str(tmp_path))
