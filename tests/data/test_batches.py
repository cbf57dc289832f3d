from itertools import chain, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentiment_train.data.batches import (
    FILLER,
    PlannedBatch,
    RowSlice,
    batches,
    epoch_order,
    gather,
    stored_order,
    together,
)
from sentiment_train.data.bucketing import BucketTable, LongestInBatch
from sentiment_train.data.store import EncodedSplit
from sentiment_train.schema import check_batch


@st.composite
def tables(draw):
    lengths = [*sorted(draw(st.sets(st.integers(1, 19), max_size=4))), 20]
    sizes = draw(st.lists(st.integers(1, 17), min_size=len(lengths), max_size=len(lengths)))
    return BucketTable(tuple(lengths), tuple(sizes))


any_shapes = tables() | st.integers(1, 17).map(LongestInBatch)
lengths_of_rows = st.lists(st.integers(1, 20), min_size=1, max_size=120).map(np.array)
seeds = st.integers(-(2**63), 2**64 - 1)


def rows_of(planned):
    return [batch.rows.tolist() for batch in planned]


def split_of(lengths, inner=()):
    """Row i holds `lengths[i]` tokens that are all i + 1, label i, weight i + 0.5.

    With an inner shape they are float32, their numbers counted on from there.
    """
    count = len(lengths)
    tokens = np.repeat(np.arange(1, count + 1, dtype=np.int32), lengths)
    if inner:
        numbers = np.arange(np.prod(inner), dtype=np.float32).reshape(inner)
        tokens = tokens.reshape(-1, *np.ones_like(inner)) + numbers
    return EncodedSplit(
        tokens=tokens,
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        labels=np.arange(count, dtype=np.int32),
        weights=np.arange(count, dtype=np.float32) + 0.5,
    )


@settings(max_examples=80, deadline=None)
@given(lengths=lengths_of_rows, shapes=any_shapes, seed=seeds, epoch=st.integers(0, 10**6))
def test_every_example_is_in_an_epoch_exactly_once(lengths, shapes, seed, epoch):
    for planned in (epoch_order(lengths, shapes, seed, epoch), stored_order(lengths, shapes)):
        rows = np.concatenate([batch.rows for batch in planned])
        assert sorted(rows[rows != FILLER]) == list(range(len(lengths)))
        assert len(planned) == shapes.batches_per_epoch(lengths)
        for batch in planned:
            real = batch.rows[: batch.examples]
            assert real.min() >= 0
            assert (batch.rows[batch.examples :] == FILLER).all()
            assert (len(batch.rows), batch.length) == expected_shape(shapes, lengths[real].max())
            assert batch.tokens == lengths[real].sum() <= batch.places


def expected_shape(shapes, longest):
    """`(rows, length)` of a batch whose longest row has so many tokens."""
    if isinstance(shapes, LongestInBatch):
        return shapes.batch_size, longest
    bucket = shapes.bucket_of(longest)
    return shapes.batch_sizes[bucket], shapes.lengths[bucket]


@settings(max_examples=50, deadline=None)
@given(lengths=lengths_of_rows, shapes=any_shapes, seed=seeds, data=st.data())
def test_only_the_rows_to_be_trained_on_are_in_an_epoch(lengths, shapes, seed, data):
    kept = data.draw(st.sets(st.integers(0, len(lengths) - 1), min_size=1).map(sorted))
    planned = epoch_order(lengths, shapes, seed, 5, np.array(kept))
    rows = np.concatenate([batch.rows for batch in planned])
    assert sorted(rows[rows != FILLER]) == kept
    assert len(planned) == shapes.batches_per_epoch(lengths[kept])
    everything = rows_of(epoch_order(lengths, shapes, seed, 5, np.arange(len(lengths))))
    assert everything == rows_of(epoch_order(lengths, shapes, seed, 5))


@settings(max_examples=80, deadline=None)
@given(lengths=lengths_of_rows, shapes=any_shapes, data=st.data())
def test_slices_of_all_workers_make_up_the_global_batch(lengths, shapes, data):
    workers, local = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 4))
    slices = [RowSlice(workers * local, worker * local, local) for worker in range(workers)]
    for batch in epoch_order(lengths, shapes, 0, 0):
        parts = [rows.of(batch.rows) for rows in slices]
        assert len({len(part) for part in parts}) == 1
        assert len(parts[0]) % local == 0
        together = np.concatenate(parts)
        assert together[: len(batch.rows)].tolist() == batch.rows.tolist()
        assert (together[len(batch.rows) :] == FILLER).all()
        assert len(together) - len(batch.rows) < workers * local


@settings(max_examples=30, deadline=None)
@given(lengths=lengths_of_rows, shapes=any_shapes, seed=seeds, epoch=st.integers(0, 99))
def test_the_order_depends_on_seed_and_epoch_and_nothing_else(lengths, shapes, seed, epoch):
    first = rows_of(epoch_order(lengths, shapes, seed, epoch))
    np.random.seed(len(lengths))
    np.random.random(3)
    assert rows_of(epoch_order(lengths.copy(), shapes, seed, epoch)) == first


