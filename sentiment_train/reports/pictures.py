"""The pictures of a report as PNG; matplotlib without a screen and without pyplot."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_DPI = 100
_LONGEST_NAME = 18  # letters of a class in a picture
_MOST_NUMBERS = 15  # classes up to which the cells of a matrix have room for numbers
_MOST_NAMES = 50  # classes up to which the axes have room for their names
# Colours of the palette of Okabe and Ito (2008), which the colour-blind can tell apart.
_LOOKS = (("#0072B2", "-", ""), ("#D55E00", "--", "o"), ("#009E73", "-.", "s"))


@dataclass(frozen=True)
class Curve:
    """Values against the step; `label` is for the legend."""

    label: str
    points: Sequence[tuple[int, float]]


@dataclass(frozen=True)
class Panel:
    """Curves that share an axis."""

    title: str
    curves: Sequence[Curve]


def curves(panels: Sequence[Panel], kept_step: int | None) -> bytes:
    """A PNG with the panels side by side; a vertical line marks the step whose weights are kept."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.8 * len(panels), 3.6), dpi=_DPI, layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for curve, (colour, style, marker) in zip(panel.curves, _LOOKS, strict=False):
            steps, values = zip(*curve.points, strict=True)
            axes.plot(
                steps,
                values,
                color=colour,
                linestyle=style,
                marker=marker if len(steps) <= 50 else "",
                markersize=4,
                label=curve.label,
            )
        if kept_step is not None:
            axes.axvline(kept_step, color="0.5", linewidth=1, linestyle=":", label="kept")
        axes.set(title=panel.title, xlabel="step")
        axes.grid(alpha=0.3)
        axes.legend()
    return _png(figure)


def reliability(intervals: Mapping[str, Sequence[Mapping[str, float]]]) -> bytes:
    """A PNG: the share of right answers against the probability that they were given.

    Args:
      intervals: of each curve; each with `probability`, `right` and `weight`, which is the size of
        its point.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.4, 4.0), dpi=_DPI, layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.5", linewidth=1, linestyle=":", label="as often as it says")
    for (label, points), (colour, style, _) in zip(intervals.items(), _LOOKS, strict=False):
        given, right, weights = (
            [point[key] for point in points] for key in ("probability", "right", "weight")
        )
        axes.plot(given, right, color=colour, linestyle=style, label=label)
        sizes = [10 + 150 * weight / sum(weights) for weight in weights]
        axes.scatter(given, right, s=sizes, color=colour, alpha=0.7)
    axes.set(xlabel="probability of the answer", ylabel="share of right answers")
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02))
    axes.grid(alpha=0.3)
    axes.legend()
    return _png(figure)


def confusion(matrix: Sequence[Sequence[float]], class_names: Sequence[str]) -> bytes:
    """A PNG: a row for each true class, coloured by the shares of its answers.

    A class whose name the font cannot write is shown by its number; many classes have no names.
    """
    from matplotlib.figure import Figure

    size = len(class_names)
    side = min(2.2 + 0.55 * size, 12.0)
    figure = Figure(figsize=(side + 1.2, side), dpi=_DPI, layout="constrained")
    axes = figure.subplots()
    totals = [max(sum(row), 1e-12) for row in matrix]
    shares = [[cell / total for cell in row] for row, total in zip(matrix, totals, strict=True)]
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, label="share of the true class")
    if size <= _MOST_NAMES:
        names = [_drawable(name, number) for number, name in enumerate(class_names)]
        text = {"parse_math": False, "fontsize": 9 if size <= _MOST_NUMBERS else 6}
        axes.set_xticks(range(size), names, rotation=45, ha="right", **text)
        axes.set_yticks(range(size), names, **text)
    else:
        axes.set(xticks=[], yticks=[])
    axes.set(xlabel="answer", ylabel="true class")
    if size <= _MOST_NUMBERS:
        for i, row in enumerate(matrix):
            for j, cell in enumerate(row):
                colour = "white" if shares[i][j] > 0.5 else "black"
                number = f"{cell:,.0f}\n{shares[i][j]:.0%}"
                axes.text(j, i, number, ha="center", va="center", color=colour, fontsize=8)
    return _png(figure)


def _drawable(name: str, number: int) -> str:
    """The name, cut, or the number of the class if the font lacks one of its letters."""
    from matplotlib.font_manager import findfont, get_font

    font = get_font(findfont("DejaVu Sans"))
    if not name.strip() or not all(font.get_char_index(ord(letter)) for letter in name):
        return f"class {number}"
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def _png(figure) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()
