import csv
import os

import pytest
import tensorflow as tf

from sentiment_train.data.sources.csv import CsvSource
from sentiment_train.errors import ConfigError, DataError
from sentiment_train.schema import BadRow, Example, Source


def test_examples_have_text_label_weight_and_line(write, read):
    path = write("r.csv", "text,label,weight\nFine.,positive,2\n\nBad.,negative,0.5\n")
    assert read(CsvSource(path=path, weight_column="weight")) == [
        Example("Fine.", "positive", 2.0, f"{path}:2"),
        Example("Bad.", "negative", 0.5, f"{path}:4"),
    ]


def test_it_is_a_source(write):
    assert isinstance(CsvSource(path=write("r.csv", "")), Source)


def test_other_columns_may_be_named_and_the_rest_is_ignored(write, pairs):
    path = write("r.csv", "id,stars,review\n1,5,Fine.\n2,1,Bad.\n")
    source = CsvSource(path=path, text_column="review", label_column="stars")
    assert pairs(source) == [("Fine.", "5"), ("Bad.", "1")]


def test_quoted_newlines_quotes_and_delimiters_belong_to_the_text(write, read):
    path = write("r.csv", 'text,label\n"two\r\nlines, and ""quotes""",a\nlast,b\n')
    first, last = read(CsvSource(path=path))
    assert first.text == 'two\r\nlines, and "quotes"'
    assert (first.where, last.where) == (f"{path}:2", f"{path}:4")


def test_a_byte_order_mark_is_dropped(write, pairs):
    path = write("r.csv", "text,label\ngrün,a\n", "utf-8-sig")
    assert pairs(CsvSource(path=path)) == [("grün", "a")]


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-8"])
def test_the_encoding_may_be_named(write, pairs, encoding):
    path = write("r.csv", "text,label\ngrün,a\n", encoding)
    assert pairs(CsvSource(path=path, encoding=encoding)) == [("grün", "a")]


def test_a_wrong_encoding_is_told_with_its_line(write, problem):
    path = write("r.csv", "text,label\nfine,a\ngrün,a\n", "latin-1")
    message = problem(CsvSource(path=path))
    assert message.startswith(f"{path}:3: byte 0xfc is not valid utf-8.")
    assert "CsvSource.encoding = 'latin-1'" in message


def test_an_unknown_encoding_is_refused_before_anything_is_read():
    with pytest.raises(ConfigError, match="Did you mean 'latin-1'"):
        CsvSource(path="r.csv", encoding="latin-11")
    with pytest.raises(ConfigError, match="not a text encoding"):
        CsvSource(path="r.csv", encoding="base64")


@pytest.mark.parametrize("name", ["r.tsv", "r.tsv.gz"])
def test_tsv_is_divided_by_tabs(write, pairs, name):
    path = write(name, "text\tlabel\nYes, fine\ta\n")
    assert pairs(CsvSource(path=path)) == [("Yes, fine", "a")]


def test_gzip_is_read_as_it_stands(write, pairs):
    assert pairs(CsvSource(path=write("r.csv.gz", "text,label\nx,a\n"))) == [("x", "a")]


def test_damaged_gzip_is_told(write, problem):
    path = write("r.csv.gz", "text,label\n" + "x,a\n" * 1000)
    with open(path, "rb") as file:
        content = file.read()
    with open(path, "wb") as file:
        file.write(content[:-12])
    assert "ends in the middle" in problem(CsvSource(path=path))
    with open(path, "wb") as file:
        file.write(b"text,label\nx,a\n")
    assert "not a gzip file" in problem(CsvSource(path=path))


def test_ram_paths_work(ram, pairs):
    with tf.io.gfile.GFile(f"{ram}/r.csv", "w") as file:
        file.write("text,label\nx,a\n")
    assert pairs(CsvSource(path=f"{ram}/r.csv")) == [("x", "a")]
    assert len(CsvSource(path=f"{ram}/r.csv").fingerprint()) == 64


def test_the_home_directory_is_expanded(write, pairs, monkeypatch):
    monkeypatch.setenv("HOME", os.path.dirname(write("r.csv", "text,label\nx,a\n")))
    assert pairs(CsvSource(path="~/r.csv")) == [("x", "a")]


def test_files_of_a_pattern_follow_each_other_in_the_order_of_their_names(write, pairs, tmp_path):
    write("r-2.csv", "label,text\nb,two\n")
    write("r-1.csv", "text,label\none,a\n")
    assert pairs(CsvSource(path=f"{tmp_path}/r-*.csv")) == [("one", "a"), ("two", "b")]