@pytest.mark.parametrize("shapes", [BucketTable((1,), (4,)), LongestInBatch(4)])
def test_other_seeds_and_epochs_have_other_orders(shapes):
    lengths = np.ones(30, np.int64)
    keys = [(0, 0), (0, 1), (1, 0), (-1, 0), (2**63, 0), (2**64 - 1, 1), (2**62, 0)]
    orders = {str(rows_of(epoch_order(lengths, shapes, *key))) for key in keys}
    assert len(orders) == len(keys)


def test_the_order_is_still_that_of_earlier_releases():
    """A run that is resumed by a later release must see the same batches."""
    lengths = np.array([1, 9, 3, 4, 7, 2, 8, 5, 6, 10])
    planned = epoch_order(lengths, BucketTable((5, 10), (2, 3)), seed=0, epoch=0)
    assert rows_of(planned) == [[5, 3], [9, 1, 8], [7, -1], [0, 2], [4, 6, -1]]
    (batch,) = epoch_order(np.ones(10, np.int64), BucketTable((1,), (10,)), seed=0, epoch=0)
    assert batch.rows.tolist() == [0, 2, 9, 1, 8, 5, 4, 3, 6, 7]
    planned = epoch_order(lengths, LongestInBatch(4), seed=0, epoch=0)
    assert rows_of(planned) == [[8, 5, 4, 3], [6, 7, -1, -1], [0, 2, 9, 1]]
    assert [batch.length for batch in planned] == [7, 8, 10]


def test_batches_of_all_buckets_are_mixed():
    lengths = np.arange(400) % 20 + 1
    planned = epoch_order(lengths, BucketTable((5, 10, 15, 20), (4,) * 4), seed=0, epoch=0)
    bucket_lengths = [batch.length for batch in planned]
    assert sum(a != b for a, b in pairwise(bucket_lengths)) > 50


def test_rows_of_any_length_meet_in_a_batch_that_is_padded_to_its_longest():
    lengths = np.random.default_rng(0).integers(1, 500, 3200)
    planned = epoch_order(lengths, LongestInBatch(32), seed=0, epoch=0)
    assert len({batch.length for batch in planned}) > 20
    assert min(np.ptp(lengths[batch.rows]) for batch in planned) > 300


def test_a_row_that_no_bucket_holds_is_a_defect_and_not_lost():
    with pytest.raises(ValueError, match=r"longer than the last bucket \(10 tokens\)"):
        stored_order(np.array([3, 11]), BucketTable((5, 10), (2, 2)))


def test_an_evaluation_pass_keeps_the_order_of_the_store():
    planned = stored_order(np.array([1, 9, 3, 4, 7, 2]), BucketTable((5, 10), (3, 1)))
    assert rows_of(planned) == [[0, 2, 3], [5, FILLER, FILLER], [1], [4]]
    assert [(b.examples, b.tokens, b.places) for b in planned[1:3]] == [(1, 2, 15), (1, 9, 10)]
    assert [(b.shortest, b.length) for b in planned[1:3]] == [(1, 5), (6, 10)]
    planned = stored_order(np.array([1, 9, 3, 4, 7, 2]), LongestInBatch(4))
    assert rows_of(planned) == [[0, 1, 2, 3], [4, 5, FILLER, FILLER]]
    assert [(b.examples, b.tokens, b.places) for b in planned] == [(4, 17, 36), (2, 9, 28)]


def test_rows_are_padded_on_the_right():
    tokens, lengths, labels, weights = gather(split_of([2, 1, 3]), np.array([2, 0, 1]), 4)
    assert tokens.tolist() == [[3, 3, 3, 0], [1, 1, 0, 0], [2, 0, 0, 0]]
    assert lengths.tolist() == [3, 2, 1]
    assert labels.tolist() == [2, 0, 1]
    assert weights.tolist() == [2.5, 0.5, 1.5]
    assert [a.dtype for a in (tokens, lengths, labels, weights)] == ["int32"] * 3 + ["float32"]


def test_filler_rows_have_weight_zero_and_length_one():
    tokens, lengths, labels, weights = gather(split_of([2]), np.array([0, FILLER, FILLER]), 2)
    assert tokens.tolist() == [[1, 1], [0, 0], [0, 0]]
    assert lengths.tolist() == [2, 1, 1]
    assert labels.tolist() == [0, 0, 0]
    assert weights.tolist() == [0.5, 0.0, 0.0]


@pytest.mark.parametrize("inner", [(), (3,), (2, 2), (0,)])
@settings(max_examples=60, deadline=None)
@given(lengths=lengths_of_rows, data=st.data())
def test_rows_are_gathered_as_one_by_one(inner, lengths, data):
    split = split_of(lengths, inner)
    places = st.integers(FILLER, len(lengths) - 1)
    rows = np.array(data.draw(st.lists(places, min_size=1, max_size=9)))
    length = data.draw(st.integers(lengths.max(), 25))
    found = gather(split, rows, length)
    expected = one_by_one(split, rows, length)
    for ours, reference in zip(found, expected, strict=True):
        assert ours.dtype == reference.dtype
        np.testing.assert_array_equal(ours, reference)


