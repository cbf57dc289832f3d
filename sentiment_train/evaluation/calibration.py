"""One temperature for all logits, so that probabilities are as often right as they say.

Guo, Pleiss, Sun & Weinberger 2017, "On Calibration of Modern Neural Networks", section 4.2: the
logits are divided by one number, the temperature, which has the least negative log-likelihood on
the validation split. Which class is the likeliest does not change.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import gin
import numpy as np

from sentiment_train.config import Part
from sentiment_train.evaluation.metrics import Predictions
from sentiment_train.evaluation.significance import effective_examples

_LOWEST, _HIGHEST = 0.05, 20.0  # temperatures; a fit that ends there has found none


@dataclass(frozen=True)
class Calibration:
    """What was fitted."""

    temperature: float = 1.0
    examples: int = 0  # of the validation split, those with a weight
    none_because: str | None = None  # the temperature is 1, and this is why

    def applied(self, predictions: Predictions) -> Predictions:
        """The same with logits `[n, 1 or classes] float64` of the calibrated model.

        In float64, so that two logits that differ still do, and no answer changes.
        """
        logits = predictions.logits.astype(np.float64) / self.temperature
        return replace(predictions, logits=logits)

    def of_results(self) -> dict:
        """As `results.json` has it."""
        why = {"none_because": self.none_because} if self.none_because else {}
        return {"temperature": self.temperature, "examples": self.examples, **why}

    @property
    def line(self) -> str:
        """For people, behind the word `calibrated`."""
        if self.none_because:
            return f"no — {self.none_because}"
        fitted = f"fitted on {self.examples:,} validation examples"
        return f"by a temperature of {self.temperature:.4f}, which divides the logits; {fitted}"


UNCALIBRATED = Calibration()


@gin.configurable
@dataclass(frozen=True)
class TemperatureScaling(Part):
    """A temperature for the logits of a classifier, fitted on the validation split."""

    min_examples: int = 100  # effective ones of the validation split; with fewer there is none

    def check(self):
        self.require(self.min_examples >= 1, "min_examples", "at least 1")

    def fit(self, predictions: Predictions | None) -> Calibration:
        """The temperature of the least cross-entropy.

        That is a convex function of 1 / temperature. The same numbers give the same temperature, so
        all workers have the same.

        Args:
          predictions: for the validation split, of the weights that are kept; None: there is none.
        """
        from scipy.optimize import minimize_scalar

        if predictions is None:
            return Calibration(none_because="there is no validation split")
        predictions = predictions.with_weight()
        weights = predictions.weights.astype(np.float64)
        examples = int(np.count_nonzero(weights))
        enough = examples and effective_examples(weights) >= self.min_examples
        if not enough:
            why = f"{examples:,} validation examples are too few (TemperatureScaling.min_examples)"
            return Calibration(examples=examples, none_because=why)

        def cross_entropy(log_temperature: float) -> float:
            return Calibration(float(np.exp(log_temperature))).applied(predictions).cross_entropy()

        bounds = np.log([_LOWEST, _HIGHEST])
        found = minimize_scalar(cross_entropy, bounds=bounds, method="bounded")
        temperature = float(np.exp(found.x))
        if temperature < 1.01 * _LOWEST:
            why = (
                f"the more the logits count, the better on {examples:,} validation examples: the"
                " answers are nearly all right, or the logits very small"
            )
            return Calibration(examples=examples, none_because=why)
        if temperature > 0.99 * _HIGHEST:
            why = "the probabilities of validation say nothing of what is right"
            return Calibration(examples=examples, none_because=why)
        return Calibration(temperature, examples)
