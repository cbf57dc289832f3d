"""What is kept of shards: a sample of the training split, and all of the others."""

import json

import pytest
import tensorflow as tf

from sentiment_train.data.sources.shards import Shards
from sentiment_train.data.splits import Splits, split
from sentiment_train.errors import ConfigError, DataError


def rows(first, last, label="a"):
    return "".join(json.dumps({"text": f"t{i}", "label": label}) + "\n" for i in range(first, last))


@pytest.fixture
def pattern(write):
    """Three shards of ten rows."""
    for shard in range(3):
        path = write(f"train-{shard}.jsonl.gz", rows(10 * shard, 10 * shard + 10, "ab"[shard % 2]))
    return path.replace("train-2", "train-*")


def test_the_sample_is_the_first_rows_of_all_shards(pattern, pairs):
    source = Shards(train=pattern, sample=7)
    texts = [text for text, _ in pairs(source, "train")]
    assert texts == ["t0", "t1", "t2", "t10", "t11", "t12", "t20", "t21", "t22"]
    assert len(pairs(Shards(train=pattern), "train")) == 30
    assert [text for text, _ in pairs(Shards(train=pattern, sample=2), "train")] == ["t0", "t20"]


def test_a_row_knows_its_place_also_behind_blank_lines(write, read):
    path = write("r.jsonl", f"\n{rows(0, 1)}  \n{rows(1, 2)}")
    assert [e.where for e in read(Shards(train=path), "train")] == [f"{path}:2", f"{path}:4"]


def test_nothing_of_the_sample_becomes_validation(pattern, write):
    rules = Splits(validation=0.3)
    assert set(split(Shards(train=pattern), rules).splits) == {"train"}
    given = {name: write(f"{name}.jsonl", rows(n, n + 2)) for name, n in (("test", 90), ("v", 95))}
    source = Shards(train=pattern, validation=given["v"], test=(given["test"],))
    sizes = {name: len(examples) for name, examples in split(source, rules).splits.items()}
    assert sizes == {"train": 30, "validation": 2, "test": 2}


def test_several_patterns_are_one_list_without_repetitions(pattern):
    first = pattern.replace("*", "0")
    assert Shards(train=(first, pattern)).shards() == Shards(train=pattern).shards()
    with pytest.raises(DataError, match=r"^Shards\.train = '.*none\.jsonl': there is no such file"):
        Shards(train=(pattern, pattern.replace("train-*.jsonl.gz", "none.jsonl"))).shards()


def write_examples(path, *features):
    with tf.io.TFRecordWriter(path) as writer:
        for feature in features:
            given = {name: tf.train.Feature(**value) for name, value in feature.items()}
            example = tf.train.Example(features=tf.train.Features(feature=given))
            writer.write(example.SerializeToString())


def of_bytes(*values):
    return {"bytes_list": tf.train.BytesList(value=values)}


def of_ints(*values):
    return {"int64_list": tf.train.Int64List(value=values)}


def of_floats(*values):
    return {"float_list": tf.train.FloatList(value=values)}


def test_examples_of_tfrecords_are_read_by_the_names_of_their_features(tmp_path, read):
    path = str(tmp_path / "x.tfrecord-00000-of-00001")
    write_examples(
        path,
        {"review": of_bytes("grün".encode()), "stars": of_ints(1), "w": of_floats(0.5)},
        {"review": of_bytes(b""), "stars": of_bytes(b" 0 "), "w": of_ints(2)},
    )
    options = {"text_field": "review", "label_field": "stars", "weight_field": "w"}
    source = Shards(train=path, labels={0: "bad", 1: "good"}, **options)
    found = [(e.text, e.label, e.weight, e.where) for e in read(source, "train")]
    assert found == [("grün", "good", 0.5, f"{path}:1"), ("", "bad", 2.0, f"{path}:2")]
    assert source.class_names == ("bad", "good")


