"""A sweep: every cell is checked first, then run; the tables say what came of it."""

from __future__ import annotations

import json

import pytest
from written_runs import EXPERIMENT, replace_training, results

from sentiment_train.errors import ConfigError, RunError, UserError
from sentiment_train.sweep import Sweep

GRID = ("batch_size=16,32", "seed=0,1")
NAMES = [f"batch_size={size},seed={seed}" for size in (16, 32) for seed in (0, 1)]


@pytest.fixture
def gin_file(tmp_path):
    path = tmp_path / "small.gin"
    path.write_text(EXPERIMENT)
    return str(path)


@pytest.fixture
def sweep(gin_file, tmp_path):
    """Runs a sweep in a folder of its own."""

    def sweep(*grids: str, bindings: tuple[str, ...] = (), **how):
        folder, cache = str(tmp_path / "sweep"), str(tmp_path / "cache")
        Sweep((gin_file,), bindings, grids).run(folder, cache, **how)

    return sweep


def test_a_grid_with_seeds_becomes_one_table(sweep, tmp_path, monkeypatch, capsys):
    accuracies = dict(zip(NAMES, (0.80, 0.82, 0.90, 0.90), strict=True))
    ends = {name: (results(accuracy), "fine", 0) for name, accuracy in accuracies.items()}
    started = replace_training(monkeypatch, ends)
    sweep(*GRID)
    assert started == NAMES
    markdown = (tmp_path / "sweep" / "sweep.md").read_text()
    assert "| 16 | 2 | 0.8200 ± 0.0141 | 0.8100 ± 0.0141 |" in markdown
    assert (
        "| 32 | 2 | 0.9100 ± 0.0000 | 0.9000 ± 0.0000 | 0.8900 ± 0.0000 | 200 | best |" in markdown
    )
    assert "--grid=batch_size=16,32 --grid=seed=0,1" in markdown
    points = json.loads((tmp_path / "sweep" / "sweep.json").read_text())["points"]
    assert [point["best"] for point in points] == [False, True]
    assert len((tmp_path / "sweep" / "sweep.csv").read_text().splitlines()) == 5
    for name in NAMES:
        assert list((tmp_path / "sweep" / "hparams" / name).glob("events*"))
    assert "0.9000 ± 0.0000" in capsys.readouterr().out

    sweep(*GRID, "dropout=0.0,0.3", dry_run=True)  # another grid: other cells, none of them run
    assert capsys.readouterr().out.count("waiting") == 8
    sweep(*GRID)
    assert started == NAMES  # nothing was run again


def test_a_grown_grid_runs_what_is_new(sweep, tmp_path, monkeypatch):
    names = [*NAMES, "batch_size=16,seed=2", "batch_size=32,seed=2"]
    started = replace_training(monkeypatch, {n: (results(0.8), "fine", 0) for n in names})
    sweep(*GRID)
    sweep("batch_size=16,32", "seed=0,1,2")
    assert sorted(started[4:]) == sorted(names[4:])
    assert "| 16 | 3 |" in (tmp_path / "sweep" / "sweep.md").read_text()


def test_seeds_alone_are_one_row(sweep, tmp_path, monkeypatch):
    ends = {f"seed={s}": (results(a), "fine", 0) for s, a in enumerate((0.8, 0.9))}
    replace_training(monkeypatch, ends)
    sweep("seed=0,1")
    markdown = (tmp_path / "sweep" / "sweep.md").read_text()
    assert "| 2 | 0.8600 ± 0.0707 | 0.8500 ± 0.0707 | 0.8400 ± 0.0707 | 200 | best |" in markdown


