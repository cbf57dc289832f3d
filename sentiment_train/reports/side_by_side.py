"""Experiments beside each other: what each reached, what it cost, and how to make it again."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sentiment_train.reports import learning_curves
from sentiment_train.reports.document import Block, Facts, Heading, Link, Paragraph, Picture, Table
from sentiment_train.reports.history import Points
from sentiment_train.reports.learning_curves import Line

NONE = "—"
Interval = tuple[float, float]


@dataclass(frozen=True)
class RunOf:
    """One run of an experiment, as its directory tells it."""

    status: str
    why: str = ""
    results: Mapping = field(default_factory=dict)  # results.json; empty unless it is done
    process: Mapping = field(default_factory=dict)  # of runs.json; empty if made elsewhere
    history: Mapping[str, Points] = field(default_factory=dict)  # of metrics.jsonl
    report: str = ""  # path of its report.html, relative to the comparison


@dataclass(frozen=True)
class Row:
    """One experiment."""

    name: str
    command: str
    published: object | None  # with source, accuracy, seconds_per_epoch and note
    runs: Sequence[RunOf]  # that differ in their seed

    @property
    def done(self) -> list[RunOf]:
        return [run for run in self.runs if run.status == "done"]

    @property
    def split(self) -> str | None:
        """The split that the numbers are of: test, or validation where there is no other."""
        results = self.done[0].results if self.done else {}
        return next((split for split in ("test", "validation") if split in results), None)

    def values(self, *path: str) -> list[float]:
        """A number of results.json, of every run that has it: `values("test", "accuracy")`."""
        found = []
        for run in self.done:
            value = run.results
            for key in path:
                value = value.get(key) if isinstance(value, Mapping) else None
            if value is not None:
                found.append(value)
        return found

    def mean(self, *path: str) -> float | None:
        values = self.values(*path)
        return statistics.fmean(values) if values else None


def blocks(
    rows: Sequence[Row], interval: Callable[[Row], Interval | None], is_quick: bool, picture: str
) -> list[Block]:
    """The whole document.

    Args:
      interval: of the accuracy of a row, 95 %.
      is_quick: whether these are smoke tests.
      picture: the file of the learning curves beside the document.
    """
    result: list[Block] = []
    if is_quick:
        result.append(
            Paragraph(
                "These are smoke tests (--quick): three steps on 300 examples. The numbers show"
                " that everything runs, and nothing else."
            )
        )
    result += [results_table(rows, interval, is_quick), *map(Paragraph, _notes(rows))]
    result += [Heading("Cost"), _cost(rows), Paragraph(_ABOUT_COST)]
    if lines := _lines(rows):
        words = "; ".join(f"{line.label}: {line.values[-1]:.4f} in the end" for line in lines)
        alt = f"Validation accuracy against epochs and training seconds. {words}."
        png = learning_curves.draw(lines, "validation accuracy")
        result += [Heading("Learning curves"), Picture(png, alt, picture), Paragraph(_ABOUT_CURVES)]
    result += [Heading("How each row was made"), _origin(rows)]
    return result


_ABOUT_COST = (
    "Seconds per epoch and examples per second are of the training steps alone, without preparing"
    " the data and without evaluation; minutes are of the whole process, from its start to the"
    " written model. Of several seeds the mean. Times of different machines do not compare."
)
_ABOUT_CURVES = (
    "Each line is a run, evaluated on its validation split; the weights that are kept are those of"
    " its best evaluation. Seconds are computed from the mean speed of the run's training steps."
)


def results_table(rows: Sequence[Row], interval: Callable, is_quick: bool) -> Table:
    """What each experiment reached; see `blocks`."""
    header = ["experiment", "elsewhere", "there", "accuracy here", "95 % interval", "macro-F1"]
    return Table(
        "Results",
        [*header, "baseline", "parameters"],
        [_result(row, interval(row), is_quick) for row in rows],
    )


def _result(row: Row, interval: Interval | None, is_quick: bool) -> list[str | Link]:
    published = row.published
    name = f"{row.name} (quick)" if is_quick else row.name
    report = next((run.report for run in row.runs if run.report), "")
    there = NONE
    if published is not None and published.accuracy is not None:
        there = f"{published.accuracy:.1%}"
    return [
        Link(name, report) if report else name,
        published.source if published is not None else NONE,
        there,
        _accuracy(row),
        f"{interval[0]:.2%} – {interval[1]:.2%}" if interval else NONE,
        _number(row.mean(row.split or "", "macro_f1"), ".4f"),
        _number(row.mean("baseline", "accuracy"), ".2%"),
        _number(row.mean("parameters"), ",.0f"),
    ]


def _accuracy(row: Row) -> str:
    """What the experiment reached, or why there is nothing to show."""
    if not row.done:
        return ", ".join(dict.fromkeys(run.status for run in row.runs))
    if row.split is None:
        return "not measured"
    perplexity = row.mean(row.split, "perplexity")
    if perplexity is not None:
        return f"perplexity {perplexity:,.1f}"
    shown = f"{row.mean(row.split, 'accuracy'):.2%}"
    if row.split != "test":
        shown += f" ({row.split})"
    if len(row.runs) > 1:
        shown += f" ({len(row.done)} of {len(row.runs)} seeds)"
    return shown


def _number(value: float | None, form: str) -> str:
    return NONE if value is None else format(value, form)


def _notes(rows: Sequence[Row]) -> list[str]:
    notes = []
    if any(len(row.done) == 1 for row in rows):
        notes.append(
            "The interval of one run is Wilson's (1927): it says how far another draw of test"
            " examples could have moved the accuracy, and nothing of another seed."
        )
    if any(len(row.done) > 1 for row in rows):
        notes.append(
            "The interval of several seeds is of their mean: Wilson's for the test examples, which"
            " all of them share, joined with Student's for the seeds (Zou and Donner 2008)."
        )
    if described := {text for row in rows for text in row.values("baseline", "description")}:
        notes.append(f"Baseline, on the same splits: {'; '.join(sorted(described))}.")
    if below := [row.name for row in rows if _is_below_baseline(row)]:
        notes.append(f"Not above their baseline: {', '.join(below)}.")
    for row in rows:
        if row.published is not None and row.published.note:
            notes.append(f"{row.name}, {row.published.source}: {row.published.note}.")
        for run in row.runs:
            if run.why:
                notes.append(f"{row.name} ({run.status}): {run.why}")
    return notes


def _is_below_baseline(row: Row) -> bool:
    here, there = row.mean(row.split or "", "accuracy"), row.mean("baseline", "accuracy")
    return here is not None and there is not None and here <= there


def _cost(rows: Sequence[Row]) -> Table:
    header = ["experiment", "seconds per epoch there", "here", "examples/s", "epochs", "minutes"]
    return Table("Training", header, [_cost_of(row) for row in rows])


def _cost_of(row: Row) -> list[str]:
    there = getattr(row.published, "seconds_per_epoch", None)
    minutes = [run.process["seconds"] / 60 for run in row.done if "seconds" in run.process]
    epochs = [_epochs(run.results) for run in row.done]
    return [
        row.name,
        _number(there, ",.0f"),
        _number(row.mean("seconds_per_epoch"), ",.1f"),
        _number(row.mean("examples_per_second"), ",.0f"),
        _number(statistics.fmean(epochs) if epochs else None, ".2g"),
        _number(statistics.fmean(minutes) if minutes else None, ",.1f"),
    ]


def _epochs(results: Mapping) -> float:
    """Of the whole training, as far as it came."""
    per_epoch = results["seconds_per_epoch"]
    return results["train_seconds"] / per_epoch if per_epoch else 0.0


def _origin(rows: Sequence[Row]) -> Facts:
    """Command, machine and date of every row."""
    lines = []
    for row in rows:
        processes = [run.process for run in row.runs if run.process]
        machines = dict.fromkeys(process["machine"] for process in processes)
        dates = sorted({process["ended"][:10] for process in processes})
        when = dict.fromkeys([dates[0], dates[-1]]) if dates else ()
        lines.append((row.name, " · ".join([row.command, *machines, " – ".join(when)]).strip(" ·")))
    return Facts(lines)


def _lines(rows: Sequence[Row]) -> list[Line]:
    lines = []
    for number, row in enumerate(rows):
        for run in row.done:
            points = run.history.get("validation/accuracy")
            if not points or "perplexity" in run.results.get(row.split, {}):
                continue
            steps, values = zip(*points, strict=True)
            share = [step / run.results["steps"] for step in steps]
            epochs, seconds = _epochs(run.results), run.results["train_seconds"]
            lines.append(
                Line(
                    row.name,
                    number,
                    [s * epochs for s in share],
                    [s * seconds for s in share],
                    list(values),
                )
            )
    return lines
