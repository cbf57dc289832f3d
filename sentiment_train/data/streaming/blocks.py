"""Shards → batches, as one graph of `tf.data` that runs in the trainer or in data workers.

    epoch e, shards in the order of (seed, e) ─► blocks of some shards ─► rows, read in turn
      ─► examples, shuffled by (seed, block) ─► ids ─► buckets ─► batches of static shapes ─► parts

Blocks are numbered through all epochs. Everything of a block depends on the seed and its number
only, and at its end the buckets are emptied: their last batches are filled with rows of weight 0.
So every example is in exactly one batch of an epoch, and "batch i of block b" says all about where
a stream is.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass

from sentiment_train.data.batches import RowSlice
from sentiment_train.data.bucketing import BucketTable
from sentiment_train.data.sources.shard_files import open_shard
from sentiment_train.data.streaming import rows
from sentiment_train.schema import FittedEncoder

_ROWS_IN_TURN = 16  # of one shard before the next one's
_TEXTS_PER_CALL = 512
_FOREVER = 1 << 62


@dataclass(frozen=True)
class BlockRules:
    """What the batches are made by; the same on all workers."""

    paths: tuple[str, ...]  # of the shards
    tfrecord: bool
    specification: bytes  # see `rows.examples_of_rows`
    seed: int
    shards_at_a_time: int
    shuffled_rows: int
    table: BucketTable
    leave_out_above: int | None
    slices: RowSlice  # of this worker; the others have as many replicas

    @property
    def blocks_per_epoch(self) -> int:
        return -(-len(self.paths) // self.shards_at_a_time)

    def paths_of(self, blocks: Iterable[int]) -> list[str]:
        """The shards of some blocks, as the graph reads them."""
        paths = []
        for block in blocks:
            epoch, place = divmod(block, self.blocks_per_epoch)
            order = rows.order_of_shards(self.seed, epoch, len(self.paths))
            first = place * self.shards_at_a_time
            paths += [self.paths[i] for i in order[first : first + self.shards_at_a_time]]
        return paths

    @property
    def workers(self) -> int:
        return self.slices.replicas // self.slices.local_replicas

    @property
    def filled_sizes(self) -> list[int]:
        """Rows of a batch of each bucket, filled up to a multiple of the replicas."""
        replicas = self.slices.replicas
        return [-(-size // replicas) * replicas for size in self.table.batch_sizes]


def stream_of(rules: BlockRules, encoder: FittedEncoder, block: int, skipped: int, shared: bool):
    """An endless data set of elements, each a dict: the part of one worker in a global batch.

    Its values: tokens `[rows, length, *inner]`, lengths `[rows] int32`, labels `[rows] int32`,
    weights `[rows] float32`; of the global batch examples, real_tokens, places; block, batch (its
    number in the block), data_worker and data_workers, all int64 scalars; problem, a string: if
    it is not empty, this is no batch but a row that cannot be used.

    Args:
      block: where to begin.
      skipped: how many elements of that block are passed over; they are made all the same.
      shared: the graph is for data workers: each of n takes every n-th block, and gives the parts
        of all workers of a batch, one after the other.
    """
    import tensorflow as tf

    rows.register()
    # Nothing here is Python that would have to be converted, which takes longer than all the rest.
    make = tf.autograph.experimental.do_not_convert(_stream_of)
    return make(rules, encoder, block, skipped, shared)


def _stream_of(rules: BlockRules, encoder: FittedEncoder, block: int, skipped: int, shared: bool):
    import tensorflow as tf

    places = tf.data.Dataset.from_tensors(tf.constant([0, 1], tf.int64))
    if shared:  # tf.data service puts in which worker of how many it is
        hint = tf.data.experimental.SHARD_HINT
        places = tf.data.Dataset.range(_FOREVER).shard(hint, hint).take(2).batch(2)

    def of_data_worker(place):
        first, step = place[0], place[1] - place[0]
        numbers = tf.data.Dataset.counter(block + first, step)
        return numbers.flat_map(lambda number: of_block(number, first, step))

    def of_block(number, data_worker, data_workers):
        batches = _batches(rules, encoder, number).enumerate()
        batches = batches.skip(tf.where(number == block, tf.constant(skipped, tf.int64), 0))
        counted = {"block": number, "data_worker": data_worker, "data_workers": data_workers}
        batches = batches.map(lambda i, element: {**element, **counted, "batch": i})
        if shared:
            return batches.flat_map(lambda element: _parts(element, rules.workers))
        worker = rules.slices.first_replica // rules.slices.local_replicas
        return batches.map(lambda element: _part(element, worker))

    options = tf.data.Options()
    options.deterministic = True
    # Its functions have no state, which TensorFlow cannot know.
    options.experimental_external_state_policy = tf.data.experimental.ExternalStatePolicy.IGNORE
    return places.flat_map(of_data_worker).with_options(options)


_BY_WORKER = ("tokens", "lengths", "labels", "weights")  # split over the workers


def _part(element: dict, worker) -> dict:
    return {name: v[worker] if name in _BY_WORKER else v for name, v in element.items()}


def _parts(element: dict, workers: int):
    import tensorflow as tf

    return tf.data.Dataset.range(workers).map(lambda worker: _part(element, worker))


def _batches(rules: BlockRules, encoder: FittedEncoder, number):
    """The batches of a block, split by workers: `[workers, rows, …]`."""
    import tensorflow as tf

    epoch = number // rules.blocks_per_epoch
    place = number % rules.blocks_per_epoch * rules.shards_at_a_time
    order = rows.call(rows.ORDER, [rules.seed, epoch, len(rules.paths)], [tf.int64])[0]
    paths = tf.gather(tf.constant(rules.paths), order[place : place + rules.shards_at_a_time])
    examples = _examples(rules, number, paths)
    encoded = examples.batch(getattr(encoder, "texts_per_call", _TEXTS_PER_CALL)).map(
        lambda *columns: _encoded(rules, encoder, *columns)
    )
    singles = encoded.unbatch()
    if rules.leave_out_above is not None:
        most = rules.leave_out_above
        singles = singles.filter(lambda row: (row["lengths"] <= most) | (row["problem"] != ""))
    return _bucketed(rules, singles)


def _examples(rules: BlockRules, number, paths):
    """Text, label, weight, path, number and problem of each example of a block, shuffled."""
    import tensorflow as tf

    def read(path):
        named = tf.data.Dataset.from_tensors(path).repeat()
        numbers = tf.data.Dataset.counter(1)
        return tf.data.Dataset.zip((named, numbers, open_shard(path, rules.tfrecord)))

    def parsed(window, columns):
        names, lines, contents = columns
        given = [rules.specification, rules.seed, number, window, names, lines, contents]
        kinds = [tf.string, tf.int32, tf.float32, tf.string, tf.int64, tf.string]
        values = rows.call(rows.EXAMPLES, given, kinds)
        for value in values:
            value.set_shape([None])
        return tuple(values)

    in_turn = tf.data.Dataset.from_tensor_slices(paths).interleave(
        read, cycle_length=rules.shards_at_a_time, block_length=_ROWS_IN_TURN
    )
    return in_turn.batch(rules.shuffled_rows).enumerate().map(parsed).unbatch()


def _encoded(rules: BlockRules, encoder: FittedEncoder, texts, labels, weights, paths, numbers,
             problems) -> dict:  # fmt: skip
    """Rows of equal width; what is too long for the last bucket becomes a problem."""
    import tensorflow as tf

    ids, longest = encoder.encode(texts), rules.table.lengths[-1]
    lengths = tf.cast(ids.row_lengths(), tf.int32)
    inner = ids.flat_values.shape[1:].as_list()
    if ids.flat_values.shape.rank == 1:
        ids = tf.cast(ids, tf.int32)
    where = tf.strings.join([paths, tf.strings.as_string(numbers)], ":")
    buckets = tf.searchsorted(tf.constant(rules.table.lengths, tf.int64), ids.row_lengths(),
                              out_type=tf.int64)  # fmt: skip
    what = tf.strings.join(
        [where, ": ", tf.strings.as_string(lengths), f" tokens; the longest bucket has {longest}."
         " Cut texts with WordEncoder.max_length, or name longer Buckets.lengths."]
    )  # fmt: skip
    most = rules.leave_out_above or _FOREVER
    too_long = (lengths > longest) & (tf.cast(lengths, tf.int64) <= most)
    problems = tf.where(tf.equal(problems, ""), tf.where(too_long, what, ""), problems)
    return {
        "tokens": ids.to_tensor(shape=[None, longest, *inner]),
        "lengths": lengths,
        "labels": labels,
        "weights": weights,
        "bucket": tf.where(tf.equal(problems, ""), buckets, len(rules.table.lengths)),
        "problem": problems,
    }


def _bucketed(rules: BlockRules, singles):
    """Single rows → batches of their buckets, the last one of each when there are no more rows.

    A row with a problem is at once a batch of its own, so that it is told soon.
    """
    import tensorflow as tf

    # Behind the buckets stands one for the rows with a problem.
    bounds = tf.constant([*rules.table.lengths, 1], tf.int64)
    sizes = tf.constant([*rules.table.batch_sizes, 1], tf.int64)
    filled = tf.constant([*rules.filled_sizes, rules.slices.replicas], tf.int64)

    def finished(bucket, batch):
        length, total = bounds[bucket], filled[bucket]
        real = tf.shape(batch["labels"], tf.int64)[0]
        split = functools.partial(_split, total=total, workers=rules.workers)
        return {
            "tokens": split(batch["tokens"][:, :length]),
            "lengths": split(batch["lengths"], filler=1),
            "labels": split(batch["labels"]),
            "weights": split(batch["weights"]),
            "examples": real,
            "real_tokens": tf.reduce_sum(tf.cast(batch["lengths"], tf.int64)),
            "places": length * sizes[bucket],
            "problem": batch["problem"][0],
        }

    return singles.group_by_window(
        lambda row: row["bucket"],
        lambda bucket, window: window.batch(sizes[bucket]).map(lambda b: finished(bucket, b)),
        window_size_func=lambda bucket: sizes[bucket],
    )


def _split(values, total, workers: int, filler: int = 0):
    """`[rows, …]`, filled up to `total` rows → `[workers, total / workers, …]`."""
    import tensorflow as tf

    missing = [[0, total - tf.shape(values, tf.int64)[0]], *[[0, 0]] * (values.shape.rank - 1)]
    values = tf.pad(values, missing, constant_values=tf.cast(filler, values.dtype))
    shape = tf.shape(values, tf.int64)
    return tf.reshape(values, tf.concat([[workers, total // workers], shape[1:]], axis=0))
