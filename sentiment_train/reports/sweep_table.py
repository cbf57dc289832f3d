"""The table of a sweep: a row for every point of the grid, repeated runs as mean and spread."""

from __future__ import annotations

import csv
import dataclasses
import io
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sentiment_train.reports.document import Block, Paragraph, Table


@dataclass(frozen=True)
class Spread:
    """What repeated measurements are about, and how far apart they are."""

    mean: float
    deviation: float | None  # of the sample (n - 1); one value has none

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        deviation = statistics.stdev(values) if len(values) > 1 else None
        return cls(statistics.fmean(values), deviation)

    def __str__(self):
        shown = f"{self.mean:.4f}"
        return shown if self.deviation is None else f"{shown} ± {self.deviation:.4f}"


@dataclass(frozen=True)
class CellResult:
    """One run of a sweep."""

    name: str
    values: Mapping[str, str]  # by the name of the axis, without the seed
    seed: str | None
    status: str
    why: str = ""
    results: Mapping = field(default_factory=dict)  # results.json, if it is done


@dataclass(frozen=True)
class Measure:
    """A number of results.json that is a column."""

    split: str
    name: str

    @property
    def title(self) -> str:
        return f"{self.split} {self.name}"

    def of(self, results: Mapping) -> float | None:
        return results.get(self.split, {}).get(self.name)


class SweepTable:
    """All cells of a sweep, grouped by their point.

    Args:
      cells: in the order of the grid.
      chosen_by: the validation metric that decides which point is best.
      lower_is_better: of that metric.
    """

    def __init__(self, cells: Sequence[CellResult], chosen_by: str, lower_is_better: bool):
        self.cells, self.chosen_by, self.lower = cells, chosen_by, lower_is_better
        self.points: dict[tuple, list[CellResult]] = {}
        for cell in cells:
            self.points.setdefault(tuple(cell.values.values()), []).append(cell)
        self.decisive = Measure("validation", chosen_by)
        names = dict.fromkeys([chosen_by, "accuracy", "macro_f1", "perplexity"])
        wanted = [self.decisive, *(Measure("test", name) for name in names)]
        self.measures = [m for m in wanted if any(m.of(c.results) is not None for c in cells)]

    def best(self) -> tuple | None:
        """The point with the best mean of the deciding metric, if every run of it is done."""
        means = {
            point: self._of(cells, self.decisive.of)
            for point, cells in self.points.items()
            if all(cell.status == "done" for cell in cells)
        }
        means = {point: found.mean for point, found in means.items() if found}
        return (min if self.lower else max)(means, key=means.get) if means else None

    def _of(self, cells: Sequence[CellResult], value: Callable) -> Spread | None:
        values = [value(cell.results) for cell in cells if cell.status == "done"]
        values = [found for found in values if found is not None]
        return Spread.of(values) if values else None

    def header(self) -> list[str]:
        titles = [measure.title for measure in self.measures]
        return [*self.cells[0].values, "runs", *titles, "seconds", ""]

    def rows(self) -> list[list[str]]:
        """As texts; one for each point."""
        best, rows = self.best(), []
        for point, cells in self.points.items():
            done = sum(cell.status == "done" for cell in cells)
            numbers = [str(self._of(cells, measure.of) or "—") for measure in self.measures]
            seconds = self._of(cells, lambda results: results.get("train_seconds"))
            others = [cell.status for cell in cells if cell.status != "done"]
            notes = [f"{others.count(status)} {status}" for status in dict.fromkeys(others)]
            notes += ["best"] if point == best else []
            runs = str(done) if done == len(cells) else f"{done} of {len(cells)}"
            shown = f"{seconds.mean:,.0f}" if seconds else "—"
            rows.append([*point, runs, *numbers, shown, ", ".join(notes)])
        return rows

    def notes(self) -> list[str]:
        """What a reader must know to read the table."""
        notes = []
        if any(len(cells) > 1 for cells in self.points.values()):
            notes.append(
                "± is the sample standard deviation over the seeds of a row: how far single runs"
                " lie apart, not how well their mean is known."
            )
        else:
            notes.append(
                "Every row is one run, so nothing says how much of a difference is the seed's;"
                ' --grid="seed=0,1,2" would.'
            )
        best = self.best()
        if best is not None:
            pairs = zip(self.cells[0].values, best, strict=True)
            named = ", ".join(f"{name}={value}" for name, value in pairs) or "the only one"
            notes.append(
                f"Best by {self.decisive.title}: {named}. The test split was not used to choose it,"
                " so its test numbers are those to report."
            )
        elif all("validation" not in cell.results for cell in self.cells if cell.results):
            notes.append("Nothing was validated, so no point is called the best.")
        for cell in self.cells:
            if cell.why:
                notes.append(f"{cell.name} ({cell.status}): {cell.why}")
        return notes

    def blocks(self) -> list[Block]:
        """The table and its notes."""
        return [self.table(), *map(Paragraph, self.notes())]

    def table(self) -> Table:
        caption = "Results, a row for each point of the grid"
        return Table(caption, self.header(), self.rows())

    def csv(self) -> str:
        """A line for every run, with plain numbers."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        titles = [measure.title.replace(" ", "_") for measure in self.measures]
        header = [*self.cells[0].values, "seed", "status", *titles, "train_seconds", "run"]
        writer.writerow(header)
        for cell in self.cells:
            numbers = [measure.of(cell.results) for measure in self.measures]
            seconds = cell.results.get("train_seconds")
            row = [*cell.values.values(), cell.seed, cell.status, *numbers, seconds, cell.name]
            writer.writerow(["" if value is None else value for value in row])
        return text.getvalue()

    def json(self) -> dict:
        """Points with their means, and every run."""
        best = self.best()
        points = []
        for point, cells in self.points.items():
            found = {measure.title: self._of(cells, measure.of) for measure in self.measures}
            entry = {
                "values": dict(cells[0].values),
                "runs": [cell.name for cell in cells],
                "best": point == best,
            }
            for title, spread in found.items():
                if spread:
                    entry[title.replace(" ", "_")] = dataclasses.asdict(spread)
            points.append(entry)
        runs = {
            cell.name: {
                "values": dict(cell.values),
                "seed": cell.seed,
                "status": cell.status,
                **({"why": cell.why} if cell.why else {}),
                **{m.title.replace(" ", "_"): m.of(cell.results) for m in self.measures},
                "train_seconds": cell.results.get("train_seconds"),
            }
            for cell in self.cells
        }
        return {"chosen_by": self.decisive.title, "points": points, "runs": runs}
