"""The report of a real run, and of the results of others."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys

import pytest

from sentiment_train import config, jobs
from sentiment_train.errors import RunError
from sentiment_train.experiment import Experiment
from sentiment_train.reports.draw import draw
from sentiment_train.reports.history import read_history
from sentiment_train.reports.story import compose
from sentiment_train.run_directory import RunDirectory

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
    assert f"; first step after {found['first_step_seconds']:.1f} s, " in printed
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
    assert page.count('src="data:image/png;base64,') == 2
    groups = json.loads((folder / "run" / "report.json").read_text())["examples"]
    assert len(groups) >= 3
    assert all(len(group["examples"]) == 2 for group in groups)
    assert page.count("<blockquote") == text.count("\n> ") == 2 * len(groups)
    assert "Confusion matrix of the test split. Right answers: negative " in page


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
    line = f"calibrated logits are divided by {temperature:.4f}, fitted on"
    assert line in printed
    experiment = config.make(Experiment, config.parse([], BINDINGS))
    with contextlib.redirect_stdout(io.StringIO()) as said:
        jobs.evaluate(experiment, RunDirectory(str(folder / "run")), str(folder / "cache"))
    assert line in said.getvalue()
    again = json.loads((folder / "run" / "evaluation.json").read_text())
    assert again["calibration"] == calibration
    assert again["details"] == results_of(folder)["details"]


def test_what_cannot_be_drawn_is_one_message(tmp_path):
    with pytest.raises(RunError, match="only a run that was trained to its end"):
        draw(tmp_path)
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(RunError, match="Cannot read the results"):
        draw(tmp_path)


COST = {
    "steps": 4,
    "best_step": 4,
    "train_seconds": 1.0,
    "seconds_per_epoch": 2.0,
    "examples_per_second": 3.0,
    "parameters": 1000,
    "replicas": 1,
    "classes": ["a", "b"],
}
STORY = {"name": "run", "lines": [["data", "a"], ["", "b"]], "examples_of": None, "examples": []}


def test_a_language_model_has_perplexity_curves_and_speed():
    found = {"loss": 2.0, "perplexity": 7.389, "accuracy": 0.3, "tokens": 5000, "examples": 10}
    lines = [{"step": s, "train/loss": 3.0, "validation/perplexity": 20.0 / s} for s in (1, 2)]
    texts = compose(
        {**COST, "test": found}, STORY, "".join(json.dumps(line) + "\n" for line in lines)
    )
    text = texts["report.md"]
    assert "Perplexity 7.39 on 5,000 tokens of the test split." in text
    assert "perplexity of training: 20.09 at step 1" in text
    assert "- **data** a; b" in text
    assert "Baseline" not in text
    assert "By class" not in text
    assert texts["report.html"].count("<img ") == 1


def test_of_a_thousand_classes_the_commonest_are_shown_and_the_rest_is_counted():
    names = [f"c{i}" for i in range(1000)]
    scores = {"precision": 0.5, "recall": 0.5, "f1": 0.5}
    details = {
        "accuracy_interval": [0.4, 0.6],
        "per_class": {name: {**scores, "support": i} for i, name in enumerate(names)},
        "confusion": [[1] * 1000] * 1000,
        "auc": None,
        "calibration_error": 0.1,
    }
    measured = {"loss": 2.0, "accuracy": 0.5, "macro_f1": 0.5, "examples": 1000}
    found = {**COST, "classes": names, "test": measured, "details": {"test": details}}
    text = compose(found, STORY, "")["report.md"]
    assert "\n| c950 | 0.5000 | 0.5000 | 0.5000 | 950 |\n| c951 " in text
    assert "| c949 |" not in text
    assert "950 classes with less support are left out; results.json has them all." in text
    assert "c999 50%, 950 more." in text


def test_without_splits_or_points_it_says_so():
    text = compose(COST, STORY, "")["report.md"]
    assert "There is no validation or test split" in text
    assert "metrics.jsonl has no points." in text


def test_a_baseline_that_could_not_be_is_told_with_its_reason():
    baseline = {"kind": "nb", "none_because": "no word occurs in two training texts"}
    text = compose({**COST, "baseline": baseline}, STORY, "")["report.md"]
    assert "There is no baseline: no word occurs in two training texts." in text


def test_what_others_reported_stands_beside_it():
    published = {"source": "a <paper>", "accuracy": 0.77, "seconds_per_epoch": 132.0, "note": "n"}
    texts = compose({**COST, "published": published}, STORY, "")
    line = "Reported elsewhere (a &lt;paper&gt;): accuracy 77.00%; 132 seconds per epoch; n."
    assert all(line in text for text in texts.values())


def test_the_history_leaves_out_a_line_that_was_cut_off_and_what_is_not_finite():
    lines = '{"step": 2, "a": 1.0, "b": NaN}\n{"step": 1, "a": 3.0}\n{"step": 3, "a": 4'
    assert read_history(lines) == {"a": [(1, 3.0), (2, 1.0)]}
