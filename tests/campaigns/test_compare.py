"""A comparison: which experiments, what is run of them, and what the tables say."""

from __future__ import annotations

import html
import json
import re

import pytest
from written_runs import EXPERIMENT, replace_training, results, write_done

from sentiment_train.campaigns import machine
from sentiment_train.campaigns.campaign import check
from sentiment_train.compare import Comparison, interval_of, shipped_experiments
from sentiment_train.errors import ConfigError, UserError
from sentiment_train.evaluation.significance import wilson_interval
from sentiment_train.reports.side_by_side import Row, RunOf

PUBLISHED = """
Experiment.published = @Published()
Published.source = 'document <9>'
Published.accuracy = 0.864
Published.seconds_per_epoch = 211.0
Published.note = 'a Colab GPU & more'
"""


@pytest.fixture
def gin_files(tmp_path):
    """Two experiments, one of which was published."""
    paths = tmp_path / "first.gin", tmp_path / "second.gin"
    paths[0].write_text(EXPERIMENT + PUBLISHED)
    paths[1].write_text(EXPERIMENT + "RecurrentClassifier.cell = 'gru'\n")
    return tuple(map(str, paths))


def run(comparison, tmp_path, **how):
    comparison.run(str(tmp_path / "out"), str(tmp_path / "cache"), **how)
    return (tmp_path / "out" / "comparison.md").read_text()


def test_two_experiments_beside_each_other(gin_files, tmp_path, monkeypatch, capsys):
    baseline = {"accuracy": 0.88, "description": "TF-IDF"}
    ends = {
        "first": (results(0.9, baseline=baseline), "fine", 0),
        "second": (results(0.85, baseline=baseline), "fine", 0),
    }
    started = replace_training(monkeypatch, ends)
    markdown = run(Comparison(gin_files), tmp_path)
    assert started == ["first", "second"]
    low, high = wilson_interval(0.9, 1000)
    assert (
        f"| first | document &lt;9&gt; | 86.4% | 90.00% | {low:.2%} – {high:.2%} | 0.8900 | 88.00%"
        " | 12,345 |" in markdown
    )
    assert "| second | — | — | 85.00% |" in markdown
    assert "| first | 211 | 100.0 | 80 | 2 |" in markdown
    assert "Not above their baseline: second." in markdown
    assert "Baseline, on the same splits: TF-IDF." in markdown
    assert "a Colab GPU &amp; more" in markdown
    assert "python -m sentiment_train.main --gin_file=" in markdown
    assert machine.describe() in markdown
    assert "90.00%" in capsys.readouterr().out

    run(Comparison(gin_files), tmp_path)
    assert started == ["first", "second"]  # what is done is not run again


def test_html_needs_no_other_file_and_shows_texts_as_they_are(gin_files, tmp_path):
    comparison = Comparison(gin_files)
    for plan in comparison.plan():
        write_done(check(plan), tmp_path / "out", results(0.9))
    (tmp_path / "out" / "first" / "report.html").write_text("<html>")
    run(comparison, tmp_path, only_table=True)
    page = (tmp_path / "out" / "comparison.html").read_text()
    assert html.escape("document <9>") in page
    assert "document <9>" not in page
    assert '<a href="first/report.html">first</a>' in page
    assert not re.search(r'(src|href)="(https?:)?//', page)
    assert 'src="data:image/png;base64,' in page  # the learning curves
    assert (tmp_path / "out" / "comparison.png").read_bytes().startswith(b"\x89PNG")


def test_a_failed_experiment_is_in_the_table_and_the_others_are_run(
    gin_files, tmp_path, monkeypatch
):
    ends = {"first": (None, "error: no disk", 4), "second": (results(0.85), "fine", 0)}
    started = replace_training(monkeypatch, ends)
    with pytest.raises(UserError, match="1 of 2 runs did not end well"):
        run(Comparison(gin_files), tmp_path)
    assert started == ["first", "second"]
    markdown = (tmp_path / "out" / "comparison.md").read_text()
    assert "| first | document &lt;9&gt; | 86.4% | failed | — | — | — | — |" in markdown
    assert "first (failed): no disk (exit code 4)" in markdown


def test_only_the_table_runs_nothing(gin_files, tmp_path, monkeypatch):
    started = replace_training(monkeypatch, {})
    markdown = run(Comparison(gin_files), tmp_path, only_table=True)
    assert "| second | — | — | waiting | — | — | — | — |" in markdown
    assert not started


