"""From a label as it is written in the data to the name of a class."""

from __future__ import annotations

from sentiment_train.errors import did_you_mean

LabelOption = tuple[str, ...] | dict[str | int, str] | None


class RowProblem(Exception):
    """One row cannot be used. `what` is wrong, and what would `mend` it (an imperative clause).

    A `fatal` one took other rows with it, so it is never skipped.
    """

    def __init__(self, what: str, mend: str = "Mend the row", fatal: bool = False):
        super().__init__(what)
        self.what, self.mend, self.fatal = what, mend, fatal


class Labels:
    """The option `labels` of the sources that read files.

    `None` takes every label as the name of its own class; a tuple names the labels that may occur,
    in the order of the classes; a dict maps each label to a class name, in the same order.
    """

    def __init__(self, option: LabelOption):
        self._learn = option is None
        pairs = (
            option.items() if isinstance(option, dict) else ((name, name) for name in option or ())
        )
        self._names = {str(label): name for label, name in pairs}

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Class names in order, or None if they are learned from the data (and then sorted)."""
        return None if self._learn else tuple(dict.fromkeys(self._names.values()))

    @property
    def known(self) -> tuple[str, ...]:
        """The labels that may occur, or those met so far."""
        return tuple(self._names)

    def name_of(self, label: str) -> str:
        """The class of `label`.

        Raises:
          RowProblem: if it is empty, or not one of the known labels.
        """
        if label in self._names:
            return self._names[label]
        if not label:
            raise RowProblem("the label is empty.")
        if self._learn:
            self._names[label] = label
            return label
        raise RowProblem(describe_unknown(label, self._names))


def describe_unknown(label: str, known) -> str:
    """`unknown label 'postive'; known: … Did you mean 'positive'?`"""
    listed = ", ".join(repr(name) for name in known)
    return f"unknown label {label!r}; known: {listed}.{did_you_mean(label, known)}"


def check_labels(part) -> None:
    """Raises ConfigError unless `part.labels` names at least two classes, none of them twice."""
    option = part.labels
    if option is None:
        return
    written = [str(label).strip() for label in option]
    names = list(option.values()) if isinstance(option, dict) else written
    if any(str(label) != label.strip() or not label for label in [*map(str, option), *names]):
        part.refuse("labels", "has an empty name, or one that begins or ends with a space.")
    if len(set(written)) != len(written):
        part.refuse("labels", "names a label twice.")
    if len(set(names)) < 2:
        part.refuse("labels", "names fewer than two classes.")
