"""A dynamic loss scale for float16 that is the same on all replicas (Micikevicius et al. 2018).

The gradients of small losses vanish in float16. They are computed of `scale · loss`; when one is
not finite on any replica, all skip the step and the scale halves; after `growth_steps` good steps
it doubles.
"""

from __future__ import annotations

import tensorflow as tf


class LossScale:
    """Created inside the strategy's scope; `good` and `bad` are called by every replica."""

    def __init__(self, initial: float = 2.0**15, growth_steps: int = 2000):
        self.growth_steps = growth_steps
        first = tf.VariableAggregation.ONLY_FIRST_REPLICA
        self.scale = tf.Variable(initial, trainable=False, aggregation=first, name="scale")
        self.good_steps = tf.Variable(0, trainable=False, aggregation=first, name="good_steps")

    @property
    def variables(self) -> list[tf.Variable]:
        return [self.scale, self.good_steps]

    def good(self) -> None:
        """After a step that was applied."""
        count = self.good_steps + 1
        grown = tf.equal(count % self.growth_steps, 0)
        self.scale.assign(tf.where(grown, tf.minimum(self.scale * 2.0, 2.0**24), self.scale))
        self.good_steps.assign(count)

    def bad(self) -> None:
        """After a step that was skipped."""
        self.scale.assign(tf.maximum(self.scale / 2.0, 1.0))
        self.good_steps.assign(0)