def test_missing_files_are_told_at_once(write, tmp_path):
    write("reviews.csv", "")
    for path, expected in {
        f"{tmp_path}/review.csv": "no such file. Did you mean 'reviews.csv'?",
        f"{tmp_path}/x-*.csv": "matches no file",
        f"{tmp_path}/nowhere/x.csv": "there is no directory",
        f"{tmp_path}": "is a directory",
    }.items():
        with pytest.raises(DataError, match=r"CsvSource\.path = ") as error:
            CsvSource(path=path).splits()
        assert expected in error.value.message


def test_given_splits_are_given(write, pairs):
    paths = {s: write(f"{s}.csv", f"text,label\n{s},a\n") for s in ("train", "validation", "test")}
    source = CsvSource(**paths)
    assert list(source.splits()) == ["train", "validation", "test"]
    assert pairs(source, "validation") == [("validation", "a")]
    assert source.description == "train.csv, validation.csv, test.csv"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"test": "t.csv"},
        {"path": "r.csv", "train": "t.csv"},
        {"train": "r.csv", "test": "r.csv"},
        {"path": "r.csv", "delimiter": ",,"},
        {"path": "r.csv", "delimiter": '"'},
        {"path": "r.csv", "text_column": "label"},
        {"path": "r.csv", "columns": ("label", "review")},
        {"path": "r.csv", "confidence_column": "label"},
        {"path": "r.csv", "labels": ("a",)},
        {"path": "r.csv", "labels": ("a", "a")},
        {"path": "r.csv", "labels": {"1": "a", "2": "a"}},
        {"path": "r.csv", "labels": {1: "a", "1": "b"}},
        {"path": "r.csv", "on_bad_row": "ignore"},
    ],
)
def test_nonsense_is_refused(options):
    with pytest.raises(ConfigError, match=r"^CsvSource\."):
        CsvSource(**options)


def test_columns_name_the_fields_of_a_file_without_header(write, pairs):
    path = write("r.csv", "a,Fine\nb,Bad\n")
    assert pairs(CsvSource(path=path, columns=("label", "text"))) == [("Fine", "a"), ("Bad", "b")]


def test_a_missing_column_is_told_with_those_found(write, problem):
    path = write("r.csv", "texts,label\nx,a\n")
    message = problem(CsvSource(path=path))
    assert message.startswith(f"{path}:1: no column 'text'; it has 'texts', 'label'.")
    assert "Did you mean 'texts'? Set CsvSource.text_column" in message


def test_another_delimiter_is_noticed(write, problem):
    message = problem(CsvSource(path=write("r.csv", "text;label\nx;a\n")))
    assert "CsvSource.delimiter = ';'" in message


def test_a_column_that_occurs_twice_is_told(write, problem):
    path = write("r.csv", "text,text,label\nx,y,a\n")
    assert "2 columns 'text'" in problem(CsvSource(path=path))


def test_empty_files_are_told(write, problem):
    assert problem(CsvSource(path=write("r.csv", "\n\n"))).endswith("is empty.")
    assert problem(CsvSource(path=write("r.csv", "text,label\n"))).endswith("has no rows.")


def test_too_many_fields_get_one_answer(write, problem):
    path = write("r.csv", "text,label,weight\nFine, but long,a,1\n")
    assert problem(CsvSource(path=path, weight_column="weight")) == (
        f"{path}:2: expected 3 fields (text, label, weight), found 4. Quote the text, or set"
        " CsvSource.on_bad_row = 'skip'."
    )


def test_too_few_fields_get_one_answer(write, problem):
    path = write("r.csv", "text,label\nFine\n")
    assert "expected 2 fields (text, label), found 1. Complete" in problem(CsvSource(path=path))


@pytest.mark.parametrize("weight", ["heavy", "-1", "nan", "inf", ""])
def test_a_weight_is_a_finite_number(write, problem, weight):
    path = write("r.csv", f"text,label,w\nx,a,{weight}\n")
    message = problem(CsvSource(path=path, weight_column="w"))
    assert f"{path}:2: the weight '{weight}' is not a finite number >= 0." in message


def test_a_confidence_is_read_beside_the_weight(write, read):
    path = write("r.csv", "text,label,w,sure\nx,a,2,0.25\ny,b,1,1\n")
    source = CsvSource(path=path, weight_column="w", confidence_column="sure")
    assert [(e.weight, e.confidence) for e in read(source)] == [(2.0, 0.25), (1.0, 1.0)]
    assert {e.confidence for e in read(CsvSource(path=path))} == {1.0}


@pytest.mark.parametrize("confidence", ["", "sure", "nan", "-0.1", "1.01", "inf"])
def test_a_confidence_is_from_0_to_1(write, problem, confidence):
    path = write("r.csv", f"text,label,sure\nx,a,1\ny,a,{confidence}\n")
    message = problem(CsvSource(path=path, confidence_column="sure"))
    assert f"{path}:3: the confidence {confidence!r} is not a number from 0 to 1." in message


