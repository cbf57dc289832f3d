"""What the report of a run says, from results that no training made."""

import json

import pytest

from sentiment_train.errors import RunError
from sentiment_train.reports.draw import draw
from sentiment_train.reports.history import read_history
from sentiment_train.reports.story import compose

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
        "calibration_error": 0.1,  # as an earlier version has it
    }
    measured = {"loss": 2.0, "accuracy": 0.5, "macro_f1": 0.5, "examples": 1000}
    found = {**COST, "classes": names, "test": measured, "details": {"test": details}}
    text = compose(found, STORY, "")["report.md"]
    assert "\n| c950 | 0.5000 | 0.5000 | 0.5000 | 950 |\n| c951 " in text
    assert "| c949 |" not in text
    assert "950 classes with less support are left out; results.json has them all." in text
    assert "c999 50%, 950 more." in text
    assert "No temperature was fitted." in text
    assert "| split | calibration error |\n" in text


def test_a_temperature_that_could_not_be_is_told_with_its_reason():
    of_class = {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 5}
    intervals = [{"probability": 0.5, "right": 0.6, "weight": 10}]
    details = {
        "accuracy_interval": [0.4, 0.6],
        "per_class": {"a": of_class, "b": of_class},
        "confusion": [[3, 2], [2, 3]],
        "auc": None,
        "calibration_error": 0.1,
        "reliability": intervals,
        "reliability_uncalibrated": intervals,
    }
    measured = {"loss": 0.7, "accuracy": 0.6, "macro_f1": 0.6, "examples": 10}
    none = {"temperature": 1.0, "examples": 10, "none_because": "10 are too few"}
    found = {**COST, "calibration": none, "test": measured, "details": {"test": details}}
    text = compose(found, STORY, "")["report.md"]
    assert "There is no temperature: 10 are too few." in text
    assert "| test | 0.1000 |\n" in text
    assert "as it comes: where it says 50.0%, 60.0% are right." in text


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


def test_what_cannot_be_drawn_is_one_message(tmp_path):
    with pytest.raises(RunError, match="only a run that was trained to its end"):
        draw(tmp_path)
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(RunError, match="Cannot read the results"):
        draw(tmp_path)
