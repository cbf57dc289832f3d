"""The features of a cut model: made ahead, in order, for each replica; some are kept."""

import threading
import time

import numpy as np
import pytest
from hashing_encoder import FittedCutText

from sentiment_train.data.batches import FILLER, RowSlice, epoch_order, stored_order
from sentiment_train.data.bucketing import BucketTable
from sentiment_train.data.host_half import HostHalf, ahead
from sentiment_train.data.store import EncodedSplit
from sentiment_train.schema import check_batch

TEXTS = ["a", "b c d", "", "e f", "größer als \ud800", "h i j k l m", "n", b"\xff o"]
TABLE = BucketTable((2, 6), (3, 2))


@pytest.fixture(scope="module")
def split(tf):
    counts = [max(len(text.split()), 1) for text in TEXTS]
    return EncodedSplit(
        tokens=np.zeros((sum(counts), 0), np.uint8),
        offsets=np.concatenate([[0], np.cumsum(counts)]),
        labels=np.arange(len(TEXTS), dtype=np.int32),
        weights=np.full(len(TEXTS), 0.5, np.float32),
        texts=TEXTS,
    )


def words_of(batch, rows):
    """The hashed words of each row of a batch of one replica."""
    ids, texts = batch.features["border_0"].numpy(), batch.features["border_1"].numpy()
    return [ids[texts == row].tolist() for row in rows]


def hashed(tf, text):
    text = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return [int(tf.strings.to_hash_bucket_fast(word, 50)) for word in text.split()]


def test_every_batch_has_the_texts_of_its_rows_in_the_planned_order(tf, split):
    encoder = FittedCutText(50, True)
    planned = epoch_order(split.lengths, TABLE, seed=1, epoch=0)
    batches = list(HostHalf(encoder).batches(split, planned, RowSlice()))
    assert len(batches) == len(planned)
    shapes = set()
    for plan, batch in zip(planned, batches, strict=True):
        check_batch(batch)
        real = plan.rows != FILLER
        found = words_of(batch, batch.features["rows"].numpy())
        texts = [TEXTS[row] if row != FILLER else "" for row in plan.rows]
        assert found == [hashed(tf, text) for text in texts]
        assert batch.labels.numpy()[real].tolist() == plan.rows[real].tolist()
        assert batch.weights.numpy().tolist() == [0.5 if is_real else 0.0 for is_real in real]
        shapes.add((plan.length, *(tuple(f.shape) for f in batch.features.values())))
    assert len(shapes) == 2  # one for each bucket


def test_each_replica_gets_features_of_its_own_rows(tf, split):
    encoder = FittedCutText(50, True)
    planned = stored_order(split.lengths, TABLE)
    for plan, batch in zip(
        planned, HostHalf(encoder).batches(split, planned, RowSlice(2, 0, 2)), strict=True
    ):
        check_batch(batch)
        for replica, rows in enumerate(np.split(RowSlice(2, 0, 2).of(plan.rows), 2)):
            mine = {
                name: np.split(np.array(feature), 2)[replica]
                for name, feature in batch.features.items()
            }
            assert mine["rows"].tolist() == list(range(len(rows)))
            for place, row in enumerate(rows):
                ids = mine["border_0"][mine["border_1"] == place].tolist()
                assert ids == (hashed(tf, TEXTS[row]) if row != FILLER else [])


def test_replicas_with_unequal_shapes_are_a_defect(split):
    planned = stored_order(split.lengths, TABLE)
    host_half = HostHalf(FittedCutText(50, static_shapes=False))
    with pytest.raises(ValueError, match="replicas need equal shapes"):
        list(host_half.batches(split, planned, RowSlice(2, 0, 2)))


class Counting(FittedCutText):
    """Counts the batches whose features were made."""

    def __init__(self):
        super().__init__(50, True)
        self.made = 0

    def batch_features(self, *arguments):
        self.made += 1
        return super().batch_features(*arguments)


def test_batches_that_are_asked_for_again_are_made_once_while_memory_allows(split):
    planned, encoder = stored_order(split.lengths, TABLE), Counting()
    plain = list(HostHalf(encoder).batches(split, planned, RowSlice()))
    count = len(planned)
    assert encoder.made == count
    host_half = HostHalf(encoder)
    for _ in range(3):
        kept = list(host_half.batches(split, planned, RowSlice(), keep="test"))
    assert encoder.made == 2 * count
    for one, other in zip(plain, kept, strict=True):
        for name, feature in one.features.items():
            np.testing.assert_array_equal(feature, other.features[name])
    size = sum(np.array(a).nbytes for b in plain for a in [*b.features.values(), *b[1:]])
    half = HostHalf(encoder, kept_bytes=size // 2)
    for _ in range(2):
        list(half.batches(split, planned, RowSlice(), keep="test"))
    assert 3 * count < encoder.made < 4 * count
    list(host_half.batches(split, planned, RowSlice(), keep="validation"))
    list(host_half.batches(split, planned, RowSlice()))
    assert encoder.made > 4 * count


def test_results_made_ahead_come_in_order():
    def slow_at_first(number):
        time.sleep(0.02 if number < 3 else 0)
        return number

    assert list(ahead(slow_at_first, range(20), 3, 4)) == list(range(20))


def test_not_more_is_made_ahead_than_asked_for():
    begun = []
    results = ahead(begun.append, range(100), 2, 3)
    next(results)
    assert len(begun) <= 4
    results.close()
    assert len(begun) <= 4


def test_an_error_in_a_thread_reaches_the_reader_and_no_thread_is_left():
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError):
        list(ahead(lambda number: 1 // (5 - number), range(50), 2, 3))
    assert threading.active_count() == before