def test_bad_rows_are_given_in_place_if_they_are_to_be_skipped(write, read):
    path = write("r.csv", "text,label\nx,a\na,b,c\ny,b\n,\n")
    first, second, third, fourth = read(CsvSource(path=path, on_bad_row="skip"))
    assert (first.text, third.text) == ("x", "y")
    assert second == BadRow(f"{path}:3: expected 2 fields (text, label), found 3.")
    assert fourth == BadRow(f"{path}:5: the label is empty.")


def test_labels_are_known_or_told(write, pairs, problem):
    path = write("r.csv", "text,label\nx,positive\ny, negative \nz,postive\n")
    assert problem(CsvSource(path=path, labels=("negative", "positive"))) == (
        f"{path}:4: unknown label 'postive'; known: 'negative', 'positive'. Did you mean"
        " 'positive'? Mend the row, or set CsvSource.on_bad_row = 'skip'."
    )
    skipping = CsvSource(path=path, labels=["negative", "positive"], on_bad_row="skip")
    assert pairs(skipping) == [("x", "positive"), ("y", "negative")]


def test_labels_may_get_other_names(write, pairs):
    path = write("r.csv", "text,label\nx,1\ny,0\nz,5\n")
    source = CsvSource(path=path, labels={0: "negative", "1": "positive", "5": "positive"})
    assert [label for _, label in pairs(source)] == ["positive", "negative", "positive"]
    assert source.class_names == ("negative", "positive")


def test_class_names_are_in_the_order_given_or_learned_later():
    assert CsvSource(path="r.csv", labels=("b", "a")).class_names == ("b", "a")
    assert CsvSource(path="r.csv").class_names is None


def test_a_quote_that_is_never_closed_is_told_where_it_opens(write, problem):
    path = write("r.csv", 'text,label\nx,a\n"oh,b\ny,a\n')
    assert f"{path}:3: a quote is opened here and not closed" in problem(CsvSource(path=path))


def test_a_stray_quote_that_ends_at_the_next_quoted_row_is_told(write, problem):
    path = write("r.csv", 'text,label\nx,a\n"oh,b\ny,a\n"quoted",b\n')
    message = problem(CsvSource(path=path))
    assert message.startswith(f"{path}:3: ")
    assert "never closed" in message


def test_a_stray_quote_that_happens_to_end_a_field_is_told(write, problem):
    path = write("r.csv", 'text,label\nx,a\ny,b\n"oh,b\nz,a\n6 foot 5",b\nw,a\n')
    message = problem(CsvSource(path=path))
    assert f"{path}:4: the quoted text holds a row of its own ('oh,b')" in message


def test_lines_in_a_text_that_only_resemble_rows_are_kept(write, pairs):
    path = write("r.csv", 'text,label\nx,a\n"Well, yes\na, b, c\nfine",b\n')
    assert pairs(CsvSource(path=path))[1] == ("Well, yes\na, b, c\nfine", "b")


def test_a_field_over_the_limit_of_the_csv_module_is_told(write, problem):
    path = write("r.csv", f"text,label\n{'x' * (csv.field_size_limit() + 1)},a\n")
    assert f"{path}:2: a field has more than 131,072 characters" in problem(CsvSource(path=path))


def test_nul_bytes_are_told_with_their_line(write, problem, pairs):
    path = write("r.csv", "text,label\nx,a\ny\0,a\nz,a\n")
    assert f"{path}:3: the row holds a NUL byte." in problem(CsvSource(path=path))
    assert pairs(CsvSource(path=path, on_bad_row="skip")) == [("x", "a"), ("z", "a")]


def test_reading_is_streamed(write):
    path = write("r.csv", "text,label\nx,a\n" + "z,a\n" * 200_000 + "a,b,c\n")
    examples = iter(CsvSource(path=path).splits()["all"])
    assert next(examples).text == "x"  # the bad row at the end has not been met


def test_the_fingerprint_depends_on_content_and_options_but_not_on_the_place(write):
    path = write("r.csv", "text,label\nx,a\n")
    fingerprint = CsvSource(path=path).fingerprint()
    assert CsvSource(path=path).fingerprint() == fingerprint
    assert CsvSource(path=write("moved/s.csv", "text,label\nx,a\n")).fingerprint() == fingerprint
    others = [
        CsvSource(path=write("other.csv", "text,label\nx,b\n")),
        CsvSource(path=write("r.tsv", "text,label\nx,a\n")),
        CsvSource(train=path),
        CsvSource(path=path, labels=("a", "b")),
        CsvSource(path=path, labels=("b", "a")),
        CsvSource(path=path, labels={"b": "a", "a": "b"}),
        CsvSource(path=path, on_bad_row="skip"),
        CsvSource(path=path, columns=("text", "label")),
        CsvSource(path=path, encoding="latin-1"),
    ]
    assert len({fingerprint, *(source.fingerprint() for source in others)}) == len(others) + 1
