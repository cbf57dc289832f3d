"""Experiments beside each other: links, learning curves, and texts that stay texts."""

from __future__ import annotations

import struct

import pytest

from sentiment_train.reports import learning_curves, side_by_side
from sentiment_train.reports.document import Link, Picture, Table, to_html, to_lines, to_markdown
from sentiment_train.reports.learning_curves import Line
from sentiment_train.reports.side_by_side import Row, RunOf

EVIL = "<b>$x$</b>|[a](b)"


def done(**more) -> RunOf:
    results = {
        "test": {"accuracy": 0.9, "macro_f1": 0.9, "examples": 100},
        "steps": 40,
        "train_seconds": 200.0,
        "seconds_per_epoch": 50.0,
    }
    history = {"validation/accuracy": [(10, 0.7), (40, 0.9)]}
    return RunOf("done", results=results, history=history, **more)


def test_curves_are_drawn_against_epochs_and_seconds(monkeypatch):
    drawn = []
    monkeypatch.setattr(learning_curves, "draw", lambda lines, title: drawn.extend(lines) or b"")
    rows = [Row("a", "", None, [done(), done()]), Row("b", "", None, [done()])]
    side_by_side.blocks(rows, lambda row: None, False, "picture.png")
    assert [line.number for line in drawn] == [0, 0, 1]  # seeds look alike
    assert drawn[0] == Line("a", 0, [1.0, 4.0], [50.0, 200.0], [0.7, 0.9])


def test_the_picture_has_a_legend_for_any_number_of_experiments():
    lines = [Line(EVIL, 0, [1.0], [30.0], [0.5])]
    lines += [Line(f"experiment {i}", i, [1.0, 2.0], [5.0, 10.0], [0.5, 0.6]) for i in range(40)]
    many, few = (learning_curves.draw(some, "validation accuracy") for some in (lines, lines[:2]))
    assert many.startswith(b"\x89PNG")
    assert struct.unpack(">II", few[16:24]) == (1100, 440)
    width, height = struct.unpack(">II", many[16:24])
    assert width == 1100
    assert height > 41 * 18  # every name has its line


def test_a_link_and_a_picture_lead_to_files_and_texts_are_not_interpreted():
    table = Table("t", ["a", "b"], [[Link(EVIL, "x y/report.html"), "1"]])
    blocks = [table, Picture(b"\x89PNG", "what is seen", "curves.png")]
    page, text = to_html("t", blocks), to_markdown("t", blocks)
    assert '<a href="x%20y/report.html">&lt;b&gt;$x$&lt;/b&gt;|[a](b)</a>' in page
    assert "](<x%20y/report.html>) | 1 |" in text
    assert "<b>" not in page + text
    assert "![what is seen](<curves.png>)" in text
    assert to_lines(table) == [f"a{' ' * len(EVIL)} b", f"{EVIL}  1"]


@pytest.mark.parametrize(
    ("runs", "shown"),
    [
        ([done()], "90.00%"),
        ([done(), RunOf("diverged")], "90.00% (1 of 2 seeds)"),
        ([RunOf("failed"), RunOf("waiting")], "failed, waiting"),
        ([RunOf("done", results={"steps": 1})], "not measured"),
        ([RunOf("done", results={"validation": {"accuracy": 0.5}})], "50.00% (validation)"),
    ],
)
def test_what_was_reached_or_why_there_is_nothing_to_show(runs, shown):
    table = side_by_side.results_table([Row("a", "", None, runs)], lambda row: None, False)
    assert table.rows[0][3] == shown


def test_commands_machines_and_dates_are_told():
    ended = {"machine": "a computer", "ended": "2026-01-02T03:04:05+00:00", "seconds": 90.0}
    later = {**ended, "ended": "2026-01-03T00:00:00+00:00"}
    row = Row("a", "python -m x", None, [done(process=ended), done(process=later)])
    blocks = side_by_side.blocks([row], lambda row: (0.8, 0.95), False, "picture.png")
    text = to_markdown("t", blocks)
    assert "python -m x · a computer · 2026-01-02 – 2026-01-03" in text
    assert "80.00% – 95.00%" in text
    assert "| a | — | 50.0 | — | 4 | 1.5 |" in text
