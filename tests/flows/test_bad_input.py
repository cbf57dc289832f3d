"""Every mistake gets one message, a non-zero exit and no traceback, and leaves no run behind."""

from __future__ import annotations

import pytest
from program import ROOT

FLAGS = "include 'runtime/auto.gin'\ninclude 'data/imdb.gin'\ninclude 'model/recurrent.gin'\n"

CSV = """
include 'runtime/auto.gin'
include 'model/recurrent.gin'
Experiment.source = @CsvSource()
CsvSource.path = 'reviews.csv'
CsvSource.labels = ('bad', 'good')
"""


@pytest.fixture
def main(tmp_path, tf, monkeypatch, capsys):
    """`main` in this process: gin lines, other files, flags → (exit status, last line printed)."""
    from absl import flags
    from absl.testing import flagsaver

    from sentiment_train import main as module

    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT))

    def call(gin_text: str, *bindings: str, files: dict[str, str] | None = None, **options):
        (tmp_path / "my.gin").write_text(gin_text)
        for name, text in (files or {}).items():
            (tmp_path / name).write_text(text)
        if not flags.FLAGS.is_parsed():
            flags.FLAGS(["test"])
        values = {"cache_dir": str(tmp_path / "cache"), "model_dir": None, **options}
        with flagsaver.flagsaver(gin_file=["my.gin"], gin_bindings=list(bindings), **values):
            status = module.main(["main"])
        printed = capsys.readouterr().err.strip()
        assert printed.count("error: ") == 1, printed
        return status, printed

    return call


@pytest.mark.parametrize(
    ("gin_text", "expected"),
    [
        ("include 'data/imbd.gin'\n", "my.gin:1: No gin file 'data/imbd.gin'"),
        (FLAGS + "RecurrentClasifier.cell = 'gru'\n", "Did you mean 'RecurrentClassifier'?"),
        (
            FLAGS + "RecurrentClassifier.bidirectonal = True\n",
            "my.gin:4: RecurrentClassifier has no parameter 'bidirectonal'."
            " Did you mean 'bidirectional'?",
        ),
        (FLAGS + "SIZE = 10\nVocabulary.max_size = %SIZES\n", "Did you mean 'SIZE'?"),
        (FLAGS + "SIZE = 10\n", "my.gin:4: nothing reads %SIZE"),
        (FLAGS + "CsvSource.path = 'a.csv'\n", "my.gin:4: nothing reads CsvSource.path"),
        (FLAGS + "Vocabulary.max_size = 1e6\n", "my.gin:4: Vocabulary.max_size = 1000000.0 is a"),
        (FLAGS + "RecurrentClassifier.dropout = 1.5\n", "my.gin:4: RecurrentClassifier.dropout"),
        (FLAGS + "Training.length = '3 weeks'\n", "write '3 epochs', '0.5 epochs' or '500 steps'"),
        ("include 'runtime/auto.gin'\n", "Experiment.source and Experiment.model must be set"),
    ],
)
def test_a_wrong_configuration(main, gin_text, expected, tmp_path):
    status, printed = main(gin_text)
    assert expected in printed
    assert status == 2
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_of_another_mode_is_refused(main):
    status, printed = main(FLAGS, dry_run=True, mode="export")
    assert status == 2
    assert "--dry_run shows what a training would be; leave out --mode=export." in printed


@pytest.mark.parametrize(
    ("binding", "expected"),
    [
        ("Runtime.strategy = 'mirrored'", "found no GPU"),
        ("Runtime.strategy = 'tpu'", "built without TPU support"),
        ("Runtime.strategy = 'multi_worker'", "needs TF_CONFIG"),
        ("Validation.best_by = 'acuracy'", "is no metric; known: loss, accuracy"),
        ("RecurrentClassifier.pooling = 'avg'", "allowed: last | mean | max | mean+max"),
        ("Buckets.lengths = (10, 20)", "has no bucket for the longest text of 256 tokens"),
    ],
)
def test_what_cannot_be_combined_is_refused_with_the_alternative(main, binding, expected):
    status, printed = main(FLAGS, "PackagedReviews.subset = 'imdb'", binding, dry_run=True)
    assert expected in printed
    assert status == 2


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("text,label\nfine,good\noh, no,bad\n", "reviews.csv:3: expected 2 fields"),
        ("text,label\nfine,goood\n", "reviews.csv:2: unknown label 'goood'"),
        ("text,lable\nfine,good\n", "Did you mean"),
        ("text,label\n", "reviews.csv has no rows"),
        ("text,label\nfine,good\nnice,good\n", "all 2 training examples have the label 'good'"),
    ],
)
def test_bad_data_name_the_file_and_the_line(main, rows, expected, tmp_path):
    status, printed = main(CSV, files={"reviews.csv": rows})
    assert expected in printed
    assert status == 3
    assert not (tmp_path / "runs").exists()


def test_a_missing_file_and_an_unwritable_cache(main):
    assert "reviews.csv" in main(CSV)[1]
    rows = "text,label\n" + "".join(f"text {i},{('bad', 'good')[i % 2]}\n" for i in range(40))
    status, printed = main(CSV, files={"reviews.csv": rows, "a_file": ""}, cache_dir="a_file/x")
    assert "--cache_dir" in printed
    assert status == 3


def test_skipped_rows_are_counted_and_the_rest_is_used(program):
    rows = "text,label\n" + "".join(f"text {i},{('bad', 'good')[i % 2]}\n" for i in range(40))
    (program.folder / "reviews.csv").write_text(rows + "a,b,c\n")
    program.gin_file.write_text(CSV + "CsvSource.on_bad_row = 'skip'\n")
    assert program.finish("run", "--dry_run") == 0, program.log("run")
    assert "1 bad rows skipped" in program.log("run")


def test_an_unwritable_run_directory(main):
    status, printed = main(FLAGS, "PackagedReviews.subset = 'imdb'", model_dir="my.gin/run")
    assert "my.gin/run" in printed
    assert status == 4
