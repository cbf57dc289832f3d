from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentiment_train.data.bucketing import (
    Buckets,
    BucketTable,
    LongestInBatch,
    least_padding,
)
from sentiment_train.errors import ConfigError


def places(table, lengths):
    """Token places of an epoch, one bucket at a time."""
    total, shortest = 0, 0
    for longest, size in zip(table.lengths, table.batch_sizes, strict=True):
        rows = sum(shortest < n <= longest for n in lengths)
        total += -(-rows // size) * size * longest
        shortest = longest
    return total


@settings(max_examples=150, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 24), min_size=1, max_size=40),
    longer=st.integers(0, 3),
    count=st.integers(1, 4),
    multiple_of=st.integers(1, 9),
    tokens=st.integers(1, 60),
)
def test_the_chosen_lengths_have_the_least_padding(lengths, longer, count, multiple_of, tokens):
    longest = max(lengths) + longer
    rows_of = Buckets(tokens_per_batch=tokens, multiple_of=2).rows

    def table(bucket_lengths):
        return BucketTable(tuple(bucket_lengths), tuple(map(rows_of, bucket_lengths)))

    chosen = least_padding(np.array(lengths), longest, count, multiple_of, rows_of)
    candidates = range(multiple_of, longest, multiple_of)
    best = min(
        places(table([*cut, longest]), lengths)
        for size in range(min(count, len(candidates) + 1))
        for cut in combinations(candidates, size)
    )
    assert places(table(chosen), lengths) == best
    assert len(chosen) <= count
    assert chosen[-1] == longest
    assert list(chosen) == sorted(set(chosen))
    assert all(length % multiple_of == 0 for length in chosen[:-1])


def test_padding_of_packaged_imdb_is_at_most_twelve_percent_with_twelve_shapes(imdb):
    lengths = imdb.splits["train"].lengths
    table = Buckets().table(lengths, imdb.longest)
    assert table.lengths[-1] == imdb.longest == 256
    assert len(table.lengths) <= 12
    assert table.padding_share(lengths) <= 0.12


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=60),
    bucket_lengths=st.sets(st.integers(1, 39), max_size=5),
    sizes=st.lists(st.integers(1, 9), min_size=6, max_size=6),
)
def test_padding_and_batches_are_counted_with_filler_rows(lengths, bucket_lengths, sizes):
    cuts = (*sorted(bucket_lengths), 40)
    table = BucketTable(cuts, tuple(sizes[: len(cuts)]))
    padding = table.padding_share(np.array(lengths))
    assert padding == pytest.approx(1 - sum(lengths) / places(table, lengths))
    assert 0 <= padding < 1


def test_boundaries_are_inclusive():
    table = BucketTable((4, 8, 16), (1, 1, 1))
    lengths = np.array([1, 4, 5, 8, 9, 16])
    assert table.bucket_of(lengths).tolist() == [0, 0, 1, 1, 2, 2]
    assert table.batches_per_bucket(lengths).tolist() == [2, 2, 2]
    assert table.batches_per_epoch(lengths) == 6


@settings(max_examples=30, deadline=None)
@given(lengths=st.lists(st.integers(1, 30), min_size=1, max_size=6), size=st.integers(1, 7))
def test_padding_to_the_longest_is_that_of_the_mean_over_all_orders(lengths, size):
    orders = np.array(list(permutations(lengths)))
    longest = sum(orders[:, i : i + size].max(axis=1) for i in range(0, len(lengths), size))
    expected = 1 - sum(lengths) / (size * longest.mean())
    shapes = LongestInBatch(size)
    assert shapes.padding_share(np.array(lengths)) == pytest.approx(expected)
    assert shapes.batches_per_epoch(np.array(lengths)) == -(-len(lengths) // size)


def test_padding_to_the_longest_costs_several_times_that_of_buckets(imdb):
    lengths = imdb.splits["train"].lengths
    table = Buckets(batch_size=32).table(lengths, imdb.longest)
    shapes = Buckets(batch_size=32, pad_to="longest_in_batch").table(lengths, imdb.longest)
    assert shapes == LongestInBatch(32)
    assert shapes.padding_share(lengths) > 0.25 > 3 * table.padding_share(lengths)


def test_longer_rows_are_left_out_of_training():
    lengths, labels = np.array([5, 8, 9, 3, 20]), np.array([0, 1, 0, 0, 1])
    assert Buckets().trained_rows(lengths, labels).tolist() == [0, 1, 2, 3, 4]
    assert Buckets(leave_out_above=8).trained_rows(lengths, labels).tolist() == [0, 1, 3]
    for limit in (7, 1):
        with pytest.raises(
            ConfigError, match="no training example of some class; the median has 8"
        ):
            Buckets(leave_out_above=limit).trained_rows(lengths, labels)


@pytest.mark.parametrize(
    "settings_, message",
    [
        ({}, "set Buckets.batch_size as well"),
        ({"batch_size": 4, "lengths": (8, 16)}, r"Buckets.lengths = \(8, 16\) cannot be combined"),
    ],
)
def test_padding_to_the_longest_is_for_one_batch_size_and_no_lengths(settings_, message):
    with pytest.raises(ConfigError, match=message):
        Buckets(pad_to="longest_in_batch", **settings_)


@pytest.mark.parametrize(
    "settings_, expected",
    [
        ({}, {1: 256, 16: 256, 32: 256, 33: 248, 1024: 8, 1100: 7, 8192: 1, 9000: 1}),
        ({"batch_size": 3}, {1: 3, 9000: 3}),
        ({"tokens_per_batch": 100, "multiple_of": 1, "max_batch_size": 20}, {1: 20, 7: 14, 60: 1}),
    ],
)
def test_batch_sizes_stay_within_the_token_budget(settings_, expected):
    buckets = Buckets(**settings_)
    assert {length: buckets.rows(length) for length in expected} == expected


def test_given_lengths_are_taken_as_they_are():
    table = Buckets(lengths=(10, 50), batch_size=2).table(np.array([3, 44]), 44)
    assert table == BucketTable((10, 50), (2, 2))


def test_given_lengths_that_are_too_short_are_refused():
    with pytest.raises(ConfigError, match="longest text of 51 tokens; end it with 51") as error:
        Buckets(lengths=(10, 50)).table(np.array([3, 44]), 51)
    assert error.value.binding == "Buckets.lengths"


@pytest.mark.parametrize(
    "settings_",
    [
        {"lengths": ()},
        {"lengths": (8, 8)},
        {"lengths": (16, 8)},
        {"lengths": (0, 8)},
        {"count": 0},
        {"multiple_of": 0},
        {"tokens_per_batch": 0},
        {"max_batch_size": 0},
        {"batch_size": 0},
        {"leave_out_above": 0},
    ],
)
def test_senseless_settings_are_refused(settings_):
    with pytest.raises(ConfigError, match="out of range"):
        Buckets(**settings_)
