"""Training batches of a source that is not stored: what the training loop gets instead of a store.

Where a stream is, is one number: block · 2³² + elements used of it (see `blocks`).
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sentiment_train.data.batches import RowSlice
from sentiment_train.data.bucketing import BucketTable
from sentiment_train.data.prepare import PreparedData
from sentiment_train.data.sources import files
from sentiment_train.data.sources.shard_files import first_line, is_tfrecord, rows_of
from sentiment_train.data.sources.shards import Shards
from sentiment_train.data.streaming import rows
from sentiment_train.data.streaming.blocks import BlockRules, stream_of
from sentiment_train.data.streaming.service import Service
from sentiment_train.errors import ConfigError, DataError
from sentiment_train.schema import Batch, FittedEncoder

_BLOCK = 1 << 32
_AHEAD = 2  # batches that wait for the training step
_SECONDS_UNTIL_ASKED = 5  # whether the service is alive, while no batch comes
_SECONDS_UNTIL_GIVEN_UP = 600
_REPORTED_PROBLEMS = 5


@dataclass(frozen=True)
class StreamedBatch:
    """A batch, with what is known of the global one it is a part of."""

    batch: Batch  # the rows of this worker, in the memory of the host
    examples: int
    tokens: int  # real ones
    places: int  # of tokens, padding included
    ends_epoch: bool  # whether the next one is of the next epoch
    stream_position: int  # where to go on after it

    @property
    def length(self) -> int:
        """That every row is padded to."""
        return self.batch.features["tokens"].shape[1]


class Stream:
    """The training split of `Shards`, batch by batch.

    Args:
      data: of the sample; its encoder and class names count.
      table: the buckets, chosen on the sample.
      slices: which rows of a global batch are this worker's.
      job: a name for the data service: the same on all workers, another one at each start.
      warn: takes one line about rows that are skipped.
      leave_out_above: tokens; longer rows are not trained on.

    Raises:
      ConfigError: for an encoder that cannot be streamed.
      DataError: if there are no shards.
    """

    def __init__(
        self,
        source: Shards,
        data: PreparedData,
        table: BucketTable,
        slices: RowSlice,
        seed: int,
        job: str,
        *,
        warn: Callable[[str], None] = print,
        leave_out_above: int | None = None,
    ):
        check_encoder(data.encoder, source.service)
        paths = tuple(source.shards())
        if source.service:  # data workers have other working directories
            paths = tuple(path if "://" in path else os.path.abspath(path) for path in paths)
        tfrecord = is_tfrecord(paths[0])
        self._encoder = _without_files(data.encoder)
        self._source, self._job, self._warn, self._feeds = source, job, warn, 0
        self._rules = BlockRules(
            paths=paths,
            tfrecord=tfrecord,
            specification=rows.specification(source, data.class_names, tfrecord),
            seed=seed,
            shards_at_a_time=source.shards_at_a_time,
            shuffled_rows=source.shuffled_rows,
            table=table,
            leave_out_above=leave_out_above,
            slices=slices,
        )
        self.bad_rows = 0

    @property
    def content(self) -> str:
        """A digest of what all workers must have in common, and what must not change while a run
        goes on: the shards by name and size, and their order."""
        import tensorflow as tf

        named = [(os.path.basename(p), tf.io.gfile.stat(p).length) for p in self._rules.paths]
        return files.sha256_of_values(named, self._rules.shards_at_a_time, self._rules.seed)

    def feed(self, stream_position: int = 0) -> Iterator[StreamedBatch]:
        """The batches from a position on, without an end.

        Raises:
          DataError: if a shard cannot be read, a row is bad and not to be skipped, or an epoch has
            no row at all; if the data service is not there.
          ServiceGone: if it goes away.
        """
        service = Service(self._source.service) if self._source.service else None
        place = _Place(self._rules.blocks_per_epoch, *divmod(stream_position, _BLOCK))
        before = None
        for element in self._good(self._elements(stream_position, place, service), place, service):
            epoch = place.epoch  # of the stream, now that this element has come
            if before is not None:
                yield self._streamed(*before, ends_epoch=epoch > before[2])
            before = element, place.after(), epoch

    def _streamed(self, element: dict, position: int, epoch: int, ends_epoch: bool):
        features = {"tokens": element["tokens"], "lengths": element["lengths"]}
        return StreamedBatch(
            Batch(features, element["labels"], element["weights"]),
            *(int(element[name]) for name in ("examples", "real_tokens", "places")),
            ends_epoch,
            position,
        )

    def _good(self, elements, place: _Place, service: Service | None) -> Iterator[dict]:
        """The elements that are batches; the others are told and counted, or end the run."""
        last_good = place.epoch
        for element in elements:
            numbers = [int(element[n]) for n in ("data_worker", "data_workers", "block", "batch")]
            if service is not None:
                service.wait_for_all(numbers[1])
                service.check_round(*numbers)
            place.note(*numbers)
            if not (problem := element["problem"].numpy().decode()):
                last_good = place.epoch
                yield element
            elif self._source.on_bad_row == "error":
                raise DataError(problem)
            else:
                self._skip(problem)
                if place.epoch > last_good + 1:
                    raise DataError(f"{problem} There is no good row in all of the shards.")

    def _skip(self, problem: str) -> None:
        self.bad_rows += 1
        if self.bad_rows <= _REPORTED_PROBLEMS:
            more = " (more will not be told)" if self.bad_rows == _REPORTED_PROBLEMS else ""
            self._warn(f"skipped {problem}{more}")

    def _elements(
        self, stream_position: int, place: _Place, service: Service | None
    ) -> Iterator[dict]:
        """What the data set gives, made ahead in a thread: it may wait for another machine."""
        if service is not None:
            service.wait()
        self._feeds += 1
        waiting: queue.Queue = queue.Queue(_AHEAD)
        ended = threading.Event()
        arguments = (stream_position, waiting, ended)
        threading.Thread(target=self._fill, args=arguments, daemon=True).start()
        try:
            while True:
                kind, value = _next(waiting, service)
                if kind == "element":
                    yield value
                else:
                    raise self._error_of(value, place, service)
        finally:
            ended.set()

    def _fill(self, stream_position: int, waiting: queue.Queue, ended: threading.Event) -> None:
        import tensorflow as tf

        try:
            with tf.device("/cpu:0"):
                for element in self._data_set(stream_position):
                    if not _put(waiting, ("element", element), ended):
                        return
            raise tf.errors.UnavailableError(None, None, "the stream has ended, which has no end")
        except Exception as error:  # is raised again in the main thread
            _put(waiting, ("error", error), ended)

    def _data_set(self, stream_position: int):
        import tensorflow as tf

        address, slices = self._source.service, self._rules.slices
        block, skipped = divmod(stream_position, _BLOCK)
        made = stream_of(self._rules, self._encoder, block, skipped, shared=bool(address))
        if not address:
            return made
        service = tf.data.experimental.service
        return made.apply(
            service.distribute(
                service.ShardingPolicy.HINT,
                address,
                job_name=f"{self._job}-{self._feeds}",
                consumer_index=slices.first_replica // slices.local_replicas,
                num_consumers=self._rules.workers,
            )
        )

    def _error_of(self, error: Exception, place: _Place, service: Service | None) -> Exception:
        """One sentence for what went wrong in the pipeline, unless it is a defect of ours."""
        import tensorflow as tf

        if isinstance(error, tf.errors.UnavailableError | tf.errors.CancelledError) and service:
            return service.gone(first_line(error))
        if "sentiment_train/" in str(error) and "registry" in str(error):
            return DataError(
                f"The data workers of {self._source.service} do not know how to read rows; start"
                " them with scripts/data_service.sh, of the same version."
            )
        if isinstance(error, tf.errors.DataLossError | tf.errors.NotFoundError):
            for path in self._rules.paths_of(place.blocks_at_work()):
                any(False for _ in rows_of(path))  # raises the error that names the file
            if service is not None:
                return service.gone(first_line(error))
            return DataError(f"A shard cannot be read: {first_line(error)}")
        return error


class _Place:
    """How far the data workers have come; without a service there is one, in this process."""

    def __init__(self, blocks_per_epoch: int, block: int, used: int):
        self._per_epoch, self._first, self._used = blocks_per_epoch, block, used
        self._blocks: dict[int, int] = {}

    def note(self, data_worker: int, data_workers: int, block: int, batch: int) -> None:
        """Takes what is said of an element."""
        for other in range(data_workers):
            self._blocks.setdefault(other, self._first + other)
        self._blocks[data_worker], self._used = block, batch + 1

    @property
    def epoch(self) -> int:
        """That of the data worker that has come the least far."""
        return min(self._blocks.values(), default=self._first) // self._per_epoch

    def blocks_at_work(self) -> range:
        """Those that may be read just now, a little ahead of the last element."""
        blocks = self._blocks.values() or [self._first]
        return range(min(blocks), max(blocks) + len(blocks) + _AHEAD)

    def after(self) -> int:
        """Where to go on after the last element: exactly there, if there is one data worker, else

        at the beginning of the first block that is not finished.
        """
        used = self._used if len(self._blocks) == 1 else 0
        return min(self._blocks.values()) * _BLOCK + used


def check_encoder(encoder: FittedEncoder, service: str | None) -> None:
    """Raises ConfigError if the encoder cannot be a part of the stream's graph."""
    if hasattr(encoder, "batch_features"):
        raise ConfigError(
            "Experiment.source = @Shards() is for encoders that give ids or vectors; the host half"
            " of a model that was cut in two needs the texts of whole batches. Use mode = 'frozen',"
            " or a source that is stored.",
            "Experiment.source",
        )
    if service and not hasattr(encoder, "without_files"):
        raise ConfigError(
            f"Shards.service: data workers know encoders of words, not {type(encoder).__name__}."
            " Set it to None: every worker then reads all shards by itself.",
            "Shards.service",
        )


def _without_files(encoder: FittedEncoder) -> FittedEncoder:
    """The same encoder with its vocabulary in memory: another machine does not have the file."""
    return encoder.without_files() if hasattr(encoder, "without_files") else encoder


def _put(waiting: queue.Queue, item: tuple, ended: threading.Event) -> bool:
    """Whether `item` was taken before nobody asks any more."""
    while not ended.is_set():
        try:
            waiting.put(item, timeout=0.2)
            return True
        except queue.Full:
            continue
    return False


def _next(waiting: queue.Queue, service: Service | None) -> tuple:
    """The next item; asks from time to time whether the service is alive while there is none."""
    started = time.monotonic()
    while True:
        try:
            return waiting.get(timeout=_SECONDS_UNTIL_ASKED if service else None)
        except queue.Empty:
            service.check_alive()
            if time.monotonic() - started > _SECONDS_UNTIL_GIVEN_UP:
                raise service.gone("no batch has come for 10 minutes") from None