def test_a_failing_and_a_diverging_cell_are_in_the_table_and_end_it_with_an_error(
    sweep, tmp_path, monkeypatch
):
    ends = {name: (results(0.8), "fine", 0) for name in NAMES}
    ends[NAMES[0]] = (None, "error: disk full", 4)
    ends[NAMES[3]] = (None, "Step 3: the loss is nan.", 6)
    started = replace_training(monkeypatch, ends)
    with pytest.raises(UserError, match="2 of 4 runs did not end well"):
        sweep(*GRID)
    assert started == NAMES
    markdown = (tmp_path / "sweep" / "sweep.md").read_text()
    assert "| 16 | 1 of 2 | 0.8100 | 0.8000 | 0.7900 | 200 | 1 failed |" in markdown
    assert "| 32 | 1 of 2 | 0.8100 | 0.8000 | 0.7900 | 200 | 1 diverged |" in markdown
    assert "disk full (exit code 4)" in markdown


@pytest.mark.parametrize(
    ("grids", "bindings", "message"),
    [
        ((), (), "--grid=… is needed"),
        (("dropout=0.1,1.5",), (), "dropout=1.5: RecurrentClassifier.dropout = 1.5 is out of"),
        (("batch_size=16,many",), (), "batch_size=many: Buckets.batch_size = 'many' is a string"),
        (("epochs=2,two",), (), "epochs=two: Training.length = 'two epochs' is no length"),
        (("CosineSchedule.warmup='1 epoch'",), (), "nothing reads CosineSchedule.warmup"),
        (("Bucket.count=1,2",), (), "nothing is called 'Bucket'. Did you mean 'Buckets'?"),
        (("dropuot=0.1",), (), "Did you mean 'dropout'?"),
        (
            ("RecurrentClassifier.cell=gru,lstm",),
            (
                "Experiment.model = @a/RecurrentClassifier()",
                "a/RecurrentClassifier.cell = 'simple'",
            ),
            "cell=gru and cell=lstm are the same experiment",
        ),
    ],
)
def test_every_cell_is_checked_before_the_first_one_starts(
    sweep, tmp_path, monkeypatch, grids, bindings, message
):
    started = replace_training(monkeypatch, {})
    with pytest.raises(ConfigError) as told:
        sweep(*grids, bindings=bindings)
    assert message in told.value.message
    assert not started
    assert not (tmp_path / "sweep").exists()


def test_a_changed_gin_file_is_refused(sweep, gin_file, monkeypatch):
    replace_training(monkeypatch, {n: (results(0.8), "fine", 0) for n in NAMES})
    sweep(*GRID)
    with open(gin_file, "a", encoding="utf-8") as file:
        file.write("RecurrentClassifier.units = (32,)\n")
    with pytest.raises(RunError) as told:
        sweep(*GRID)
    assert "RecurrentClassifier.units: (64,) there, (32,) now" in told.value.message
    assert "Choose another --sweep_dir" in told.value.message
    with pytest.raises(RunError, match="was made by another configuration"):
        sweep(*GRID, dry_run=True)


def test_a_language_model_is_chosen_by_its_lowest_perplexity(tmp_path, monkeypatch):
    path = tmp_path / "language_model.gin"
    path.write_text(
        "Experiment.source = @PackagedReviews()\nExperiment.model = @LanguageModel()\n"
        "Experiment.loss = @NextTokenLoss()\nValidation.best_by = 'perplexity'\n"
        "WordEncoder.truncation = 'keep_head'\n"
    )
    ends = {}
    for size, perplexity in ((16, 90.0), (32, 100.0)):
        measured = {"perplexity": perplexity, "loss": 4.5, "accuracy": 0.2}
        found = results(0.5, validation=measured, test=measured)
        ends[f"batch_size={size}"] = (found, "fine", 0)
    replace_training(monkeypatch, ends)
    sweep = Sweep((str(path),), (), ("batch_size=16,32",))
    sweep.run(str(tmp_path / "sweep"), str(tmp_path))
    markdown = (tmp_path / "sweep" / "sweep.md").read_text()
    assert (
        "| batch_size | runs | validation perplexity | test perplexity | test accuracy |"
        in markdown
    )
    assert "| 16 | 1 | 90.0000 | 90.0000 | 0.2000 | 200 | best |" in markdown