def one_by_one(split, rows, length):
    """What `gather` gives, row by row."""
    tokens = np.zeros((len(rows), length, *split.tokens.shape[1:]), split.tokens.dtype)
    lengths, labels = np.ones(len(rows), np.int32), np.zeros(len(rows), np.int32)
    weights = np.zeros(len(rows), np.float32)
    for place, row in enumerate(rows):
        if row == FILLER:
            continue
        real = split.tokens[split.offsets[row] : split.offsets[row + 1]]
        tokens[place, : len(real)], lengths[place] = real, len(real)
        labels[place], weights[place] = split.labels[row], split.weights[row]
    return tokens, lengths, labels, weights


def test_planned_batches_count_what_they_hold():
    batch = PlannedBatch(8, np.array([4, 2, FILLER]), 11)
    assert (batch.examples, batch.places) == (2, 24)


def read(split, planned, rows=RowSlice()):  # noqa: B008
    """Everything that the pipeline gives, as nested lists."""
    result = []
    for batch in batches(split, planned, rows):
        check_batch(batch)
        parts = (batch.features["tokens"], batch.features["lengths"], batch.labels, batch.weights)
        result.append([part.tolist() for part in parts])
    return result


@pytest.fixture(
    scope="module",
    params=[BucketTable((3, 6, 9), (5, 4, 3)), LongestInBatch(4)],
    ids=["bucket", "longest_in_batch"],
)
def epoch(tf, request):
    """A split, a plan of eight batches, and what the pipeline makes of it."""
    lengths = np.arange(31) % 9 + 1
    split = split_of(lengths)
    planned = epoch_order(lengths, request.param, seed=3, epoch=7)
    return split, planned, read(split, planned)


def test_the_pipeline_gives_the_planned_batches(epoch):
    split, planned, whole = epoch
    assert whole == [[a.tolist() for a in gather(split, p.rows, p.length)] for p in planned]


@pytest.mark.parametrize("position", [0, 1, 4, 8])
def test_a_resumed_epoch_is_the_rest_of_the_whole_one(epoch, position):
    split, planned, whole = epoch
    assert read(split, planned[position:]) == whole[position:]


@pytest.mark.parametrize("workers, local", [(1, 2), (2, 1), (3, 2)])
def test_every_number_of_replicas_sees_the_same_batches(epoch, workers, local):
    split, planned, whole = epoch
    slices = [RowSlice(workers * local, worker * local, local) for worker in range(workers)]
    of_workers = [read(split, planned, rows) for rows in slices]
    assert [len(w) for w in of_workers] == [len(whole)] * workers
    for batch, *parts in zip(whole, *of_workers, strict=True):
        for array, *pieces in zip(batch, *parts, strict=True):
            together = list(chain.from_iterable(pieces))
            assert together[: len(array)] == array
    fillers = [
        row for w in of_workers for b in w for row in zip(*b[1:], strict=True) if row[2] == 0
    ]
    assert set(fillers) == {(1, 0, 0.0)}


@settings(max_examples=50, deadline=None)
@given(lengths=lengths_of_rows, shapes=tables(), seed=seeds, in_a_row=st.integers(2, 5))
def test_batches_of_one_bucket_stay_together_in_blocks(lengths, shapes, seed, in_a_row):
    planned = epoch_order(lengths, shapes, seed, 0, in_a_row=in_a_row)
    single = epoch_order(lengths, shapes, seed, 0)
    assert sorted(rows_of(planned)) == sorted(rows_of(single))
    blocks = [[planned[0]]]
    for before, batch in pairwise(planned):
        if batch.length == before.length and len(blocks[-1]) < in_a_row:
            blocks[-1].append(batch)
        else:
            blocks.append([batch])
    batches_of = np.bincount([batch.length for batch in planned])
    blocks_of = np.bincount([block[0].length for block in blocks])
    # All blocks of a bucket are full but one: as few as there can be.
    np.testing.assert_array_equal(blocks_of, -(-batches_of // in_a_row))


@pytest.mark.parametrize("rows", [RowSlice(), RowSlice(4, 2, 2)])
def test_batches_that_are_read_together_are_those_that_are_read_one_by_one(rows):
    lengths = np.arange(31) % 6 + 1
    split, table = split_of(lengths), BucketTable((3, 6), (5, 4))
    planned = epoch_order(lengths, table, seed=3, epoch=0, in_a_row=2)[:2]
    one_by_one = read(split, planned, rows)
    several = together(split, planned, rows, count=3)
    leaves = [*several.features.values(), several.labels, several.weights]
    assert [[leaf[i].tolist() for leaf in leaves] for i in range(2)] == one_by_one
    assert not several.weights[2].any()  # nothing is planned there
    assert (several.features["lengths"][2] == 1).all()
