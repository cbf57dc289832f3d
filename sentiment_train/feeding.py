"""From planned batches to values on replicas: of the store, of a cut encoder, or of a stream."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

import numpy as np

from sentiment_train.data import batches as batching
from sentiment_train.data.batches import Fed, PlannedBatch, RowSlice, in_tensors
from sentiment_train.data.bucketing import BatchShapes
from sentiment_train.data.host_half import HostHalf
from sentiment_train.data.prepare import PreparedData
from sentiment_train.data.store import EncodedSplit
from sentiment_train.errors import DataError
from sentiment_train.experiment import Experiment
from sentiment_train.runtime.peers import agree
from sentiment_train.runtime.runtime import Decisions
from sentiment_train.schema import Batch, check_batch


class Feeding:
    """The batches of an experiment, this worker's rows of them, distributed over its replicas.

    Args:
      shapes: of all batches.
      trained_rows: `[m] int64` the rows of the training split that are trained on.
      warn: takes one line about rows that are skipped.
    """

    def __init__(
        self,
        experiment: Experiment,
        data: PreparedData,
        shapes: BatchShapes,
        trained_rows: np.ndarray,
        decisions: Decisions,
        warn: Callable[[str], None],
    ):
        self.experiment, self.data, self.shapes = experiment, data, shapes
        self.trained_rows, self.decisions, self.devices = trained_rows, decisions, decisions.devices
        self.warn = warn
        devices = self.devices
        first = devices.cluster.index * devices.local_replicas
        self._rows = RowSlice(devices.replicas, first, devices.local_replicas)
        cut = hasattr(data.encoder, "batch_features")
        self._host_half = HostHalf(data.encoder) if cut else None
        self._streamed: tuple[int, Iterator] | None = None  # where the open stream is

    def order(self, epoch: int) -> list[PlannedBatch]:
        """The global batches of a training epoch."""
        return batching.epoch_order(
            self.data.splits["train"].lengths,
            self.shapes,
            self.decisions.seed,
            epoch,
            self.trained_rows,
            self.experiment.training.steps_per_call,
        )

    def feed(
        self, epoch: int, position: int, stream_position: int, most: Callable[[], int]
    ) -> Iterator[Fed]:
        """The rest of a training epoch; see `training.loop.TrainingData`."""
        if self._stream is not None:
            return self._feed_from_stream(stream_position)
        planned = self.order(epoch)[position:]
        return batching.fed(self._reader(planned), planned, most)

    def _reader(self, planned: Sequence[PlannedBatch]):
        """What reads these batches of the training split in the portions of `batching.fed`."""
        split, per_call = self.data.splits["train"], self.experiment.training.steps_per_call
        if per_call > 1 and not self._host_half:
            return lambda used: in_tensors(self._together(split, used))
        batches = map(in_tensors, self._of_this_worker(split, planned))
        if per_call > 1:
            return lambda used: batching.stacked([next(batches) for _ in used], per_call)
        return lambda used: self.devices.distribute(next(batches))

    def _together(self, split: EncodedSplit, used: Sequence[PlannedBatch]) -> Batch:
        """The batches of one call of the step. They are parts of one array, so that what holds for
        the first of them holds for all."""
        per_call = self.experiment.training.steps_per_call
        batch = batching.together(split, used, self._rows, per_call)
        features = {name: values[0] for name, values in batch.features.items()}
        check_batch(Batch(features, batch.labels[0], batch.weights[0]))
        return batch

    @property
    def shards(self) -> str | None:
        """A digest of the files of a stream; None if the training split is stored."""
        return self._stream.content if self._stream is not None else None

    @cached_property
    def _stream(self):
        """Of a source whose training split is not in the store, but a sample of it."""
        source = self.experiment.source
        if not getattr(source, "streamed", False):
            return None
        from sentiment_train.data.streaming.stream import Stream

        job = self.devices.peers.gather(uuid.uuid4().hex)[0]
        stream = Stream(
            source,
            self.data,
            self.shapes,
            self._rows,
            self.decisions.seed,
            job,
            warn=self.warn,
            leave_out_above=self.experiment.buckets.leave_out_above,
        )
        how = "Each worker needs the same files under Shards.train."
        agree(self.devices.peers, "shards", stream.content, how, DataError)
        return stream

    def _feed_from_stream(self, position: int) -> Iterator[Fed]:
        """Up to the end of the epoch; the stream stays open for the next one."""
        if self._streamed is None or self._streamed[0] != position:
            self._streamed = position, self._stream.feed(position)
        batches = self._streamed[1]
        for streamed in batches:
            check_batch(streamed.batch)
            self._streamed = streamed.stream_position, batches
            batch = self.devices.distribute(streamed.batch)
            yield Fed(batch, (streamed,), streamed.ends_epoch, streamed.stream_position)
            if streamed.ends_epoch:
                return

    def read(self, planned: Sequence[PlannedBatch]) -> Iterator[Batch]:
        """Batches of the stored training split, distributed over the replicas."""
        return self.read_split(self.data.splits["train"], planned)

    def read_split(
        self, split: EncodedSplit, planned: Sequence[PlannedBatch], keep: str | None = None
    ) -> Iterator[Batch]:
        """The batches of any split, distributed over the replicas.

        Args:
          keep: a name for split and plan, if they will be read again; see `HostHalf`.
        """
        batches = map(in_tensors, self._of_this_worker(split, planned, keep))
        return map(self.devices.distribute, batches)

    def _of_this_worker(
        self, split: EncodedSplit, planned: Sequence[PlannedBatch], keep: str | None = None
    ) -> Iterator[Batch]:
        if self._host_half:
            batches = self._host_half.batches(split, planned, self._rows, keep)
        else:
            batches = batching.batches(split, planned, self._rows)
        for batch in batches:
            check_batch(batch)
            yield batch

    def batch_of_any_shape(self):
        """A `Batch` of `tf.TypeSpec`s that fits every batch of `read`, so that one trace serves
        them all; None where each shape gets its own, because it is compiled."""
        compiled = self.decisions.jit_compile or self.devices.kind != "cpu"
        if self._host_half or (compiled and self.experiment.buckets.pad_to == "bucket"):
            return None
        import tensorflow as tf

        sizes = self.shapes.sizes
        shapes = zip((min(sizes), max(sizes)), (1, 2), strict=True)
        planned = [
            PlannedBatch(length, np.full(size, batching.FILLER), 0) for size, length in shapes
        ]
        specs = [tf.nest.map_structure(tf.type_spec_from_value, b) for b in self.read(planned)]
        return tf.nest.map_structure(lambda a, b: a.most_specific_common_supertype([b]), *specs)
