"""The outer loop: epochs, steps, and what is done between them. One for every model."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import tensorflow as tf

from sentiment_train.data.batches import Fed
from sentiment_train.errors import Interrupted
from sentiment_train.training.progress import Progress
from sentiment_train.training.state import TrainingState
from sentiment_train.training.step import Measures, TrainStep


class TrainingData(Protocol):
    """The training split as the loop sees it."""

    def feed(
        self, epoch: int, position: int, stream_position: int, most: Callable[[], int]
    ) -> Iterator[Fed]:
        """The rest of an epoch.

        Args:
          position: batches of the epoch that were used already.
          stream_position: the last one that was fed.
          most: how many batches of one shape may be fed at once; asked before each time.
        """


class Action(Protocol):
    """Something done between two steps. If it may be due at multiples of a number of steps, that is
    its attribute `every`."""

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
                feed = self.data.feed(
                    state.epoch,
                    state.position,
                    state.stream_position,
                    lambda: self._steps_until_a_mark(state.step),
                )
                epoch = state.epoch
                while state.epoch == epoch and not state.finished:
                    self._train(state, feed)
                    self._act(state)
                    if self.should_stop():
                        raise Interrupted("Stopped by a signal.")
        except Interrupted:
            self.progress.check()
            self.save(state)
            raise

    def _steps_until_a_mark(self, step: int) -> int:
        """How many steps one call may do: then something may be due, or other weights move."""
        most = min(self.step.settings.steps_per_call, self.total_steps - step)
        for every in (self.progress.every, *(getattr(a, "every", None) for a in self.actions)):
            if every:
                most = min(most, every - step % every)
        phase = self.step.optimizer.phase_of
        return next((n for n in range(1, most) if phase(step + n) != phase(step)), most)

    def _train(self, state: TrainingState, feed: Iterator[Fed]) -> None:
        """One call of the step: one update, or several."""
        started = time.monotonic()
        used, measures = self._update(state, feed)
        planned = [batch for fed in used for batch in fed.planned]
        state.step += 1 if self.step.settings.accumulate_batches > 1 else len(planned)
        state.position += len(planned)
        state.examples += sum(batch.examples for batch in planned)
        state.stream_position = used[-1].stream_position
        if used[-1].ends_epoch:
            state.epoch, state.position = state.epoch + 1, 0
        state.finished = state.step >= self.total_steps
        self.progress.add(state, measures, planned)
        seconds = time.monotonic() - started
        state.train_seconds += seconds
        self.progress.add_seconds(seconds)
        self.progress.report_if_due(state)

    def _update(self, state: TrainingState, feed: Iterator[Fed]) -> tuple[list[Fed], Measures]:
        """What was used, and the measures `[steps]` or of the one step."""
        phase, size = (
            self.step.optimizer.phase_of(state.step),
            self.step.settings.accumulate_batches,
        )
        used = []
        for fed in feed:
            used.append(fed)
            number = tf.constant(state.batches, tf.int32)
            state.batches += len(fed.planned)
            if self.step.settings.steps_per_call > 1:
                count = tf.constant(len(fed.planned), tf.int32)
                return used, self.step.train_several(fed.batch, count, number, phase)
            if size == 1:
                return used, self.step.train(fed.batch, number, phase)
            self.step.accumulate(fed.batch, number, phase)
            if len(used) == size or fed.ends_epoch:
                break
        return used, self.step.apply_accumulated(phase)

    def _act(self, state: TrainingState) -> None:
        for action in self.actions:
            if action.due(state):
                self.progress.check()
                action(state)
