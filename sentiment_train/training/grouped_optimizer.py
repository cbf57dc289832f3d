"""Several Keras optimizers as one, each for a group of variables that starts at a step of its own.

The time between two starts is a phase. Which variables move in a phase is known while a step is
traced, so what is frozen costs nothing: neither a backward pass nor a reduction over the replicas.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sentiment_train.training.groups import PlannedGroup


@dataclass(frozen=True)
class _Member:
    """An optimizer and what it moves."""

    name: str
    indices: tuple[int, ...]  # of the weights
    starts: int
    schedule: Any  # step since the start → learning rate
    optimizer: Any


class GroupedOptimizer:
    """Moves each group of weights by its own optimizer, from the step on that the group starts.

    Each optimizer counts its own updates: its schedule and the bias correction of its moments
    begin when its group does.
    """

    def __init__(self, members: Sequence[_Member]):
        self._members = tuple(members)
        self._starts = sorted({member.starts for member in members})

    @classmethod
    def of_groups(cls, planned: Sequence[PlannedGroup], settings, steps_per_epoch: int):
        """From what `plan_groups` gave; called in the strategy's scope.

        Args:
          settings: makes a Keras optimizer by `build(schedule)`.
        """
        members = []
        for group in planned:
            if group.trains:  # the others need no moments
                schedule = group.schedule.build(group.steps, steps_per_epoch)
                optimizer = settings.build(schedule)
                members.append(
                    _Member(group.name, group.members, group.starts, schedule, optimizer)
                )
        return cls(members)

    @classmethod
    def of_all(cls, optimizer, count: int):
        """One Keras optimizer for all of `count` weights."""
        return cls([_Member("", tuple(range(count)), 0, None, optimizer)])

    @property
    def phases(self) -> int:
        return len(self._starts)

    def phase_of(self, step: int) -> int:
        """The phase of a step (0 is the first)."""
        return sum(step >= start for start in self._starts) - 1

    def active(self, phase: int) -> list[int]:
        """Indices of the weights that move in a phase, in rising order."""
        return sorted(i for member in self._of(phase) for i in member.indices)

    @property
    def takes_rows(self) -> set[int]:
        """Indices of the weights whose gradients may stay `tf.IndexedSlices`."""
        taking = [m for m in self._members if getattr(m.optimizer, "takes_rows", False)]
        return {i for member in taking for i in member.indices}

    def build(self, weights: Sequence) -> None:
        """Makes the moments of all groups, also of those that start later."""
        for member in self._members:
            member.optimizer.build([weights[i] for i in member.indices])
            # Keras would sum over replicas a second time: what is applied is summed already.
            member.optimizer._all_reduce_sum_gradients = list

    def apply(self, gradients: Sequence, weights: Sequence, phase: int) -> None:
        """In a replica: one update.

        Args:
          gradients: of the active weights of this phase, in the order of `active`.
          weights: all of them.
        """
        by_index = dict(zip(self.active(phase), gradients, strict=True))
        for member in self._of(phase):
            of_member = [by_index[i] for i in member.indices]
            member.optimizer.apply(of_member, [weights[i] for i in member.indices])

    @property
    def iterations(self):
        """Updates that were done; a variable."""
        return next(member.optimizer.iterations for member in self._members if member.starts == 0)

    @property
    def variables(self) -> list:
        return [variable for member in self._members for variable in member.optimizer.variables]

    def learning_rates(self, step: int) -> dict[str, float]:
        """`{"learning_rate": 0.001, "learning_rate/encoder": 0.0}` of a step; 0 while frozen."""
        rates = {}
        for member in self._members:
            name = f"learning_rate/{member.name}" if member.name else "learning_rate"
            since = step - member.starts
            rates[name] = float(member.schedule(since)) if since >= 0 else 0.0
        return rates

    def _of(self, phase: int) -> list[_Member]:
        return [member for member in self._members if member.starts <= self._starts[phase]]
