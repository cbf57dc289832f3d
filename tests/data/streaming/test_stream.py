"""Streams in the process of the trainer: what they give, where they go on, what they refuse."""

from __future__ import annotations

import uuid
from types import SimpleNamespace

import numpy as np
import pytest
from numbered_shards import TABLE, length_of, rows_of, write_shard

from sentiment_train.data.batches import RowSlice
from sentiment_train.data.ngrams import NGramEncoder
from sentiment_train.errors import ConfigError, DataError
from sentiment_train.schema import check_batch
from sentiment_train.training.costs import shape


def values_of(batches) -> list:
    """Everything that the batches hold, as nested lists."""
    return [
        [
            batch.batch.features["tokens"].numpy().tolist(),
            batch.batch.features["lengths"].numpy().tolist(),
            batch.batch.labels.numpy().tolist(),
            batch.batch.weights.numpy().tolist(),
            (batch.examples, batch.tokens, batch.places),
            (batch.ends_epoch, batch.stream_position),
        ]
        for batch in batches
    ]


def test_every_example_is_in_an_epoch_exactly_once_and_epochs_differ(shards, streamed):
    stream = streamed(shards(shuffled_rows=40))
    first = stream.epoch()
    both = stream.take(2 * len(first) + 9)
    assert values_of(both[: len(first)]) == values_of(first)
    marks = [i for i, batch in enumerate(both) if batch.ends_epoch]
    assert marks[0] == len(first) - 1
    epochs = [both[: marks[0] + 1], both[marks[0] + 1 : marks[1] + 1]]
    orders = [[n for batch in epoch for n in stream.numbers(batch)] for epoch in epochs]
    assert [sorted(order) for order in orders] == [list(range(115))] * 2
    assert orders[0] != orders[1]
    mixed = stream.numbers(first[0])
    assert max(mixed) - min(mixed) >= 20  # of two shards


def test_batches_have_the_shapes_of_the_buckets_and_filler_rows_of_weight_0(shards, streamed):
    stream = streamed(shards())
    shapes = dict(zip(TABLE.lengths, TABLE.batch_sizes, strict=True))
    for batch in stream.epoch():
        check_batch(batch.batch)
        tokens, lengths = (batch.batch.features[n].numpy() for n in ("tokens", "lengths"))
        numbers = stream.numbers(batch)
        rows, length = tokens.shape
        assert rows == shapes[length]
        assert shape(batch) == (rows * length, batch.length) == (rows * length, length)
        assert batch.examples == len(numbers)
        assert lengths.tolist() == [*map(length_of, numbers), *[1] * (rows - len(numbers))]
        assert np.count_nonzero(tokens, axis=1).tolist()[: len(numbers)] == [
            *map(length_of, numbers)
        ]
        assert (TABLE.bucket_of(lengths[: len(numbers)]) == TABLE.lengths.index(length)).all()
        assert batch.batch.labels.numpy()[: len(numbers)].tolist() == [n % 2 for n in numbers]
        weights = [n + 0.5 for n in numbers]
        assert batch.batch.weights.numpy().tolist() == [*weights, *[0.0] * (rows - len(numbers))]
        assert batch.tokens == sum(map(length_of, numbers))
        assert batch.places == rows * length


def test_ngrams_come_beside_the_words_as_they_are_stored(tf, shards, streamed, tmp_path):
    rules = NGramEncoder(least_texts=1)
    rules.fit(f"w{i}" for i in range(115)).save(str(tmp_path))
    encoder = rules.load(str(tmp_path))
    for batch in streamed(shards(), encoder=encoder).take(10):
        tokens = batch.batch.features["tokens"].numpy()
        real = batch.batch.weights.numpy() > 0
        numbers = batch.batch.weights.numpy()[real] - 0.5
        texts = [" ".join([f"w{n:.0f}"] * length_of(int(n))) for n in numbers]
        expected = encoder.encode(tf.constant(texts)).to_tensor(shape=[None, tokens.shape[1], 4])
        np.testing.assert_array_equal(tokens[real], expected)


