"""The outer loop: epochs, steps, and what is done between them. One for every model."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import tensorflow as tf

from sentiment_train.data.batches import PlannedBatch
from sentiment_train.errors import Interrupted
from sentiment_train.schema import Batch
from sentiment_train.training.progress import Progress
from sentiment_train.training.state import TrainingState
from sentiment_train.training.step import Measures, TrainStep


class TrainingData(Protocol):
    """The training split as the loop sees it."""

    def order(self, epoch: int) -> list[PlannedBatch]:
        """The global batches of an epoch, known before anything is read."""

    def read(self, planned: Sequence[PlannedBatch]) -> Iterator[Batch]:
        """Their values, distributed over the replicas."""


class Action(Protocol):
    """Something done between two steps."""

    def due(self, state: TrainingState) -> bool: ...

    def __call__(self, state: TrainingState) -> None: ...


class Loop:
    """Trains from where `state` is until `state.finished`.

    Args:
      actions: asked in this order after each step; the last one saves.
      save: writes the state at once, for when a signal comes.
    """

    def __init__(
        self,
        step: TrainStep,
        data: TrainingData,
        total_steps: int,
        progress: Progress,
        actions: Sequence[Action],
        save: Callable[[TrainingState], None],
        should_stop: Callable[[], bool],
    ):
        self.step, self.data, self.total_steps = step, data, total_steps
        self.progress, self.actions = progress, actions
        self.save, self.should_stop = save, should_stop

    def run(self, state: TrainingState) -> None:
        """Trains.

        Raises:
          Interrupted: after a signal, when the state has been saved.
          DivergedError: at a loss that is not finite; nothing later than that was saved.
        """
        try:
            self._act(state)  # an evaluation that was cut off is still due
            while not state.finished:
                planned = self.data.order(state.epoch)
                batches = self.data.read(planned[state.position :])
                for used in self._steps_of(planned, state.position):
                    self._train_step(state, used, batches, len(planned))
                    self._act(state)
                    if self.should_stop():
                        raise Interrupted("Stopped by a signal.")
                    if state.finished:
                        break
        except Interrupted:
            self.progress.check()
            self.save(state)
            raise

    def _steps_of(self, planned: list[PlannedBatch], position: int):
        """The batches of each step; the last step of an epoch may have fewer."""
        size = self.step.settings.accumulate_batches
        for start in range(position, len(planned), size):
            yield planned[start : start + size]

    def _train_step(self, state, used, batches, batches_of_epoch: int) -> None:
        started = time.monotonic()
        measures = self._update(state, used, batches)
        state.step += 1
        state.position += len(used)
        state.examples += sum(planned.examples for planned in used)
        if state.position == batches_of_epoch:
            state.epoch, state.position = state.epoch + 1, 0
        state.finished = state.step >= self.total_steps
        self.progress.add(state, measures, used)
        seconds = time.monotonic() - started
        state.train_seconds += seconds
        self.progress.add_seconds(seconds)
        self.progress.report_if_due(state)

    def _update(self, state: TrainingState, used, batches) -> Measures:
        phase = self.step.optimizer.phase_of(state.step)
        for _ in used:
            batch, number = next(batches), tf.constant(state.batches, tf.int32)
            state.batches += 1
            if self.step.settings.accumulate_batches == 1:
                return self.step.train(batch, number, phase)
            self.step.accumulate(batch, number, phase)
        return self.step.apply_accumulated(phase)

    def _act(self, state: TrainingState) -> None:
        for action in self.actions:
            if action.due(state):
                self.progress.check()
                action(state)
