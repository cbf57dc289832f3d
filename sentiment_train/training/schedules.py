"""The learning rate of each step: up to a peak, then constant, cosine, linear or exponential."""

from __future__ import annotations

import math
from dataclasses import dataclass

import gin

from sentiment_train.config import Part
from sentiment_train.duration import check_duration, to_steps


@dataclass(frozen=True)
class _Peaked(Part):
    """What all schedules share: a peak.

    Subclasses say when it is (`rising_steps`), and what the rate is before it (`rise`) and after it
    (`decay`).
    """

    learning_rate: float = 1e-3  # at the peak

    def check(self):
        self.require(self.learning_rate > 0, "learning_rate", "above 0")

    def build(self, total_steps: int, steps_per_epoch: int):
        """A Keras schedule: step (0 is the first) → learning rate.

        Raises:
          ConfigError: if the warm-up is longer than the training.
        """
        rising_steps = self.rising_steps(total_steps, steps_per_epoch)
        return _keras_schedule(self, rising_steps, total_steps, steps_per_epoch)

    def decay(self, tf, progress, steps, steps_per_epoch):
        """Share of the peak after it.

        Args:
          progress: scalar float32, 0 at the peak, 1 at the end of the training.
          steps: scalar float32, steps since the peak.
        """
        return tf.ones_like(progress)


@dataclass(frozen=True)
class _WarmedUp(_Peaked):
    """With a linear warm-up of a given length."""

    warmup: str = "0 steps"

    def check(self):
        super().check()
        check_duration(self, "warmup", at_least_one_step=False)

    def rising_steps(self, total_steps: int, steps_per_epoch: int) -> int:
        """Steps before the peak."""
        return _steps_of_warmup(self, total_steps, steps_per_epoch)

    def rise(self, step, rising_steps: int):
        """Share of the peak before it; the last step before it has all of it."""
        return (step + 1.0) / rising_steps


def _steps_of_warmup(schedule, total_steps: int, steps_per_epoch: int) -> int:
    warmup_steps = to_steps(schedule.warmup, steps_per_epoch)
    if warmup_steps > total_steps:
        schedule.refuse(
            "warmup",
            f"is {warmup_steps} steps, longer than the training of {total_steps}; write"
            f" '{total_steps // 10} steps', or lengthen Training.length.",
        )
    return warmup_steps


def _keras_schedule(schedule: _Peaked, rising_steps, total_steps, steps_per_epoch):
    import keras
    import tensorflow as tf

    class RiseThenDecay(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            step = tf.cast(step, tf.float32)
            steps = tf.maximum(step - rising_steps, 0.0)
            progress = tf.minimum(steps / max(total_steps - rising_steps, 1), 1.0)
            share = schedule.decay(tf, progress, steps, steps_per_epoch)
            if rising_steps:
                share = tf.where(step < rising_steps, schedule.rise(step, rising_steps), share)
            return schedule.learning_rate * share

    return RiseThenDecay()


def _cosine(tf, progress, final_share: float):
    """Half a cosine from 1 to a share."""
    return final_share + (1.0 - final_share) * 0.5 * (1.0 + tf.cos(math.pi * progress))


@gin.configurable
@dataclass(frozen=True)
class ConstantSchedule(_WarmedUp):
    """The peak from the end of the warm-up on."""


@gin.configurable
@dataclass(frozen=True)
class CosineSchedule(_WarmedUp):
    """Half a cosine from the peak to `final_share` of it (Loshchilov & Hutter 2017, no restart)."""

    final_share: float = 0.0

    def check(self):
        super().check()
        self.require(0 <= self.final_share <= 1, "final_share", "0 to 1")

    def decay(self, tf, progress, steps, steps_per_epoch):
        return _cosine(tf, progress, self.final_share)


@gin.configurable
@dataclass(frozen=True)
class OneCycleSchedule(_Peaked):
    """From a share of the peak in a straight line up to it, then half a cosine far below.

    Smith & Topin 2019, whose way down is a line and a short end; the cosine makes one of both.
    High rates in the middle keep the weights out of narrow valleys, low ones at the end settle
    them. The paper also lowers the momentum where the rate is high. Here it stays: the optimizers
    of Keras correct the bias of their moments as if the momentum were the same in all steps.
    """

    rising_share: float = 0.3  # of the training, before the peak
    warmup: str | None = None  # before the peak; rising_share then counts for nothing
    start_share: float = 0.04  # of the peak, in the first step
    final_share: float = 1e-4  # of the peak, at the end

    def check(self):
        super().check()
        self.require(0 < self.rising_share < 1, "rising_share", "between 0 and 1")
        for name in ("start_share", "final_share"):
            self.require(0 <= getattr(self, name) <= 1, name, "0 to 1")
        if self.warmup is not None:
            check_duration(self, "warmup", at_least_one_step=False)

    def rising_steps(self, total_steps: int, steps_per_epoch: int) -> int:
        if self.warmup is None:
            return round(self.rising_share * total_steps)
        return _steps_of_warmup(self, total_steps, steps_per_epoch)

    def rise(self, step, rising_steps: int):
        return self.start_share + (1.0 - self.start_share) * step / rising_steps

    def decay(self, tf, progress, steps, steps_per_epoch):
        return _cosine(tf, progress, self.final_share)


@gin.configurable
@dataclass(frozen=True)
class LinearSchedule(CosineSchedule):
    """A straight line from the peak to `final_share` of it."""

    def decay(self, tf, progress, steps, steps_per_epoch):
        return 1.0 - (1.0 - self.final_share) * progress


@gin.configurable
@dataclass(frozen=True)
class ExponentialSchedule(_WarmedUp):
    """Multiplied by `decay_rate` every `decay_every`, smoothly."""

    decay_rate: float = 0.5
    decay_every: str = "1 epoch"

    def check(self):
        super().check()
        self.require(0 < self.decay_rate <= 1, "decay_rate", "above 0, at most 1")
        check_duration(self, "decay_every")

    def decay(self, tf, progress, steps, steps_per_epoch):
        periods = steps / to_steps(self.decay_every, steps_per_epoch)
        return tf.pow(self.decay_rate, periods)
