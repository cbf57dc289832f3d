"""Where a run is: everything a checkpoint holds besides the variables."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from sentiment_train.training.costs import Costs

# Fields that checkpoints of this format did not have at first.
_ADDED = {"spread_at_start", "stream_position", "costs"}


@dataclass
class TrainingState:
    """Counters of a run. A checkpoint is taken between two steps, so these are always consistent.

    `position` counts the global batches already used of `epoch`; with gradient accumulation a
    step uses several.
    """

    step: int = 0  # optimizer updates done
    epoch: int = 0
    position: int = 0
    batches: int = 0  # global batches used so far, the number that dropout is drawn by
    examples: int = 0
    train_seconds: float = 0.0  # spent in steps, over all processes that took part
    evaluated_step: int = -1  # of the last finished evaluation
    best_step: int = -1
    best_value: float = 0.0
    evaluations_since_best: int = 0
    finished: bool = False  # no more steps: the length is reached, or training was stopped early
    spread_at_start: float = -1.0  # of the embeddings before the training; -1: not measured
    stream_position: int = 0  # where a stream of shards goes on, see `data.streaming`
    # Measured, so no two runs have the same. None: an earlier version began the run.
    costs: Costs | None = field(default_factory=Costs, compare=False)

    def as_dict(self) -> dict:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> TrainingState:
        """Raises TypeError if a field is missing or unknown; of `_ADDED` each may be missing."""
        names = {field.name for field in dataclasses.fields(cls)}
        if set(values) | _ADDED != names:
            raise TypeError(f"expected the fields {sorted(names)}, found {sorted(values)}")
        costs = values.get("costs")
        return cls(**{**values, "costs": costs and Costs(**costs)})
