"""Groups of variables with a learning rate of their own, some of which begin to learn later.

A model made of a pretrained encoder and a fresh head wants two learning rates, and an encoder that
is left alone until the head has found its place (Howard & Ruder 2018, gradual unfreezing).

A group follows the experiment's schedule from where it starts: the same shape, with its own peak
and warm-up, over the steps that are left then. In a cycle its warm-up is the way up to the peak.
"""

from __future__ import annotations

import dataclasses
import difflib
import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gin

from sentiment_train.config import Part
from sentiment_train.duration import check_duration, to_steps
from sentiment_train.errors import ConfigError


@gin.configurable
@dataclass(frozen=True)
class ParameterGroup(Part):
    """Variables that are trained in another way than the rest.

    A pattern (`encoder/*`) is compared with `layer/variable`, as checkpoints name a variable
    (`lstm_1/kernel`), and with its whole path in Keras (`lstm_1/cell/kernel`); a `*` stands for any
    characters, a slash among them. A variable belongs to the first group that names it, so the more
    special group comes first.

    Before it starts a group is frozen: it has no gradient, and neither an update nor weight decay
    moves it.
    """

    variables: tuple[str, ...] = gin.REQUIRED  # patterns
    learning_rate: float | None = None  # at the peak; None: that of the schedule
    starts: str = "0 steps"
    warmup: str | None = None  # after it starts; None: that of the schedule
    name: str | None = None  # in logs; None: the layer of the first pattern

    def check(self):
        self.require(bool(self.variables), "variables", "patterns such as ('encoder/*',)")
        fine = self.learning_rate is None or self.learning_rate > 0
        self.require(fine, "learning_rate", "above 0, or None")
        check_duration(self, "starts", at_least_one_step=False)
        if self.warmup is not None:
            check_duration(self, "warmup", at_least_one_step=False)
        self.require(self.name != "", "name", "a word, or None")


@dataclass(frozen=True)
class PlannedGroup:
    """A group, or the variables that are in none, in numbers."""

    name: str  # "" for the variables that are in no group
    members: tuple[int, ...]  # indices of the trainable variables
    starts: int  # the first step that moves them
    steps: int  # of the training from there on; 0 or less: it never starts
    schedule: Any  # with `build(total_steps, steps_per_epoch)`

    @property
    def trains(self) -> bool:
        """Whether it starts before the training ends."""
        return self.steps > 0


def plan_groups(
    groups: Sequence[ParameterGroup],
    weights: Sequence,
    schedule,
    total_steps: int,
    steps_per_epoch: int,
) -> tuple[PlannedGroup, ...]:
    """What every trainable variable is moved by; the ones that are in no group come first.

    Args:
      weights: the trainable variables of a Keras model.
      schedule: of the experiment.

    Raises:
      ConfigError: if a pattern names no variable, a group is left without any, no variable learns
        from the first step on, or a warm-up is longer than what is left of the training.
    """
    names = [(variable_name(weight), weight.path) for weight in weights]
    owners: list[ParameterGroup | None] = [None] * len(names)
    for group in groups:
        found = _named_by(group, names)
        free = [i for i in found if owners[i] is None]
        if not free:
            group.refuse("variables", "are all in the groups before; put this group first.")
        for i in free:
            owners[i] = group
    planned = [PlannedGroup("", _where(owners, None), 0, total_steps, schedule)]
    called = _group_names(groups)
    for group, name in zip(groups, called, strict=True):
        starts = to_steps(group.starts, steps_per_epoch)
        of_group = _schedule_of(group, schedule, total_steps - starts, steps_per_epoch)
        members = _where(owners, group)
        planned.append(PlannedGroup(name, members, starts, total_steps - starts, of_group))
    planned = tuple(group for group in planned if group.members)
    if not any(group.starts == 0 for group in planned):
        raise ConfigError(
            "ParameterGroup.starts: nothing would be trained in the first step. Let one group start"
            " at '0 steps', or leave the variables that learn from the beginning out of all groups."
        )
    return planned


def describe_groups(planned: Sequence[PlannedGroup], weights: Sequence) -> str:
    """One line for each group: how many parameters, how fast, from when on. "" without groups."""
    if [group.name for group in planned] == [""]:
        return ""
    lines = []
    for group in planned:
        count = sum(weights[i].value.shape.num_elements() for i in group.members)
        line = f"{group.name or 'all others'}: {count:,} parameters"
        rate = getattr(group.schedule, "learning_rate", None)
        warmup = getattr(group.schedule, "warmup", None) or "0 steps"
        if not group.trains:
            lines.append(f"{line}, frozen: the training ends before step {group.starts:,}")
            continue
        line += "" if rate is None else f", learning rate {rate:g}"
        line += f", frozen for {group.starts:,} steps" if group.starts else ""
        lines.append(line + ("" if warmup.startswith("0 ") else f", warm-up {warmup}"))
    return "\n".join(lines)


def variable_name(variable) -> str:
    """`lstm_1/kernel` of a variable with the path `lstm_1/…/kernel`."""
    layer, _, below = variable.path.partition("/")
    return f"{layer}/{below.rpartition('/')[2]}"


def _named_by(group: ParameterGroup, names: list[tuple[str, str]]) -> list[int]:
    found = set()
    for pattern in group.variables:
        hits = {i for i, both in enumerate(names) if any(_fits(name, pattern) for name in both)}
        if not hits:
            known = list(dict.fromkeys(name for name, _ in names))
            near = difflib.get_close_matches(pattern, known, 5, cutoff=0.4) or known[:5]
            more = f", and {len(known) - len(near)} others" if len(known) > len(near) else ""
            group.refuse(
                "variables",
                f"has '{pattern}', which is no trainable variable of the model. There are"
                f" {', '.join(near)}{more}.",
            )
        found |= hits
    return sorted(found)


def _fits(name: str, pattern: str) -> bool:
    return name == pattern or fnmatch.fnmatchcase(name, pattern)


def _where(owners: list, owner) -> tuple[int, ...]:
    return tuple(i for i, found in enumerate(owners) if found is owner)


def _group_names(groups: Sequence[ParameterGroup]) -> list[str]:
    """Names that differ from each other: `encoder`, `encoder_2`."""
    names: list[str] = []
    for group in groups:
        first = re.match(r"[\w.-]*", group.variables[0])[0].rstrip("_.-") or "group"
        name, number = group.name or first, 1
        while name in names:
            number += 1
            name = f"{group.name or first}_{number}"
        names.append(name)
    return names


def _schedule_of(group: ParameterGroup, schedule, steps: int, steps_per_epoch: int):
    """The schedule with the peak and the warm-up of a group that has `steps` left to train."""
    wanted = {"learning_rate": group.learning_rate, "warmup": group.warmup}
    changed = {name: value for name, value in wanted.items() if value is not None}
    fields = dataclasses.fields(schedule) if dataclasses.is_dataclass(schedule) else ()
    for name in changed:
        if name not in {field.name for field in fields}:
            group.refuse(name, f"needs a schedule with such a field; {type(schedule).__name__} has"
                         " none.")  # fmt: skip
    warmup = changed.get("warmup", getattr(schedule, "warmup", None)) or "0 steps"
    if 0 < steps < to_steps(warmup, steps_per_epoch):
        group.refuse("warmup", f"({warmup}) is longer than the {steps:,} steps that are left when"
                     " the group starts.")  # fmt: skip
    return dataclasses.replace(schedule, **changed) if changed else schedule
