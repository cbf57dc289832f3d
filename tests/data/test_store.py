import json
from itertools import chain

import numpy as np
import pytest

from sentiment_train.data.store import (
    DamagedStore,
    open_store,
    write_index,
    write_split,
    writing,
)
from sentiment_train.errors import DataError

FINGERPRINT = "0123456789abcdef" * 4
ROWS = [[5, 6], [7], [1, 2, 3]]
TEXTS = ["größer\r\nals", "", "😀"]


def pieces(rows, per_piece=2):
    for start in range(0, len(rows), per_piece):
        part = rows[start : start + per_piece]
        tokens = [row if isinstance(row, np.ndarray) else np.array(row, np.int32) for row in part]
        yield np.concatenate(tokens), np.array([len(row) for row in part])


def write(cache, rows=ROWS):
    with writing(str(cache), FINGERPRINT) as directory:
        for name, share in {"train": rows, "test": rows[:1]}.items():
            labels = [i % 2 for i in range(len(share))]
            weights = [1.0] * len(share)
            write_split(directory / name, pieces(share), labels, weights, TEXTS[: len(share)])
        write_index(directory, FINGERPRINT, ("böse", "gut"), {"duplicates": 3})
    return cache / f"store-{FINGERPRINT[:16]}"


def test_what_was_written_is_read_again(tmp_path):
    write(tmp_path)
    store = open_store(str(tmp_path), FINGERPRINT)
    assert (store.class_names, store.found) == (("böse", "gut"), {"duplicates": 3})
    assert list(store.splits) == ["train", "test"]
    train = store.splits["train"]
    assert train.tokens.tolist() == list(chain.from_iterable(ROWS))
    assert train.offsets.tolist() == [0, 2, 3, 6]
    assert (train.labels.tolist(), train.weights.tolist()) == ([0, 1, 0], [1.0, 1.0, 1.0])
    assert (train.lengths.tolist(), len(train), len(store.splits["test"])) == ([2, 1, 3], 3, 1)
    assert [list(split.texts) for split in store.splits.values()] == [TEXTS, TEXTS[:1]]


KINDS = {
    "vectors": [np.full((1, 4), i, np.float32) + np.arange(4, dtype=np.float32) for i in range(3)],
    "half": [np.full((1, 4), i, np.float16) for i in range(3)],
    "several vectors": [np.full((i + 1, 2, 3), i, np.float32) for i in range(3)],
    "only counted": [np.zeros((i + 1, 0), np.uint8) for i in range(3)],
}


@pytest.mark.parametrize("rows", KINDS.values(), ids=KINDS)
def test_tokens_of_any_kind_are_read_again(tmp_path, rows):
    write(tmp_path, rows)
    train = open_store(str(tmp_path), FINGERPRINT).splits["train"]
    expected = np.concatenate(rows)
    assert (train.tokens.dtype, train.tokens.shape) == (expected.dtype, expected.shape)
    np.testing.assert_array_equal(train.tokens, expected)
    assert train.lengths.tolist() == [len(row) for row in rows]
    assert not train.tokens.flags.writeable


@pytest.mark.parametrize("other", [np.zeros((1, 4), np.float64), np.zeros((1, 5), np.float32)])
def test_an_encoder_that_gives_tokens_of_two_kinds_is_a_defect(tmp_path, other):
    rows = [(np.zeros((1, 4), np.float32), np.array([1])), (other, np.array([1]))]
    with pytest.raises(ValueError, match="tokens of one kind"):
        write_split(tmp_path / "train", rows, [0, 1], [1.0, 1.0], ["a", "b"])


def test_tokens_are_mapped_and_not_loaded(tmp_path):
    write(tmp_path)
    tokens = open_store(str(tmp_path), FINGERPRINT).splits["train"].tokens
    assert isinstance(tokens, np.memmap)
    assert not tokens.flags.writeable


def test_a_store_that_is_not_there_is_none(tmp_path):
    assert open_store(str(tmp_path), FINGERPRINT) is None
    write(tmp_path)
    assert open_store(str(tmp_path), "f" * 64) is None


@pytest.mark.parametrize("bad", [[[5], []], [[5]]])
def test_an_encoder_that_loses_a_row_is_a_defect(tmp_path, bad):
    with pytest.raises(ValueError, match="every text one row of at least one id"):
        write_split(tmp_path / "train", pieces(bad), [0, 1], [1.0, 1.0], ["a", "b"])


def test_a_row_without_its_text_is_a_defect(tmp_path):
    with pytest.raises(ValueError, match="every text one row"):
        write_split(tmp_path / "train", pieces(ROWS), [0] * 3, [1.0] * 3, TEXTS[:2])


