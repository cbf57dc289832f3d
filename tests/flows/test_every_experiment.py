"""Every gin file that is an experiment trains a few steps, and its run directory reproduces it."""

from __future__ import annotations

import json
import signal

import gin
import pytest
from program import ROOT

from sentiment_train import config, jobs
from sentiment_train.compare import QUICK, shipped_experiments
from sentiment_train.experiment import Experiment
from sentiment_train.run_directory import RunDirectory

FILES = {path.name: str(path) for path in (ROOT / "gin").glob("*.gin")}
EXPERIMENTS = sorted(set(FILES) - {QUICK})
WITH_REPORT = "bilstm.gin"  # of all others a report would only take time


@pytest.fixture(autouse=True)
def the_handlers_of_pytest():
    """A run installs its own for Ctrl-C, which must end pytest again."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_all_files_but_the_overlay_are_experiments(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert [name.removeprefix("gin/") for name in shipped_experiments()] == EXPERIMENTS


@pytest.fixture(scope="module")
def small_encoder(tf, tmp_path_factory):
    """A SavedModel in the manner of the one that use.gin would download."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "tests" / "hub"))
        from small_models import Hashed

    path = str(tmp_path_factory.mktemp("small") / "encoder")
    tf.saved_model.save(Hashed(), path)
    return path


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_trains_and_its_own_configuration_is_the_same_run(
    name, tmp_path, cache, small_encoder
):
    bindings = [] if name == WITH_REPORT else ["Experiment.report = None"]
    if name == "use.gin":
        bindings.append(f"HubEncoder.handle = '{small_encoder}'")
    experiment = config.make(Experiment, config.parse([FILES[name], FILES[QUICK]], bindings))
    given, operative = gin.config_str(), gin.operative_config_str()
    directory = RunDirectory(str(tmp_path / "run"))
    jobs.train(experiment, directory, str(cache))
    assert directory.status == "done"
    assert (directory.read("report.html") is not None) == (name == WITH_REPORT)
    results = json.loads(directory.read("results.json"))
    assert results["steps"] == 3
    assert results["test"]["examples"] >= 25
    assert results["test"]["loss"] > 0
    assert results["published"] == experiment.published_values()

    again = config.make(Experiment, config.parse([directory.file("config.gin")], []))
    assert again == experiment
    assert (gin.config_str(), gin.operative_config_str()) == (given, operative)
    jobs.train(again, directory, str(cache))  # refused if it were another run
    assert json.loads(directory.read("results.json")) == results
