import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentiment_train.data.text import TextRules


def words(tf, rules, *texts):
    return rules.words(tf.constant(texts)).to_list()


def test_the_default_rules_are_those_of_text_vectorization(tf, reviews):
    import keras

    ours = TextRules(html_breaks=False).words(tf.constant(reviews))
    vocabulary = sorted({word.decode() for word in ours.flat_values.numpy()})
    layer = keras.layers.TextVectorization(vocabulary=vocabulary, ragged=True)
    theirs = layer(tf.constant(reviews))
    id_of = {word.encode(): i for i, word in enumerate(vocabulary, 2)}
    assert theirs.to_list() == [[id_of[word] for word in text] for text in ours.to_list()]


@pytest.mark.parametrize(
    "options, expected",
    [
        ({}, [b"dont", b"stop", b"\xc3\x84h"]),
        ({"html_breaks": False}, [b"dontbr", b"stop", b"\xc3\x84h"]),
        ({"lowercase": "off"}, [b"Dont", b"STOP", b"\xc3\x84H"]),
        ({"lowercase": "unicode"}, [b"dont", b"stop", b"\xc3\xa4h"]),
        ({"punctuation": "keep"}, [b"don't", b"stop!", b"\xc3\x84h"]),
    ],
)
def test_each_step_can_be_switched(tf, options, expected):
    assert words(tf, TextRules(**options), "Don't<br />STOP!\tÄH") == [expected]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("Don't stop!!<br />(Äh?)", "don't stop ! ! ( Äh ? )"),
        ("'Tis the boys' 'best' 8/10..", "' tis the boys ' ' best ' 8 / 10 . ."),
        ("नमस्ते😀snake_case '", "नमस्ते 😀 snake_case '"),
        ("'' rock''n''", "'' rock''n ''"),
        ("", ""),
    ],
)
def test_a_mark_is_a_word_of_its_own_unless_it_is_an_apostrophe_within_one(tf, text, expected):
    (found,) = words(tf, TextRules(punctuation="separate"), text)
    assert b" ".join(found).decode() == expected


def test_on_real_reviews_separate_marks_are_those_of_a_python_reference(tf, reviews):
    pattern = re.compile(r"\w+(?:'+\w+)*|'+|[^\w\s]")
    ascii_reviews = [text.encode("ascii", "ignore").decode() for text in reviews]
    found = (
        TextRules(html_breaks=False, punctuation="separate")
        .words(tf.constant(ascii_reviews))
        .to_list()
    )
    assert [[word.decode() for word in text] for text in found] == [
        pattern.findall(text.lower()) for text in ascii_reviews
    ]


@pytest.mark.parametrize("line_break", ["<br>", "<br/>", "<br />", "<BR>", "<Br  />", "<br\n/>"])
def test_every_form_of_a_break_separates_words(tf, line_break):
    assert words(tf, TextRules(), f"one{line_break}two") == [[b"one", b"two"]]


@pytest.mark.parametrize("tag", ["<brr>", "<b>", "br", "&lt;br&gt;"])
def test_other_tags_are_no_breaks(tf, tag):
    assert len(words(tf, TextRules(), f"one{tag}two")[0]) == 1


@pytest.mark.parametrize("upper, lower", [("ÀÉÎÕÜ", "àéîõü"), ("ЖЯ", "жя"), ("ΑΩ", "αω")])
def test_unicode_letters_become_lower_case_only_if_asked_for(tf, upper, lower):
    assert words(tf, TextRules(lowercase="unicode"), upper) == [[lower.encode()]]
    assert words(tf, TextRules(lowercase="ascii"), upper) == [[upper.encode()]]


def test_empty_and_blank_texts_have_no_words(tf):
    assert words(tf, TextRules(), "", " \t\n", "<br />", "...") == [[], [], [], []]


def test_invalid_bytes_become_the_replacement_character(tf):
    assert words(tf, TextRules(), b"caf\xe9 ok \xff") == [["caf�".encode(), b"ok", "�".encode()]]


@settings(max_examples=50, deadline=None)
@given(texts=st.lists(st.binary(max_size=40), min_size=1, max_size=5))
@pytest.mark.parametrize("lowercase", ["ascii", "unicode", "off"])
def test_any_bytes_get_words_that_are_valid_utf8(tf, lowercase, texts):
    for found in words(tf, TextRules(lowercase=lowercase), *texts):
        assert all(word.decode() for word in found)
