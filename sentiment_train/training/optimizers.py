"""Optimizers: the settings gin may change, and the Keras optimizer made of them.

The gradients are summed over replicas, divided and clipped before the optimizer sees them, so
none of Keras' own reduction, clipping or averaging is used.
"""

from __future__ import annotations

from dataclasses import dataclass

import gin

from sentiment_train.config import Part


def _check_betas(part) -> None:
    for name in ("beta_1", "beta_2"):
        part.require(0 <= getattr(part, name) < 1, name, "from 0 to less than 1")
    part.require(part.epsilon > 0, "epsilon", "above 0")


@gin.configurable
@dataclass(frozen=True)
class Adam(Part):
    """Kingma & Ba 2015.

    `sparse_updates` is for large embedding tables, of which a batch touches few rows: the others
    are left as they are, moments and all, where Adam would go on to move them; see `touched_rows`.
    """

    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7
    sparse_updates: bool = False

    def check(self):
        _check_betas(self)

    def build(self, schedule):
        """A Keras optimizer that follows `schedule`."""
        import keras

        kind = keras.optimizers.Adam
        if self.sparse_updates:
            from sentiment_train.training.touched_rows import AdamOfTouchedRows as kind
        return kind(schedule, self.beta_1, self.beta_2, self.epsilon)


@gin.configurable
@dataclass(frozen=True)
class Nadam(Adam):
    """Adam with Nesterov momentum (Dozat 2016)."""

    def build(self, schedule):
        """A Keras optimizer that follows `schedule`."""
        import keras

        kind = keras.optimizers.Nadam
        if self.sparse_updates:
            from sentiment_train.training.touched_rows import NadamOfTouchedRows as kind
        return kind(schedule, self.beta_1, self.beta_2, self.epsilon)


@gin.configurable
@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019); biases and norms are spared.

    These are what is called so, and every scalar and vector whatever it is called: the variables of
    a pretrained encoder have names of their own.
    """

    weight_decay: float = 0.01

    def check(self):
        super().check()
        self.require(self.weight_decay >= 0, "weight_decay", "at least 0")
        if self.sparse_updates:
            self.refuse("sparse_updates", "goes with Adam or Nadam: weight decay moves every row.")

    def build(self, schedule):
        """A Keras optimizer that follows `schedule`."""
        import keras

        class SparingAdamW(keras.optimizers.AdamW):
            def build(self, variables):
                spared = [variable for variable in variables if len(variable.shape) < 2]
                self.exclude_from_weight_decay(spared, ["bias", "norm", "gamma", "beta"])
                super().build(variables)

        return SparingAdamW(schedule, self.weight_decay, self.beta_1, self.beta_2, self.epsilon)


@gin.configurable
@dataclass(frozen=True)
class Sgd(Part):
    """Stochastic gradient descent with momentum."""

    momentum: float = 0.9
    nesterov: bool = False

    def check(self):
        self.require(0 <= self.momentum < 1, "momentum", "from 0 to less than 1")

    def build(self, schedule):
        """A Keras optimizer that follows `schedule`."""
        import keras

        return keras.optimizers.SGD(schedule, self.momentum, self.nesterov)