def test_several_seeds_are_one_row_whose_command_makes_all_of_them(
    gin_files, tmp_path, monkeypatch
):
    comparison = Comparison(gin_files[1:], seeds=("0", "1", "2"))
    ends = {
        f"second,seed={seed}": (results(accuracy), "fine", 0)
        for seed, accuracy in enumerate((0.84, 0.85, 0.86))
    }
    replace_training(monkeypatch, ends)
    markdown = run(comparison, tmp_path)
    assert "85.00% (3 of 3 seeds)" in markdown
    assert "Wilson's for the test examples" in markdown
    assert "sentiment_train.compare --gin_file=" in markdown
    assert "--seeds=0,1,2" in markdown


def test_quick_runs_have_the_overlay_on_top_and_are_called_so(gin_files, tmp_path, monkeypatch):
    comparison = Comparison(gin_files, quick=True)
    made = [check(plan) for plan in comparison.plan()]
    assert [run.experiment.splits.max_examples for run in made] == [300, 300]
    assert [run.experiment.training.length for run in made] == ["3 steps", "3 steps"]
    replace_training(monkeypatch, {name: (results(0.5), "fine", 0) for name in ("first", "second")})
    markdown = run(comparison, tmp_path)
    assert markdown.startswith("# Comparison of experiments (quick)\n")
    assert "| first (quick) |" in markdown
    assert "smoke tests" in markdown


def test_a_language_model_has_a_perplexity_and_no_accuracy_of_classes():
    measured = {"perplexity": 99.5, "accuracy": 0.2, "examples": 10}
    row = Row("lm", "", None, [RunOf("done", results={"test": measured})])
    assert interval_of(row) is None
    from sentiment_train.reports.side_by_side import results_table

    (cells,) = results_table([row], interval_of, False).rows
    assert cells[3] == "perplexity 99.5"


def test_the_interval_of_one_run_is_its_own_which_heeds_weights():
    found = {
        "test": {"accuracy": 0.9, "examples": 100},
        "details": {"test": {"accuracy_interval": [0.7, 0.95]}},
    }
    row = Row("a", "", None, [RunOf("done", results=found)])
    assert interval_of(row) == (0.7, 0.95)


def test_seeds_that_agree_have_the_interval_of_one_with_weights_too():
    def of(accuracy):
        own = wilson_interval(accuracy, 40.0)
        details = {"accuracy_interval": own, "effective_examples": 40.0}
        measured = {"accuracy": accuracy, "examples": 100}
        return RunOf("done", results={"test": measured, "details": {"test": details}})

    one, three = (Row("a", "", None, [of(0.9)] * runs) for runs in (1, 3))
    assert interval_of(three) == pytest.approx(interval_of(one))
    low, high = interval_of(Row("a", "", None, [of(0.88), of(0.92)]))
    assert low < interval_of(one)[0] < interval_of(one)[1] < high


def test_the_shipped_experiments_are_those_with_a_source_and_a_model(tmp_path, monkeypatch):
    shipped = [name.removeprefix("gin/") for name in shipped_experiments()]
    assert "bilstm.gin" in shipped
    assert "quick.gin" not in shipped
    assert not [name for name in shipped if "/" in name]

    (tmp_path / "gin").mkdir()
    (tmp_path / "gin" / "own.gin").write_text(EXPERIMENT)
    (tmp_path / "gin" / "overlay.gin").write_text("Splits.max_examples = 10\n")
    monkeypatch.chdir(tmp_path)
    assert shipped_experiments() == ["gin/own.gin"]


@pytest.mark.parametrize(
    ("seeds", "twice", "message"),
    [
        (("1", "1"), False, "a seed is there twice"),
        (("one",), False, "first,seed=one: "),
        ((), True, "Two runs are called 'first'"),
    ],
)
def test_a_mistake_is_told_before_anything_is_run(gin_files, tmp_path, seeds, twice, message):
    files = gin_files[:1] * 2 if twice else gin_files
    with pytest.raises(ConfigError, match=message):
        run(Comparison(files, seeds=seeds), tmp_path)
    assert not (tmp_path / "out").exists()


def test_published_numbers_are_checked(tmp_path):
    path = tmp_path / "a.gin"
    for line, message in [
        ("Published.accuracy = 86.4", "Published.accuracy = 86.4 is out of range; allowed: 0 to 1"),
        ("Published.seconds_per_epoch = 0.0", "allowed: above 0, or None"),
    ]:
        path.write_text(f"{EXPERIMENT}{PUBLISHED}{line}\n")
        with pytest.raises(ConfigError, match=message):
            check(Comparison((str(path),)).plan()[0])
    path.write_text(f"{EXPERIMENT}Experiment.published = @Published()\n")
    with pytest.raises(ConfigError, match=r"Published.source must be set"):
        check(Comparison((str(path),)).plan()[0])


def test_published_values_are_json(gin_files):
    made = check(Comparison(gin_files[:1]).plan()[0])
    assert json.loads(json.dumps(made.experiment.published_values()))["accuracy"] == 0.864
