"""A list of runs: what is done is not run again, what fails stops no other, and all is recorded."""

from __future__ import annotations

import json
import re

import pytest
from written_runs import EXPERIMENT, replace_training, results, write_done

from sentiment_train.campaigns.campaign import Campaign, PlannedRun, check
from sentiment_train.errors import ConfigError, Interrupted, RunError, UserError


@pytest.fixture
def gin_file(tmp_path):
    path = tmp_path / "small.gin"
    path.write_text(EXPERIMENT)
    return path


@pytest.fixture
def make(gin_file, tmp_path):
    """A campaign over seeds, in a directory of its own."""

    def campaign(*seeds: int, bindings: tuple[str, ...] = ()):
        runs = [
            check(PlannedRun(f"seed={s}", (str(gin_file),), (*bindings, f"Runtime.seed = {s}")))
            for s in seeds
        ]
        return Campaign(str(tmp_path / "runs"), "--sweep_dir", runs, str(tmp_path / "cache"))

    return campaign


def run(campaign):
    with campaign.held():
        campaign.run(1, lambda name: None)


def test_a_done_run_is_not_run_again_and_the_others_are(make, tmp_path, monkeypatch, capsys):
    campaign = make(0, 1)
    write_done(campaign.runs[0], tmp_path / "runs", results(0.8))
    started = replace_training(monkeypatch, {"seed=1": (results(0.9), "fine", 0)})
    run(campaign)
    assert started == ["seed=1"]
    assert [s.status for s in campaign.standings()] == ["done", "done"]
    assert [s.results["test"]["accuracy"] for s in campaign.standings()] == [0.8, 0.9]
    assert "1 of 2 runs have ended before" in capsys.readouterr().out
    run(campaign)
    assert started == ["seed=1"]


def test_a_process_leaves_its_machine_its_date_and_its_output(make, tmp_path, monkeypatch):
    campaign = make(7)
    replace_training(monkeypatch, {"seed=7": (results(0.9), "so it went", 0)})
    run(campaign)
    entry = json.loads((tmp_path / "runs" / "runs.json").read_text())["seed=7"]
    assert entry["exit_code"] == 0
    assert entry["seconds"] > 0
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", entry["ended"])
    assert " core" in entry["machine"]
    assert (tmp_path / "runs" / "seed=7.log").read_text() == "so it went\n"


def test_failed_and_diverged_runs_are_told_in_the_end(make, monkeypatch):
    campaign = make(0, 1, 2)
    long = "data\nerror: Cannot write the checkpoint:\n  disk full"
    ends = {
        "seed=0": (None, long, 4),
        "seed=1": (None, "error: Step 3: the loss is nan.", 6),
        "seed=2": (results(0.9), "fine", 0),
    }
    started = replace_training(monkeypatch, ends)
    with pytest.raises(UserError) as told:
        run(campaign)
    assert started == ["seed=0", "seed=1", "seed=2"]
    assert told.value.exit_code == 1
    assert "2 of 3 runs did not end well" in told.value.message
    assert "seed=0 (failed): Cannot write the checkpoint:\n  disk full" in told.value.message
    assert "seed=1 (diverged): error: Step 3: the loss is nan." in told.value.message

    # A failed run is tried again; a diverged one would diverge again.
    ends["seed=0"] = (results(0.8), "fine", 0)
    with pytest.raises(UserError, match="1 of 3 runs did not end well"):
        run(campaign)
    assert started[3:] == ["seed=0"]


def test_a_diverged_run_is_run_again_once_its_configuration_was_mended(make, monkeypatch):
    campaign = make(0)
    replace_training(monkeypatch, {"seed=0": (None, "nan", 6)})
    with pytest.raises(UserError):
        run(campaign)
    mended = make(0, bindings=("Training.clip_norm = 0.5",))
    started = replace_training(monkeypatch, {"seed=0": (results(0.8), "fine", 0)})
    run(mended)
    assert started == ["seed=0"]


