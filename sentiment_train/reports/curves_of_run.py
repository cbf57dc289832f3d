"""What was measured while a run trained, as a picture and a table."""

from __future__ import annotations

import math
from collections.abc import Iterator

from sentiment_train.reports import pictures
from sentiment_train.reports.document import Block, Paragraph, Picture, Table
from sentiment_train.reports.history import Points
from sentiment_train.reports.pictures import Curve, Panel

_MOST_ROWS = 20  # of the table of evaluations


def curves_of_run(history: dict[str, Points], kept_step: int) -> Iterator[Block]:
    """A picture of loss and accuracy against the step, and a table of the evaluations.

    Of a language model perplexity stands in place of accuracy.

    Args:
      history: points by tag, as `read_history` gives them.
      kept_step: the step whose weights were kept.
    """
    panels = [_panel("loss", history), _second_panel(history)]
    panels = [panel for panel in panels if panel.curves]
    if not panels:
        yield Paragraph("metrics.jsonl has no points.")
        return
    words = [f"{p.title} of {c.label}: {_course(c.points)}" for p in panels for c in p.curves]
    alt = f"Curves against the step. {'; '.join(words)}. Kept: step {kept_step:,}."
    yield Picture(pictures.curves(panels, kept_step), alt)
    yield from _evaluations(history)


def _evaluations(history: dict[str, Points]) -> Iterator[Block]:
    columns = {
        name: dict(history[f"validation/{name}"])
        for name in ("loss", "perplexity", "accuracy", "macro_f1")
        if f"validation/{name}" in history
    }
    steps = sorted(set().union(*columns.values()))
    if steps:
        rows = [
            (f"{step:,}", *(f"{of[step]:.4f}" if step in of else "—" for of in columns.values()))
            for step in _thinned(steps)
        ]
        header = ("step", *("macro-F1" if name == "macro_f1" else name for name in columns))
        yield Table("Evaluations of the validation split", header, rows)


def _panel(name: str, history: dict[str, Points]) -> Panel:
    curves = [
        Curve(label, history[f"{tag}/{name}"])
        for label, tag in (("training", "train"), ("validation", "validation"))
        if history.get(f"{tag}/{name}")
    ]
    return Panel(name, curves)


def _second_panel(history: dict[str, Points]) -> Panel:
    """Accuracy, or of a language model its perplexity."""
    if "validation/perplexity" not in history:
        return _panel("accuracy", history)
    training = [(step, math.exp(min(loss, 700))) for step, loss in history.get("train/loss", [])]
    return _panel("perplexity", {**history, "train/perplexity": training})


def _course(points: Points) -> str:
    (first_step, first), (last_step, last) = points[0], points[-1]
    return f"{first:.4g} at step {first_step:,}, {last:.4g} at step {last_step:,}"


def _thinned(steps: list[int]) -> list[int]:
    """At most so many steps, evenly chosen, the last among them."""
    stride = -(-len(steps) // _MOST_ROWS)
    return steps[::-1][::stride][::-1]
