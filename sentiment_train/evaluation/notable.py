"""Examples for people: where the model is surely wrong, where it wavers, where it is right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sentiment_train.evaluation.metrics import Predictions

_SHOWN_CLASSES = 3  # probabilities besides that of the true class
_SHOWN_LETTERS = 600


def notable_examples(
    predictions: Predictions, texts: Sequence[str], class_names: tuple[str, ...], count: int
) -> list[dict]:
    """Groups of `count` examples each, as JSON values; rows of weight 0 are left out.

    A group is `{"title", "examples"}`, an example `{"row", "text", "label", "answer",
    "probabilities"}`; long texts are cut. Empty groups are not listed.

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
    for index, name in enumerate(class_names):
        chosen = right[surest] & (predictions.labels[surest] == index)
        groups.append((f"Right, and most sure of it: {name}", surest[chosen]))

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
