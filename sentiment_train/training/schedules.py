"""The learning rate of each step: warm-up, then constant, cosine, linear or exponential."""

from __future__ import annotations

import math
from dataclasses import dataclass

import gin

from sentiment_train.config import Part
from sentiment_train.duration import check_duration, to_steps


@dataclass(frozen=True)
class _Schedule(Part):
    """What all schedules share: the peak, reached after a linear warm-up."""

    learning_rate: float = 1e-3  # at the peak
    warmup: str = "0 steps"

    def check(self):
        self.require(self.learning_rate > 0, "learning_rate", "above 0")
        check_duration(self, "warmup", at_least_one_step=False)

    def build(self, total_steps: int, steps_per_epoch: int):
        """A Keras schedule: step (0 is the first) → learning rate.

        Raises:
          ConfigError: if the warm-up is longer than the training.
        """
        warmup_steps = to_steps(self.warmup, steps_per_epoch)
        if warmup_steps > total_steps:
            self.refuse(
                "warmup",
                f"is {warmup_steps} steps, longer than the training of {total_steps}; write"
                f" '{total_steps // 10} steps', or lengthen Training.length.",
            )
        return _keras_schedule(self, warmup_steps, total_steps, steps_per_epoch)

    def decay(self, tf, progress, steps, steps_per_epoch):
        """Share of the peak after the warm-up.

        Args:
          progress: scalar float32, 0 at the end of the warm-up, 1 at the end of the training.
          steps: scalar float32, steps since the warm-up.
        """
        return tf.ones_like(progress)


def _keras_schedule(schedule: _Schedule, warmup_steps, total_steps, steps_per_epoch):
    import keras
    import tensorflow as tf

    class WarmupThenDecay(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            step = tf.cast(step, tf.float32)
            steps = tf.maximum(step - warmup_steps, 0.0)
            progress = tf.minimum(steps / max(total_steps - warmup_steps, 1), 1.0)
            share = schedule.decay(tf, progress, steps, steps_per_epoch)
            rising = tf.minimum((step + 1.0) / max(warmup_steps, 1), 1.0)
            return schedule.learning_rate * tf.where(step < warmup_steps, rising, share)

    return WarmupThenDecay()


@gin.configurable
@dataclass(frozen=True)
class ConstantSchedule(_Schedule):
    """The peak from the end of the warm-up on."""


@gin.configurable
@dataclass(frozen=True)
class CosineSchedule(_Schedule):
    """Half a cosine from the peak to `final_share` of it (Loshchilov & Hutter 2017, no restart)."""

    final_share: float = 0.0

    def check(self):
        super().check()
        self.require(0 <= self.final_share <= 1, "final_share", "0 to 1")

    def decay(self, tf, progress, steps, steps_per_epoch):
        cosine = 0.5 * (1.0 + tf.cos(math.pi * progress))
        return self.final_share + (1.0 - self.final_share) * cosine


@gin.configurable
@dataclass(frozen=True)
class LinearSchedule(CosineSchedule):
    """A straight line from the peak to `final_share` of it."""

    def decay(self, tf, progress, steps, steps_per_epoch):
        return 1.0 - (1.0 - self.final_share) * progress


@gin.configurable
@dataclass(frozen=True)
class ExponentialSchedule(_Schedule):
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
