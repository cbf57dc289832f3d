"""The table of a sweep: means with spread, the best by validation, and no claim beyond that."""

from __future__ import annotations

import csv
import io
import json

import pytest

from sentiment_train.reports.document import to_lines, to_markdown
from sentiment_train.reports.sweep_table import CellResult, Spread, SweepTable


def cell(size: str, seed: str | None, validation: float, test: float, **more) -> CellResult:
    results = {
        "validation": {"accuracy": validation, "loss": 1 - validation},
        "test": {"accuracy": test, "loss": 1 - test, "macro_f1": test - 0.1},
        "train_seconds": 60.0,
    }
    fields = {"status": "done", "results": results, **more}
    return CellResult(f"batch_size={size},seed={seed}", {"batch_size": size}, seed, **fields)


def test_seeds_are_one_row_with_mean_and_sample_deviation_and_validation_decides():
    cells = [
        *[cell("16", "0", 0.80, 0.95), cell("16", "1", 0.82, 0.97)],
        *[cell("32", "0", 0.90, 0.70), cell("32", "1", 0.90, 0.72)],
    ]
    table = SweepTable(cells, "accuracy", lower_is_better=False)
    assert table.header() == [
        *["batch_size", "runs", "validation accuracy", "test accuracy", "test macro_f1"],
        *["seconds", ""],
    ]
    assert table.rows() == [
        ["16", "2", "0.8100 ± 0.0141", "0.9600 ± 0.0141", "0.8600 ± 0.0141", "60", ""],
        ["32", "2", "0.9000 ± 0.0000", "0.7100 ± 0.0141", "0.6100 ± 0.0141", "60", "best"],
    ]
    assert any("Best by validation accuracy: batch_size=32" in note for note in table.notes())
    assert "| 32 | 2 | 0.9000 ± 0.0000 |" in to_markdown("Sweep", table.blocks())
    assert to_lines(table.table())[1].startswith("16             2      0.8100 ± 0.0141")


def test_one_seed_claims_no_spread():
    table = SweepTable([cell("16", None, 0.8, 0.7)], "accuracy", lower_is_better=False)
    assert table.rows()[0][:3] == ["16", "1", "0.8000"]
    assert "±" not in to_markdown("Sweep", table.blocks())
    assert any("Every row is one run" in note for note in table.notes())
    assert Spread.of([0.5]).deviation is None


def test_a_point_with_a_diverged_run_is_never_the_best_and_says_so():
    bad = CellResult("batch_size=64,seed=1", {"batch_size": "64"}, "1", "diverged", "loss is nan")
    cells = [cell("16", "0", 0.8, 0.8), cell("64", "0", 0.9, 0.9), bad]
    table = SweepTable(cells, "accuracy", lower_is_better=False)
    assert table.best() == ("16",)
    assert table.rows()[1] == ["64", "1 of 2", "0.9000", "0.9000", "0.8000", "60", "1 diverged"]
    assert "batch_size=64,seed=1 (diverged): loss is nan" in table.notes()


def test_of_a_loss_the_lowest_is_best():
    cells = [cell("16", "0", 0.8, 0.8), cell("32", "0", 0.7, 0.9)]
    table = SweepTable(cells, "loss", lower_is_better=True)
    assert table.best() == ("16",)
    assert table.header()[2:4] == ["validation loss", "test loss"]


def test_without_any_result_there_is_still_a_table():
    waiting = CellResult("a", {"batch_size": "16"}, None, "waiting")
    table = SweepTable([waiting], "accuracy", lower_is_better=False)
    assert table.rows() == [["16", "0 of 1", "—", "1 waiting"]]
    assert table.best() is None


def test_without_validation_no_point_is_called_the_best():
    found = {"test": {"accuracy": 0.8}, "train_seconds": 1.0}
    done = CellResult("a", {"batch_size": "16"}, None, "done", results=found)
    table = SweepTable([done], "accuracy", lower_is_better=False)
    assert "Nothing was validated, so no point is called the best." in table.notes()


def test_csv_and_json_have_every_run_with_plain_numbers():
    failed = CellResult('odd,"name', {"batch_size": "64"}, "0", "failed", "no disk")
    table = SweepTable([cell("16", "0", 0.8, 0.7), failed], "accuracy", lower_is_better=False)
    rows = list(csv.DictReader(io.StringIO(table.csv())))
    assert rows[0]["validation_accuracy"] == "0.8"
    assert rows[0]["seed"] == "0"
    assert rows[1] == {
        **{"batch_size": "64", "seed": "0", "status": "failed", "validation_accuracy": ""},
        **{"test_accuracy": "", "test_macro_f1": "", "train_seconds": "", "run": 'odd,"name'},
    }
    whole = json.loads(json.dumps(table.json()))
    assert whole["points"][0]["validation_accuracy"] == {"mean": 0.8, "deviation": None}
    assert whole["points"][0]["best"] is True
    assert whole["runs"]['odd,"name']["why"] == "no disk"
    assert whole["runs"]["batch_size=16,seed=0"]["test_accuracy"] == pytest.approx(0.7)