def test_a_stream_goes_on_exactly_where_it_stopped(shards, streamed):
    stream = streamed(shards())
    whole = stream.take(70)
    end = next(i for i, batch in enumerate(whole) if batch.ends_epoch)
    for stopped in (7, end - 1, end):
        rest = stream.take(6, whole[stopped].stream_position)
        assert values_of(rest) == values_of(whole[stopped + 1 : stopped + 7])


def test_the_order_depends_on_the_seed_and_nothing_else(tf, shards, streamed):
    source = shards()
    first = values_of(streamed(source).take(12))
    tf.random.set_seed(99)
    assert values_of(streamed(source).take(12)) == first
    tf.random.set_seed(0)
    assert values_of(streamed(source, seed=2).take(12)) != first


def test_workers_have_the_rows_of_the_same_global_batches(shards, streamed):
    source, (workers, local) = shards(), (2, 3)
    whole = streamed(source).take(25)
    of_workers = [
        streamed(source, RowSlice(workers * local, worker * local, local)).take(25)
        for worker in range(workers)
    ]
    for together, *parts in zip(values_of(whole), *map(values_of, of_workers), strict=True):
        assert all(part[4:] == together[4:] for part in parts)
        assert len({len(part[0]) for part in parts}) == 1
        assert len(parts[0][0]) % local == 0
        rows = len(together[0])
        for place in range(4):
            joined = [row for part in parts for row in part[place]]
            assert joined[:rows] == together[place]
            assert len(joined) - rows < workers * local
        assert not any(row for part in parts for row in part[3][rows:])


def test_all_formats_and_places_give_the_same_batches(tf, tmp_path, shards, streamed):
    in_memory = f"ram://{uuid.uuid4().hex}"
    tf.io.gfile.makedirs(in_memory)
    expected = values_of(streamed(shards("jsonl")).take(20))
    assert values_of(streamed(shards("jsonl.gz", in_memory)).take(20)) == expected
    for ending in ("tfrecord", "tfrecord.gz"):
        (folder := tmp_path / ending).mkdir()
        assert values_of(streamed(shards(ending, folder)).take(20)) == expected


BAD_ROWS = [
    (b"{oops", "not JSON: "),
    (
        b'{"text": "w1", "label": "od", "w": 1}',
        "unknown label 'od'; known: 'even', 'odd'. Did you mean 'odd'? The sample of the training"
        " split has no such label.",
    ),
    (
        b'{"text": "w1 w1 w1 w1 w1 w1 w1 w1 w1 w1 w1", "label": "odd", "w": 1}',
        "11 tokens; the longest bucket has 10.",
    ),
    (b'{"text": "\xfc", "label": "odd", "w": 1}', "byte 0xfc is not valid utf-8."),
]


def with_bad_rows(path, bad: list[bytes]) -> None:
    """Puts a blank line and the bad ones behind the fourth row: they are line 6 and so on."""
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([*lines[:4], b"  ", *bad, *lines[4:], b""]))


def test_a_bad_row_ends_the_stream_with_its_place(tmp_path, shards, streamed):
    source = shards("jsonl")
    with_bad_rows(tmp_path / "s-3.jsonl", [BAD_ROWS[1][0]])
    with pytest.raises(DataError) as error:
        streamed(source).epoch()
    message = error.value.message
    assert message.startswith(f"{tmp_path}/s-3.jsonl:6: {BAD_ROWS[1][1]}")
    assert message.endswith("in Shards.labels, or set Shards.on_bad_row = 'skip'.")


def test_skipped_rows_are_counted_and_told_and_no_other_is_lost(tmp_path, shards, streamed):
    source, told = shards("jsonl", sizes=(23, 0, 60, 0, 32), on_bad_row="skip"), []
    with_bad_rows(path := tmp_path / "s-2.jsonl", [row for row, _ in BAD_ROWS])
    stream = streamed(source, warn=told.append)
    numbers = [n for batch in stream.epoch() for n in stream.numbers(batch)]
    assert sorted(numbers) == list(range(115))
    # One batch of the next epoch was made as well, and what came before that was skipped again.
    assert len(BAD_ROWS) <= stream.stream.bad_rows <= 2 * len(BAD_ROWS)
    assert len(told) == min(stream.stream.bad_rows, 5)
    told = told[: len(BAD_ROWS)]
    told.sort(key=lambda line: int(line.split(":")[1]))
    for number, (line, (_, expected)) in enumerate(zip(told, BAD_ROWS, strict=True), start=6):
        assert line.startswith(f"skipped {path}:{number}: {expected}")


