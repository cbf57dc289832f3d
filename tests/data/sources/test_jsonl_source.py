import pytest
import tensorflow as tf

from sentiment_train.data.sources.jsonl import JsonlSource
from sentiment_train.errors import ConfigError
from sentiment_train.schema import BadRow, Example


def test_examples_have_text_label_weight_and_line(write, read):
    path = write(
        "r.jsonl", '{"text": "Fine.", "label": "a", "w": 2}\n\n{"label":"b","text":"","w":0}'
    )
    assert read(JsonlSource(path=path, weight_field="w")) == [
        Example("Fine.", "a", 2.0, f"{path}:1"),
        Example("", "b", 0.0, f"{path}:3"),
    ]


def test_a_confidence_is_read_and_is_from_0_to_1(write, read, problem):
    row = '{"text": "x", "label": "a", "sure": %s}\n'
    good = write("r.jsonl", row % "0" + row % "0.25")
    source = JsonlSource(path=good, confidence_field="sure")
    assert [(e.weight, e.confidence) for e in read(source)] == [(1.0, 0.0), (1.0, 0.25)]
    for written in ("1.5", "-1", "NaN", "1" + "0" * 400):
        bad = JsonlSource(path=write("s.jsonl", row % written), confidence_field="sure")
        assert f":1: the confidence {written} is not a number from 0 to 1." in problem(bad)


def test_labels_may_be_strings_ints_or_bools(write, pairs):
    path = write("r.jsonl", "".join(f'{{"text": "x", "label": {v}}}\n' for v in ('"a"', 1, "true")))
    assert [label for _, label in pairs(JsonlSource(path=path))] == ["a", "1", "true"]
    named = JsonlSource(path=path, labels={"a": "x", 1: "y", "true": "z"})
    assert [label for _, label in pairs(named)] == ["x", "y", "z"]
    assert named.class_names == ("x", "y", "z")


def test_escaped_and_unescaped_characters_are_the_same(write, pairs):
    path = write("r.jsonl", '{"text": "gr\\u00fcn \\ud83d\\ude00", "label": 0}\r\n')
    assert pairs(JsonlSource(path=path)) == [("grün 😀", "0")]


@pytest.mark.parametrize("name", ["r.jsonl", "r.jsonl.gz"])
def test_a_byte_order_mark_and_gzip_are_read_as_they_stand(write, pairs, name):
    path = write(name, '{"text": "grün", "label": 0}\n', "utf-8-sig")
    assert pairs(JsonlSource(path=path)) == [("grün", "0")]


def test_ram_paths_work(ram, pairs):
    with tf.io.gfile.GFile(f"{ram}/r.jsonl", "w") as file:
        file.write('{"text": "x", "label": "a"}\n')
    assert pairs(JsonlSource(path=f"{ram}/r*.jsonl")) == [("x", "a")]


@pytest.mark.parametrize(
    "row, expected",
    [
        ('{"text": "x", ', "not JSON: "),
        ("[" * 100_000, "not JSON: "),
        ('["x", "a"]', "expected a JSON object {…}, found an array."),
        ('{"txt": "x", "label": 0}', "no field 'text'; it has 'txt', 'label'. Did you mean 'txt'?"),
        ('{"text": "x"}', "no field 'label'; it has 'text'."),
        ('{"text": 3, "label": 0}', "the field 'text' is a number; expected a string."),
        ('{"text": "x", "label": 0.5}', "the field 'label' is a number; expected a string, an int"),
        ('{"text": "x", "label": null}', "the field 'label' is null"),
        ('{"text": "x", "label": ""}', "the label is empty"),
        (
            '{"text": "x \\ud83d", "label": 0}',
            "the field 'text' holds \\ud83d, half of a character",
        ),
        ('{"text": "x", "label": 0, "w": "1"}', "the field 'w' is a string; expected a number."),
        ('{"text": "x", "label": 0, "w": true}', "the field 'w' is a bool; expected a number."),
        ('{"text": "x", "label": 0, "w": NaN}', "the weight NaN is not a finite number >= 0."),
        ('{"text": "x", "label": 0, "w": -1}', "the weight -1 is not a finite number >= 0."),
    ],
)
def test_a_bad_row_gets_one_answer_or_is_skipped(write, problem, read, row, expected):
    path = write("r.jsonl", '{"text": "x", "label": 0, "w": 1}\n' + row + "\n")
    weight_field = "w" if '"w"' in row else None
    message = problem(JsonlSource(path=path, weight_field=weight_field))
    assert message.startswith(f"{path}:2: {expected}")
    assert message.endswith("or set JsonlSource.on_bad_row = 'skip'.")
    skipping = JsonlSource(path=path, weight_field=weight_field, on_bad_row="skip")
    good, bad = read(skipping)
    assert isinstance(good, Example)
    assert isinstance(bad, BadRow)


def test_an_unknown_label_is_told(write, problem):
    path = write("r.jsonl", '{"text": "x", "label": "postive"}\n')
    message = problem(JsonlSource(path=path, labels=("negative", "positive")))
    assert f"{path}:1: unknown label 'postive'; known: 'negative', 'positive'. Did" in message


def test_invalid_bytes_are_told_with_their_line(write, problem):
    path = write("r.jsonl", '{"text": "x", "label": 0}\n{"text": "grün", "label": 0}', "latin-1")
    message = problem(JsonlSource(path=path))
    assert message.startswith(f"{path}:2: byte 0xfc is not valid utf-8.")
    assert "JsonlSource.encoding" in message


def test_an_empty_file_is_told(write, problem):
    assert problem(JsonlSource(path=write("r.jsonl", "\n"))).endswith("has no rows.")


def test_one_field_cannot_be_two_things():
    with pytest.raises(ConfigError, match=r"JsonlSource\.label_field = 'text'"):
        JsonlSource(path="r.jsonl", label_field="text")
    with pytest.raises(ConfigError, match=r"JsonlSource\.weight_field = 'label'"):
        JsonlSource(path="r.jsonl", weight_field="label")
    with pytest.raises(ConfigError, match=r"JsonlSource\.confidence_field = 'w'"):
        JsonlSource(path="r.jsonl", weight_field="w", confidence_field="w")


def test_the_fingerprint_depends_on_content_and_options(write):
    path = write("r.jsonl", '{"text": "x", "label": 0}\n')
    other = write("s.jsonl", '{"text": "x", "label": 1}\n')
    sources = [
        JsonlSource(path=path),
        JsonlSource(path=other),
        JsonlSource(path=path, text_field="t"),
        JsonlSource(test=path, train=other),
        JsonlSource(train=path, test=other),
    ]
    assert len({source.fingerprint() for source in sources}) == len(sources)
