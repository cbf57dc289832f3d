"""The results and the report of a real run, and what it prints."""

from __future__ import annotations

import contextlib
import io
import json
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

from sentiment_train import config, jobs
from sentiment_train.assembly import Assembly
from sentiment_train.errors import DivergedError
from sentiment_train.evaluation.metrics import Predictions
from sentiment_train.experiment import Experiment
from sentiment_train.outcome import Outcome
from sentiment_train.run_directory import RunDirectory

ROOT = pathlib.Path(__file__).parents[2]
BINDINGS = [
    "Experiment.source = @PackagedReviews()",
    "PackagedReviews.subset = 'rotten_tomatoes'",
    "Splits.max_examples = 1500",
    "Experiment.model = @RecurrentClassifier()",
    "RecurrentClassifier.units = (4,)",
    "RecurrentClassifier.embedding_size = 4",
    "Vocabulary.max_size = 500",
    "Buckets.count = 1",
    "Training.length = '6 steps'",
    "Training.log_every = '2 steps'",
    "Validation.every = '3 steps'",
    "Validation.best_by = 'macro_f1'",
    "Report.examples = 2",
    "Experiment.export = False",
]


def train(folder):
    """Runs the experiment in a folder; what was printed."""
    experiment = config.make(Experiment, config.parse([], BINDINGS))
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        jobs.train(experiment, RunDirectory(str(folder / "run")), str(folder / "cache"))
    return printed.getvalue()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    return folder, train(folder)


def results_of(folder):
    return json.loads((folder / "run" / "results.json").read_text())


def test_results_and_screen_have_the_classes_and_the_baseline(finished):
    folder, printed = finished
    results = results_of(folder)
    test = results["details"]["test"]
    assert set(test["per_class"]) == {"negative", "positive"}
    low, high = test["accuracy_interval"]
    assert low < results["test"]["accuracy"] < high
    assert 0 < test["auc"] < 1
    assert results["test"]["macro_f1"] == pytest.approx(
        sum(of["f1"] for of in test["per_class"].values()) / 2
    )
    assert results["baseline"]["kind"] == "tfidf"
    assert results["baseline"]["accuracy"] == results["baseline"]["test"]["accuracy"] > 0.5
    assert results["baseline"]["seconds"] > 0
    assert results["seconds_per_epoch"] > 0

    assert "negative  precision" in printed
    assert "macro_f1" in printed
    assert f"baseline   {results['baseline']['sentence']}\n" in printed
    assert f"(95%: {low:.4f} to {high:.4f}) on {results['test']['examples']} test" in printed
    assert f"report     {folder}/run/report.html\n" in printed


def test_a_run_says_what_it_cost(finished):
    folder, printed = finished
    found = results_of(folder)
    assert found["tokens_per_second"] > found["examples_per_second"]
    assert 0 < found["padding"] < 1
    assert 0 < found["input_wait"] < 1
    assert found["first_step_seconds"] > 0
    assert found["traces"] == found["compilations"] == 1  # one shape, and one graph for any shape
    assert found["peak_memory_bytes"] > 2**27
    lines = (folder / "run" / "metrics.jsonl").read_text().splitlines()
    waits = [v["train/input_wait"] for v in map(json.loads, lines) if "train/input_wait" in v]
    assert len(waits) == 3
    assert all(0 < wait < 1 for wait in waits)
    assert f"; first step after {found['first_step_seconds']:.1f} s" in printed
    text = (folder / "run" / "report.md").read_text()
    assert f"| bytes of memory, at most | {found['peak_memory_bytes']:,} |" in text


def test_both_reports_tell_all_of_it(finished):
    folder, _ = finished
    results, page = results_of(folder), (folder / "run" / "report.html").read_text()
    text = (folder / "run" / "report.md").read_text()
    for report in (page, text):
        assert f"Accuracy {results['test']['accuracy']:.2%}" in report
        assert results["baseline"]["sentence"] in report
        assert "rotten_tomatoes (packaged)" in report  # what was trained
        assert "no GPU or TPU found" in report  # a decision and its reason
        assert f"{results['parameters']:,}" in report
        assert f"{results['details']['test']['per_class']['negative']['recall']:.4f}" in report
        assert "Wrong, and most sure of it" in report
    assert page.count('src="data:image/png;base64,') == 3
    groups = json.loads((folder / "run" / "report.json").read_text())["examples"]
    assert len(groups) >= 3
    assert all(len(group["examples"]) == 2 for group in groups)
    assert page.count("<blockquote") == text.count("\n> ") == 2 * len(groups)
    assert "Confusion matrix of the test split. Right answers: negative " in page