def test_rows_that_are_to_be_left_out_are_not_trained_on(shards, streamed):
    stream = streamed(shards(), leave_out_above=5)
    numbers = [n for batch in stream.epoch() for n in stream.numbers(batch)]
    assert sorted(numbers) == [n for n in range(115) if length_of(n) <= 5]


def test_shards_without_any_good_row_end_the_stream(tmp_path, shards, streamed):
    source = shards(on_bad_row="skip", text_field="txt")
    with pytest.raises(DataError, match=r"no field 'txt'.* no good row in all of the shards\.$"):
        streamed(source, warn=lambda line: None).take(1)


def test_a_damaged_shard_is_told(tmp_path, shards, streamed):
    source = shards()
    (tmp_path / "s-2.jsonl.gz").write_text("not compressed")
    with pytest.raises(DataError, match=r"s-2\.jsonl\.gz cannot be read: .*incorrect header"):
        streamed(source).epoch()


def test_a_shard_that_is_gone_is_told(tmp_path, shards, streamed):
    stream = streamed(shards())
    (tmp_path / "s-2.jsonl.gz").unlink()
    with pytest.raises(DataError, match=r"s-2\.jsonl\.gz cannot be read: "):
        stream.epoch()


def test_vectors_are_streamed_as_well(tf, shards, streamed):
    from sentiment_train.data.bucketing import BucketTable

    class Counting:
        """Two numbers for each text: its length in bytes, and that doubled."""

        texts_per_call = 5

        def encode(self, texts):
            sizes = tf.cast(tf.strings.length(texts), tf.float32)
            vectors = tf.stack([sizes, 2 * sizes], axis=1)
            return tf.RaggedTensor.from_row_lengths(vectors, tf.ones_like(texts, tf.int64))

    encoder = Counting()
    encoder.words = ()
    source = shards()
    batches = streamed(source, table=BucketTable((1,), (16,)), encoder=encoder).epoch()
    assert sum(batch.examples for batch in batches) == 115
    for batch in batches:
        check_batch(batch.batch)
        tokens = batch.batch.features["tokens"].numpy()
        assert (tokens.shape, tokens.dtype) == ((16, 1, 2), "float32")
    sizes = sorted(
        row for b in batches for row in b.batch.features["tokens"].numpy()[..., 0].flat if row
    )
    assert sizes == sorted(len(row["text"]) for row in rows_of(0, 115))


def test_encoders_that_need_whole_batches_or_other_machines_are_refused(shards, streamed):
    cut = SimpleNamespace(batch_features=lambda *_: {}, words=())
    with pytest.raises(ConfigError, match="cut in two"):
        streamed(shards(), encoder=cut)
    pieces = SimpleNamespace(encode=lambda texts: texts, words=())
    with pytest.raises(ConfigError, match=r"^Shards\.service: .* encoders of words, not Simple"):
        streamed(shards(service="grpc://127.0.0.1:1"), encoder=pieces)


def test_workers_with_other_shards_are_told_apart(tmp_path, shards, streamed):
    contents = {
        streamed(shards()).stream.content,
        streamed(shards(shards_at_a_time=3)).stream.content,
    }
    assert streamed(shards(service="grpc://a:1")).stream.content in contents
    assert len(contents) == 2
    write_shard(str(tmp_path / "s-9.jsonl.gz"), rows_of(0, 2))
    assert streamed(shards()).stream.content not in contents


def test_two_formats_at_once_are_refused(tmp_path, shards, streamed):
    source = shards("jsonl")
    write_shard(str(tmp_path / "s-9.tfrecord.jsonl"), rows_of(0, 2))
    with pytest.raises(DataError, match="name one kind"):
        streamed(source)