@pytest.mark.parametrize(
    "feature, expected",
    [
        ({"txt": of_bytes(b"x")}, "no feature 'text'; it has 'txt'. Did you mean 'txt'?"),
        ({}, "no feature 'text'; it has none."),
        ({"text": of_ints(1)}, "the feature 'text' is not one value of a bytes_list."),
        ({"text": of_bytes(b"x", b"y")}, "the feature 'text' is not one value of a bytes_list."),
        ({"text": of_bytes(b"x")}, "no feature 'label'; it has 'text'."),
        ({"text": of_bytes(b"\xff"), "label": of_ints(1)}, "the feature 'text' is not UTF-8."),
        (
            {"text": of_bytes(b"x"), "label": of_floats(1.0)},
            "the feature 'label' is not one value of a bytes_list or int64_list.",
        ),
        ({"text": of_bytes(b"x"), "label": of_bytes(b"")}, "the label is empty."),
    ],
)
def test_a_bad_example_gets_one_answer(tmp_path, problem, feature, expected):
    path = str(tmp_path / "x.tfrecord")
    write_examples(path, feature)
    message = problem(Shards(train=path), "train")
    assert message.startswith(f"{path}:1: {expected}")
    assert message.endswith("or set Shards.on_bad_row = 'skip'.")


def test_what_is_no_example_is_told(tmp_path, problem):
    path = str(tmp_path / "x.tfrecord")
    with tf.io.TFRecordWriter(path) as writer:
        writer.write(b"\xff\xff")
    assert f"{path}:1: the record is not a tf.train.Example." in problem(
        Shards(train=path), "train"
    )


def test_files_that_are_damaged_or_of_no_known_format_are_told(write, problem):
    path = write("x.tfrecord", "no records here, but enough bytes for the head of one")
    assert problem(Shards(train=path), "train").startswith(f"{path} cannot be read: ")
    path = write("x.csv", "text,label\n")
    assert ".tfrecord or .jsonl" in problem(Shards(train=path), "train")


def test_a_field_that_is_missing_is_told_with_the_name_of_this_source(write, problem):
    path = write("r.jsonl", '{"txt": "x", "label": 0}\n')
    assert "set Shards.text_field, or set Shards.on_bad_row" in problem(Shards(train=path), "train")


@pytest.mark.parametrize(
    "options, expected",
    [
        ({"path": "r.jsonl"}, r"^Shards\.path = 'r\.jsonl' is not for shards"),
        ({}, r"^Shards\.train = None is not set"),
        ({"train": ()}, r"^Shards\.train = \(\) is not set"),
        ({"train": "r", "test": "r"}, r"^Shards\.test = 'r' is also another split"),
        ({"train": "r", "sample": 0}, r"^Shards\.sample = 0 is out of range"),
        ({"train": "r", "examples": 0}, r"^Shards\.examples = 0 is out of range"),
        ({"train": "r", "confidence_field": "c"}, r"^Shards\.confidence_field = 'c' is not for"),
        ({"train": "r", "encoding": "utf-16"}, r"^Shards\.encoding = 'utf-16' is not for shards"),
        ({"train": "r", "service": "localhost:5050"}, r"^Shards\.service = .* is not of the form"),
        ({"train": "r", "service": "grpc://localhost"}, r"^Shards\.service = .*'grpc://host:port'"),
    ],
)
def test_options_that_cannot_be_are_refused(options, expected):
    with pytest.raises(ConfigError, match=expected):
        Shards(**options)


def test_addresses_of_services_are_names_or_numbers():
    for address in ("grpc://localhost:5050", "grpc://10.0.0.7:1", "grpc://[::1]:65535"):
        assert Shards(train="r", service=address).service == address


def test_the_fingerprint_knows_heads_and_sizes_of_shards_and_all_of_the_others(write, pattern):
    validation = write("v.jsonl", rows(0, 2))

    def fingerprint(**options):
        return Shards(train=pattern, validation=validation, **options).fingerprint()

    first = fingerprint()
    assert fingerprint(service="grpc://a:1", examples=5, shards_at_a_time=3) == first
    seen = {first, fingerprint(sample=5), fingerprint(text_field="t")}
    write("v.jsonl", rows(0, 2, "b"))
    seen.add(fingerprint())
    write("train-1.jsonl.gz", rows(10, 21))
    seen.add(fingerprint())
    write("train-3.jsonl.gz", rows(30, 40))
    seen.add(fingerprint())
    assert len(seen) == 6
