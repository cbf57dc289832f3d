"""Sources of numbered shards, and streams of them."""

from __future__ import annotations

import uuid
from types import SimpleNamespace

import pytest
from numbered_shards import TABLE, Streamed, write_numbered

from sentiment_train.data.batches import RowSlice
from sentiment_train.data.encoders import WordEncoder
from sentiment_train.data.sources.shards import Shards
from sentiment_train.data.streaming.stream import Stream


@pytest.fixture
def shards(tmp_path):
    """Writes shards of 23 examples each, 115 in all, and gives a source of them."""

    def write(ending="jsonl.gz", folder=None, sizes=(23,) * 5, **options):
        pattern = write_numbered(str(folder or tmp_path), sizes, ending)
        given = {"shards_at_a_time": 2, "shuffled_rows": 7, "weight_field": "w", **options}
        return Shards(train=pattern, **given)

    return write


@pytest.fixture
def streamed(tf):
    """Makes a `Streamed` of a source."""

    def make(source, slices=RowSlice(), seed=1, table=TABLE, encoder=None, **options):  # noqa: B008
        class_names = options.pop("class_names", ("even", "odd"))
        if encoder is None:
            texts = [" ".join([f"w{i}"]) for i in range(115)]
            encoder = WordEncoder(max_length=None).fit(texts)
        data, job = SimpleNamespace(encoder=encoder, class_names=class_names), uuid.uuid4().hex
        stream = Stream(source, data, table, slices, seed, job, **options)
        return Streamed(stream, getattr(encoder, "words", ()))

    return make
