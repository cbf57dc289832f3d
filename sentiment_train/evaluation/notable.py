"""Examples for people: where the model is surely wrong, where it wavers, where it is right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sentiment_train.evaluation.metrics import Predictions

_SHOWN_CLASSES = 3  # probabilities besides that of the true class
_SHOWN_LETTERS = 600
_GROUPED_CLASSES = 20  # the commonest; right answers of all others are one group


def notable_examples(
    predictions: Predictions, texts: Sequence[str], class_names: tuple[str, ...], count: int
) -> list[dict]:
    """Groups of `count` examples each, as JSON values; rows of weight 0 are left out.

    A group is `{"title", "examples"}`, an example `{"row", "text", "label", "answer",
    "probabilities"}`; long texts are cut. Empty groups are not listed.

    With many classes the commonest have a group each, and all others one together.

    Args:
      texts: of each row.
    """
    if count == 0:
        return []
    probabilities = np.exp(predictions.log_probabilities())
    answers, sure = probabilities.argmax(axis=1), probabilities.max(axis=1)
    right = answers == predictions.labels
    surest = np.argsort(-sure, kind="stable")
    surest = surest[predictions.weights[surest] > 0]
    groups = [
        ("Wrong, and most sure of it", surest[~right[surest]]),
        ("Least sure", surest[::-1]),
    ]
    support = np.bincount(predictions.labels, predictions.weights, minlength=len(class_names))
    shown = np.sort(np.argsort(-support, kind="stable")[:_GROUPED_CLASSES])
    surely_right = surest[right[surest]]
    for index in shown:
        chosen = predictions.labels[surely_right] == index
        groups.append((f"Right, and most sure of it: {class_names[index]}", surely_right[chosen]))
    if rest := len(class_names) - len(shown):
        chosen = ~np.isin(predictions.labels[surely_right], shown)
        groups.append((f"Right, and most sure of it: the other {rest:,}", surely_right[chosen]))

    def example(row: int) -> dict:
        label = int(predictions.labels[row])
        shown = [int(i) for i in np.argsort(-probabilities[row], kind="stable")[:_SHOWN_CLASSES]]
        shown += [label] if label not in shown else []
        shares = {class_names[i]: round(float(probabilities[row, i]), 4) for i in shown}
        return {
            "row": int(row),
            "text": _cut(texts[row]),
            "label": class_names[label],
            "answer": class_names[int(answers[row])],
            "probabilities": shares,
        }

    return [
        {"title": title, "examples": [example(row) for row in rows[:count]]}
        for title, rows in groups
        if len(rows)
    ]


def _cut(text: str) -> str:
    """One line of text that every file can hold, with an ellipsis where it was cut."""
    text = " ".join(text.encode("utf-8", "replace").decode().split())
    return text if len(text) <= _SHOWN_LETTERS else f"{text[:_SHOWN_LETTERS].rstrip()} …"