def test_an_interrupted_run_says_that_the_same_command_goes_on(make, monkeypatch):
    campaign = make(0)
    started = replace_training(monkeypatch, {"seed=0": (None, "error: Stopped by a signal", 75)})
    with pytest.raises(Interrupted, match=r"0 of 1 runs are done\. The same command") as told:
        run(campaign)
    assert told.value.exit_code == 75
    assert campaign.standings()[0].status == "interrupted"
    replace_training(monkeypatch, {"seed=0": (results(0.8), "fine", 0)})
    run(campaign)
    assert started == ["seed=0"]


@pytest.mark.parametrize("code", [75, 4, -9])
def test_seconds_are_of_all_processes_whose_checkpoints_the_run_goes_on_from(
    make, tmp_path, monkeypatch, code
):
    campaign = make(0)
    replace_training(monkeypatch, {"seed=0": (results(0.8), "fine", 0)})

    def ended_before(seconds):
        with campaign.held():
            campaign._record("seed=0", code, seconds, "why")

    def seconds():
        return campaign.standings()[0].process["seconds"]

    ended_before(1000.0)
    run(campaign)
    assert seconds() < 100  # it had saved nothing
    ended_before(1000.0)
    checkpoint = tmp_path / "runs" / "seed=0" / "checkpoints" / "step-3"
    checkpoint.mkdir(parents=True)
    (checkpoint / "manifest.json").write_text("{}")
    (tmp_path / "runs" / "seed=0" / "status.json").write_text('{"status": "incomplete"}')
    run(campaign)
    assert 1000 < seconds() < 1100


def test_a_changed_configuration_is_refused_before_anything_is_run(make, tmp_path, monkeypatch):
    write_done(make(0).runs[0], tmp_path / "runs", results(0.8))
    started = replace_training(monkeypatch, {})
    with pytest.raises(RunError) as told:
        run(make(0, 1, bindings=("RecurrentClassifier.cell = 'gru'",)))
    assert told.value.exit_code == 4
    assert "RecurrentClassifier.cell: 'lstm' there, 'gru' now" in told.value.message
    assert "--sweep_dir" in told.value.message
    assert not started


def test_what_others_reported_may_be_mended_without_a_new_run(make, tmp_path, monkeypatch):
    published = (
        "Experiment.published = @Published()",
        "Published.source = 'a paper'",
        "Published.accuracy = 0.9",
    )
    write_done(make(0, bindings=published).runs[0], tmp_path / "runs", results(0.8))
    started = replace_training(monkeypatch, {})
    run(make(0, bindings=(*published[:2], "Published.accuracy = 0.8")))
    run(make(0))
    assert not started


def test_two_campaigns_in_one_directory_are_refused(make):
    with make(0).held():
        with pytest.raises(RunError, match=r"is in use by another process.*--sweep_dir"):
            run(make(0))


def test_two_runs_of_one_name_are_refused(make):
    with pytest.raises(ConfigError, match="Two runs are called 'seed=0'"):
        make(0, 0)


def test_a_mistake_in_a_run_names_it(gin_file):
    with pytest.raises(ConfigError, match=r"^x: Buckets.count = 0 is out of range"):
        check(PlannedRun("x", (str(gin_file),), ("Buckets.count = 0",)))


def test_results_that_are_gone_are_told(make, tmp_path, monkeypatch):
    campaign = make(0)
    write_done(campaign.runs[0], tmp_path / "runs", results(0.8))
    (tmp_path / "runs" / "seed=0" / "results.json").unlink()
    (standing,) = campaign.standings()
    assert (standing.status, standing.why) == ("failed", "it is done, but its results.json is gone")


def test_the_logs_of_runs_in_an_object_store_are_local(gin_file, tmp_path):
    run = check(PlannedRun("a", (str(gin_file),)))
    campaign = Campaign("ram://bucket/sweep", "--sweep_dir", [run], str(tmp_path))
    command = campaign._command(run)
    assert command.log == tmp_path / "logs" / "bucket/sweep" / "a.log"
    assert command.log.parent.is_dir()
    assert "--model_dir=ram://bucket/sweep/a" in command.arguments
    assert [s.status for s in campaign.standings()] == ["waiting"]
