"""A whole run whose directory is on no disk: `ram://` stands for `gs://` and its like."""

from __future__ import annotations

import gzip
import json
import os
import signal
import uuid

import pytest
from absl import flags
from absl.testing import flagsaver

from sentiment_train import config, jobs, predict
from sentiment_train.errors import Interrupted, RunError
from sentiment_train.experiment import Experiment
from sentiment_train.replacing import names_in
from sentiment_train.reports.draw import draw
from sentiment_train.reports.writers import MetricWriter
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
    "Training.log_every = '1 steps'",
    "Validation.every = '3 steps'",
    "Checkpointing.every = '2 steps'",
    "Report.baseline = 'none'",
    "Runtime.xla = 'off'",
    "Experiment.export = False",  # done once, below
]


def job(mode, path, cache, *bindings):
    experiment = config.make(Experiment, config.parse([], [*BINDINGS, *bindings]))
    getattr(jobs, mode)(experiment, RunDirectory(path), cache)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def interrupted(tf, cache):
    """A run that was stopped by SIGTERM at its third step, then started again."""
    path = f"ram://{uuid.uuid4().hex}/runs/one"
    scalars = MetricWriter.scalars

    def stop_at_three(writer, step, values):
        scalars(writer, step, values)
        if step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MetricWriter, "scalars", stop_at_three)
        with pytest.raises(Interrupted, match=rf"saved at step 3 of 6 in {path}"):
            job("train", path, cache)
    assert RunDirectory(path).status == "incomplete"
    job("train", path, cache)
    return RunDirectory(path)


@pytest.fixture(scope="module")
def undisturbed(tf, cache, tmp_path_factory):
    """The same on a disk, never stopped."""
    path = str(tmp_path_factory.mktemp("runs") / "one")
    job("train", path, cache)
    return RunDirectory(path)


@pytest.fixture(scope="module")
def exported(interrupted, cache):
    job("export", interrupted.path, cache)
    return f"{interrupted.path}/saved_model"


def test_it_ends_with_the_weights_and_the_curves_of_an_undisturbed_run_on_a_disk(
    interrupted, undisturbed
):
    found, expected = (json.loads(r.read("results.json")) for r in (interrupted, undisturbed))
    for name in ("weights_sha256", "test", "validation", "steps", "best_step", "details"):
        assert found[name] == expected[name], name
    curves = []
    for run in (interrupted, undisturbed):
        lines = [json.loads(line) for line in run.read("metrics.jsonl").splitlines()]
        curves.append([(line["step"], line.get("train/loss")) for line in lines])
    assert curves[0] == curves[1]


def test_it_has_every_file_of_a_run(interrupted, undisturbed):
    assert interrupted.status == "done"
    made_later = {".lock", "saved_model", "evaluation.json"}
    found, expected = (set(names_in(run.path)) - made_later for run in (interrupted, undisturbed))
    assert found == expected
    assert "Training.length = '6 steps'" in interrupted.read("config.gin")
    assert interrupted.read("vocabulary.txt").startswith("[PAD]\n[UNK]\n")


def test_another_configuration_is_refused(interrupted, cache):
    with pytest.raises(RunError, match=r"Training.length: '6 steps' there, '7 steps' now"):
        job("train", interrupted.path, cache, "Training.length = '7 steps'")


def test_it_is_evaluated_again(interrupted, cache):
    job("evaluate", interrupted.path, cache)
    results, again = (json.loads(interrupted.read(f"{n}.json")) for n in ("results", "evaluation"))
    assert again["test"] == results["test"]


def test_texts_are_read_from_it_and_answers_written_to_it(interrupted, exported, tf, capsys):
    texts = ["a good film", "bad, “very” bad", ""]
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    source, answers = f"{interrupted.path}-texts.jsonl.gz", f"{interrupted.path}-answers.jsonl"
    with tf.io.gfile.GFile(source, "wb") as file:
        file.write(gzip.compress(lines.encode()))
    for _ in range(2):  # the second time over the answers of the first
        with flagsaver.flagsaver():
            flags.FLAGS(
                ["predict", f"--saved_model={exported}", f"--input={source}", f"--output={answers}"]
            )
            assert predict.main(["predict"]) == 0, capsys.readouterr().err
    with tf.io.gfile.GFile(answers) as file:
        found = [json.loads(line) for line in file.read().splitlines()]
    assert [answer["text"] for answer in found] == texts
    assert not [n for n in tf.io.gfile.listdir(interrupted.path.rpartition("/")[0]) if "part" in n]


def test_its_report_is_drawn_again(interrupted):
    before = {name: interrupted.read(name) for name in ("report.html", "report.md")}
    for name in before:
        interrupted.write(name, "gone")
    assert {path.rpartition("/")[2] for path in draw(interrupted.path)} == set(before)
    assert {name: interrupted.read(name) for name in before} == before


def test_a_run_may_start_from_its_weights(interrupted, cache):
    path = f"ram://{uuid.uuid4().hex}/second"
    start = f"Experiment.init_from = '{interrupted.path}'"
    job("train", path, cache, start, "Training.length = '1 steps'")
    origin = json.loads(RunDirectory(path).read("init_from.json"))
    assert origin["path"] == interrupted.path
    assert origin["step"] == json.loads(interrupted.read("results.json"))["best_step"]
