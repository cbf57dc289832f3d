"""When × what: things the loop does between two steps.

Each action says by itself whether it is due, from the state alone. What was done is in the state,
so an action that was cut off is due again after a resume, and one that was finished is not.
"""

from __future__ import annotations

from collections.abc import Callable

from sentiment_train.evaluation.metrics import LOWER_IS_BETTER
from sentiment_train.training.state import TrainingState


class Validate:
    """Evaluates every so many steps and at the end; remembers the best, stops without progress.

    Args:
      every: steps.
      evaluate: gives the metrics of the validation split.
      report: called with the step and `{"validation/accuracy": …}`.
      best_by: a key of the metrics, or None to keep the last weights.
      patience: evaluations without a new best, or None.
    """

    def __init__(
        self,
        every: int,
        evaluate: Callable[[], dict[str, float]],
        report: Callable[[int, dict[str, float]], None],
        best_by: str | None,
        patience: int | None,
    ):
        self.every, self.evaluate, self.report = every, evaluate, report
        self.best_by, self.patience = best_by, patience

    def due(self, state: TrainingState) -> bool:
        at_mark = state.step > 0 and (state.step % self.every == 0 or state.finished)
        return at_mark and state.evaluated_step != state.step

    def __call__(self, state: TrainingState) -> None:
        metrics = self.evaluate()
        state.evaluated_step = state.step
        if self.best_by:
            self._compare(state, metrics[self.best_by])
        self.report(state.step, {f"validation/{name}": v for name, v in metrics.items()})

    def _compare(self, state: TrainingState, value: float) -> None:
        sign = -1.0 if self.best_by in LOWER_IS_BETTER else 1.0
        if state.best_step < 0 or sign * value > sign * state.best_value:
            state.best_step, state.best_value = state.step, value
            state.evaluations_since_best = 0
        else:
            state.evaluations_since_best += 1
            if self.patience is not None and state.evaluations_since_best >= self.patience:
                state.finished = True


class LookAtStart:
    """Measures the spread of the embeddings before the first step.

    Args:
      measure: gives the spread of the current weights.
      report: called with step 0 and `{"validation/embedding_spread": …}`.
    """

    def __init__(
        self, measure: Callable[[], float], report: Callable[[int, dict[str, float]], None]
    ):
        self.measure, self.report = measure, report

    def due(self, state: TrainingState) -> bool:
        return state.step == 0 and state.spread_at_start < 0

    def __call__(self, state: TrainingState) -> None:
        state.spread_at_start = self.measure()
        self.report(0, {"validation/embedding_spread": state.spread_at_start})


class Save:
    """Saves every so many steps, on a new best, and at the end.

    Args:
      every: steps.
      write: saves a state.
      restored: the state that the run goes on from, already on disk.
    """

    def __init__(
        self, every: int, write: Callable[[TrainingState], None], restored: TrainingState | None
    ):
        self.every, self.write = every, write
        self._saved = restored.as_dict() if restored else None

    def due(self, state: TrainingState) -> bool:
        at_mark = state.step % self.every == 0 or state.best_step == state.step or state.finished
        return state.step > 0 and at_mark and state.as_dict() != self._saved

    def __call__(self, state: TrainingState) -> None:
        self.write(state)
        self._saved = state.as_dict()
