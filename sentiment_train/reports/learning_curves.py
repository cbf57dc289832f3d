"""The learning curves of several experiments in one picture."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

_DPI = 100
# The palette of Okabe and Ito (2008), which the colour-blind can tell apart.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_STYLES = ("-", "--", ":", "-.")
_MARKERS = ("o", "s", "^", "D")


@dataclass(frozen=True)
class Line:
    """The evaluations of one run; runs of one experiment have its number and so its looks."""

    label: str
    number: int
    epochs: Sequence[float]
    seconds: Sequence[float]
    values: Sequence[float]


def draw(lines: Sequence[Line], title: str) -> bytes:
    """A PNG: the values against epochs on the left, against training seconds on the right."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    names = dict.fromkeys(line.label for line in lines)
    height = max(4.4, 0.5 + 0.22 * len(names))  # room for the legend
    figure = Figure(figsize=(11.0, height), dpi=_DPI, layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    shown = {}
    for line in lines:
        looks = {
            "color": _COLOURS[line.number % len(_COLOURS)],
            "linestyle": _STYLES[line.number // len(_COLOURS) % len(_STYLES)],
            "marker": _MARKERS[line.number // len(_COLOURS) % len(_MARKERS)],
            "markersize": 4,
        }
        (shown[line.label],) = left.plot(line.epochs, line.values, **looks)
        right.plot(line.seconds, line.values, **looks)
    left.set(title=title, xlabel="epochs")
    right.set(title=title, xlabel="training seconds")
    right.set_xscale("log")  # a minute and an hour in one picture
    right.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    right.xaxis.set_major_formatter("{x:g}")
    right.xaxis.set_minor_formatter("")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    labels = [_without_math(name) for name in names]
    figure.legend(list(shown.values()), labels, loc="outside right upper")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _without_math(text: str) -> str:
    """matplotlib would read what stands between two dollars as a formula."""
    return text.replace("$", r"\$")
