import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentiment_train.data.stored_texts import StoredTexts, write_texts

SURROGATES = st.characters(categories=["Cs"])  # half a pair each, also two that make a pair


def stored(directory, texts):
    files = directory / "texts.npy", directory / "text_offsets.npy"
    write_texts(*files, texts)
    return StoredTexts(*(np.load(file, mmap_mode="r", allow_pickle=False) for file in files))


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(st.text(st.characters() | SURROGATES | st.sampled_from("\r\n\0\ufeff"))))
def test_texts_come_back_exactly_as_they_were(tmp_path_factory, texts):
    found = stored(tmp_path_factory.mktemp("texts"), texts)
    assert list(found) == texts
    assert [found[i] for i in range(len(texts))] == texts
    assert len(found) == len(texts)


def test_texts_of_nothing_but_empty_ones_come_back(tmp_path):
    assert list(stored(tmp_path, ["", ""])) == ["", ""]


def test_a_row_may_be_a_number_of_numpy(tmp_path):
    found = stored(tmp_path, ["a", "bé", "c"])
    assert [found[row] for row in np.array([2, 1])] == ["c", "bé"]


@pytest.mark.parametrize("row", [-1, 2])
def test_a_row_that_is_not_there_is_an_index_error(tmp_path, row):
    with pytest.raises(IndexError, match=f"row {row} of 2 texts"):
        stored(tmp_path, ["a", "b"])[row]


def test_texts_are_mapped_and_not_loaded(tmp_path):
    found = stored(tmp_path, ["a" * 1000] * 1000)
    assert isinstance(found._content, np.memmap)
    assert found[999] == "a" * 1000