def test_nothing_is_left_of_a_store_whose_writer_failed(tmp_path):
    def fail():
        with writing(str(tmp_path), FINGERPRINT) as partial:
            (partial / "vocabulary.txt").write_text("half")
            raise RuntimeError("half")

    with pytest.raises(RuntimeError, match="half"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_what_an_earlier_process_left_half_written_is_not_in_the_store(tmp_path):
    partial = tmp_path / f"store-{FINGERPRINT[:16]}.partial"
    partial.mkdir()
    (partial / "junk").write_text("half")
    assert open_store(str(tmp_path), FINGERPRINT) is None
    assert not (write(tmp_path) / "junk").exists()
    assert not partial.exists()


def test_a_cache_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"Cannot write the encoded data to .* --cache_dir"):
        write(tmp_path / "file" / "cache")


ARRAYS = ("tokens", "offsets", "labels", "weights", "texts", "text_offsets")
FILES = [f"train/{name}.npy" for name in ARRAYS]


@pytest.mark.parametrize("name", ["store.json", *FILES, "test/tokens.npy"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "delete"])
def test_any_damage_is_noticed(tmp_path, name, damage):
    path = write(tmp_path) / name
    content = path.read_bytes()
    changed = bytearray(content)
    changed[len(content) * 2 // 3] ^= 1
    if damage == "delete":
        path.unlink()
    else:
        path.write_bytes({"flip": changed, "truncate": content[:-1], "empty": b""}[damage])
    with pytest.raises(DamagedStore, match=f"store-{FINGERPRINT[:16]}"):
        open_store(str(tmp_path), FINGERPRINT)


def test_every_byte_of_the_index_is_protected(tmp_path):
    path = write(tmp_path) / "store.json"
    content = path.read_bytes()
    intact = json.loads(content)
    for i in range(len(content)):
        path.write_bytes(content[:i] + bytes([content[i] ^ 1]) + content[i + 1 :])
        try:
            same = json.loads(path.read_bytes()) == intact  # only its spaces have changed
        except ValueError:
            same = False
        if not same:
            with pytest.raises(DamagedStore):
                open_store(str(tmp_path), FINGERPRINT)


@pytest.mark.parametrize("index", ["[]", "{}", "3", '{"digest": 1}', "not JSON"])
def test_an_index_of_something_else_is_damage(tmp_path, index):
    (write(tmp_path) / "store.json").write_text(index)
    with pytest.raises(DamagedStore):
        open_store(str(tmp_path), FINGERPRINT)


@pytest.mark.parametrize(
    "array, problem",
    [
        (np.array([{}, {}, {}], object), "Python objects in dtype"),
        (np.ones(3, np.float64), "weights.npy is not a flat float32 array"),
        (np.ones((3, 1), np.float32), "weights.npy is not a flat float32 array"),
    ],
)
def test_arrays_of_another_kind_are_refused_even_with_the_right_digest(tmp_path, array, problem):
    directory = write(tmp_path)
    np.save(directory / "train" / "weights.npy", array, allow_pickle=True)
    (directory / "store.json").unlink()
    write_index(directory, FINGERPRINT, ("a", "b"), {})
    with pytest.raises(DamagedStore, match=problem):
        open_store(str(tmp_path), FINGERPRINT)


@pytest.mark.parametrize(
    "name, is_content",
    [("texts", False), ("text_offsets", False), ("tokens", True), ("labels", True)],
)
def test_checkpoints_fit_data_of_the_same_ids_whatever_the_texts(tmp_path, name, is_content):
    """The digest `content` is what a resumed run compares."""
    directory = write(tmp_path)
    before = open_store(str(tmp_path), FINGERPRINT).content
    path = directory / "train" / f"{name}.npy"
    array = np.load(path)
    array[-1] += 1 if is_content else 0
    np.save(path, array if is_content else np.concatenate([array, array[-1:]]))
    (directory / "store.json").unlink()
    write_index(directory, FINGERPRINT, ("böse", "gut"), {"duplicates": 3})
    assert (open_store(str(tmp_path), FINGERPRINT).content != before) == is_content


@pytest.mark.parametrize(
    "name, is_content",
    [("tokens", False), ("texts", True), ("text_offsets", True), ("labels", True)],
)
def test_checkpoints_fit_vectors_of_the_same_texts_whatever_their_last_bits(
    tmp_path, name, is_content
):
    """Another machine makes other roundings of the same vectors."""
    directory = write(tmp_path, KINDS["vectors"])
    before = open_store(str(tmp_path), FINGERPRINT).content
    path = directory / "train" / f"{name}.npy"
    array = np.load(path)
    array[-1] += array.dtype.type(1)
    np.save(path, array)
    (directory / "store.json").unlink()
    write_index(directory, FINGERPRINT, ("böse", "gut"), {"duplicates": 3})
    assert (open_store(str(tmp_path), FINGERPRINT).content != before) == is_content


def test_a_store_of_another_fingerprint_under_its_name_is_refused(tmp_path):
    write(tmp_path)
    with pytest.raises(DamagedStore, match="of another store"):
        open_store(str(tmp_path), FINGERPRINT[:16] + "f" * 48)