def test_both_reports_tell_the_temperature_and_what_it_changes(finished):
    folder, _ = finished
    results, text = results_of(folder), (folder / "run" / "report.md").read_text()
    page = (folder / "run" / "report.html").read_text()
    for report in (page, text):
        assert f"the temperature: {results['calibration']['temperature']:.4f}. " in report
        assert "Share of right answers of the test split against the probability" in report
    found = results["details"]["test"]
    numbers = (
        found["calibration_error_uncalibrated"],
        found["calibration_error"],
        results["test"]["loss"],
        found["calibrated_loss"],
    )
    assert f"| test | {' | '.join(f'{number:.4f}' for number in numbers)} |\n" in text
    assert sum(of["weight"] for of in found["reliability"]) == results["test"]["examples"]


def test_every_number_of_the_results_is_explained(finished):
    folder, _ = finished
    results, explained = results_of(folder), (ROOT / "docs" / "reports.md").read_text()
    words = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`\n]+)`", explained))))
    parts = results, results["details"]["test"], results["calibration"], results["baseline"]
    assert set().union(*parts) <= words


def test_the_last_lines_are_those_that_the_readme_shows(finished):
    """Without the last one, which tells what was exported."""
    readme = (ROOT / "README.md").read_text().split("It ends with\n", 1)[1]
    shown = [line.split()[0] for line in readme.strip("\n").split("\n\n")[0].split("\n")]
    printed = [line.split()[0] for line in finished[1].strip("\n").split("\n")]
    assert shown[-1] == "classify"
    assert len(shown) > 5
    assert printed[-len(shown) + 1 :] == shown[:-1]


def test_it_is_drawn_again_without_tensorflow(finished):
    folder, _ = finished
    files = {name: folder / "run" / name for name in ("report.html", "report.md")}
    before = {name: path.read_bytes() for name, path in files.items()}
    for path in files.values():
        path.unlink()
    code = (
        "import runpy, sys\n"
        "try: runpy.run_module('sentiment_train.reports.draw', run_name='__main__')\n"
        "except SystemExit as end: print(end.code)\n"
        "print([m for m in ('tensorflow', 'keras', 'sklearn') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, f"--model_dir={folder / 'run'}"]
    drawn = subprocess.run(command, capture_output=True, text=True, check=True)
    assert drawn.stdout.splitlines()[-2:] == ["0", "[]"]
    assert {name: path.read_bytes() for name, path in files.items()} == before


def test_a_run_that_was_stopped_before_its_end_gives_the_same_results(finished):
    folder, _ = finished
    before, directory = results_of(folder), RunDirectory(str(folder / "run"))
    for name in ("results.json", "report.html"):
        (folder / "run" / name).unlink()
    directory.set_status("incomplete")
    printed = train(folder)
    assert "fitting" not in printed  # the baseline is kept
    assert results_of(folder) == before
    assert (folder / "run" / "report.html").exists()


def test_an_evaluation_of_its_own_finds_the_same_temperature(finished):
    folder, printed = finished
    calibration = results_of(folder)["calibration"]
    assert calibration["examples"] == results_of(folder)["validation"]["examples"]
    temperature = calibration["temperature"]
    assert temperature != 1.0
    line = f"calibrated by a temperature of {temperature:.4f}, which divides the logits; fitted on"
    assert line in printed
    experiment = config.make(Experiment, config.parse([], BINDINGS))
    with contextlib.redirect_stdout(io.StringIO()) as said:
        jobs.evaluate(experiment, RunDirectory(str(folder / "run")), str(folder / "cache"))
    assert line in said.getvalue()
    again = json.loads((folder / "run" / "evaluation.json").read_text())
    assert again["calibration"] == calibration
    assert again["details"] == results_of(folder)["details"]


def test_numbers_that_are_not_finite_are_one_error(finished):
    folder, _ = finished
    experiment = config.make(Experiment, config.parse([], BINDINGS))
    assembly = Assembly(experiment, str(folder / "cache"))
    *_, bias = assembly.model.weights
    bias.assign(bias + float("inf"))
    examples = results_of(folder)["validation"]["examples"]
    with pytest.raises(DivergedError, match=f"not finite for {examples} of {examples} validation"):
        Outcome(assembly, RunDirectory(str(folder / "run"))).measure()


def test_a_run_whose_weights_give_no_numbers_has_diverged(finished, tmp_path, monkeypatch):
    folder, _ = finished
    one_step = ["Training.length = '1 step'", "Validation.every = '1 step'"]
    experiment = config.make(Experiment, config.parse([], [*BINDINGS, *one_step]))
    nothing = lambda predictions: np.zeros(len(predictions.labels), bool)  # noqa: E731
    monkeypatch.setattr(Predictions, "finite", nothing)
    run = RunDirectory(str(tmp_path))
    with pytest.raises(DivergedError, match="not finite"):
        jobs.train(experiment, run, str(folder / "cache"))
    assert json.loads(run.read("status.json"))["status"] == "diverged"
