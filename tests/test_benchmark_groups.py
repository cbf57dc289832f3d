"""The groups as they are: who is measured, what for, that it works on 40 reviews."""

from __future__ import annotations

import importlib
import json
import pathlib

import pytest

from benchmarks import flops, page, processes, results, training_runs
from benchmarks.bench import Bench
from benchmarks.groups import GROUPS, configurations, documents, instead, serving
from benchmarks.ours import encode, limit, shapes, step
from benchmarks.targets import TARGETS
from sentiment_train import config
from sentiment_train.experiment import Experiment

COST = processes.Cost(began=0.0, process_seconds=4.0, cpu_seconds=6.0, peak_memory_bytes=1e9)


class Canned:
    """In place of processes: every number that a probe, a peer or a training gives, at once."""

    def __init__(self):
        self.jobs: list[tuple[str, dict]] = []

    def ask(self, module: str, job: dict, folder: pathlib.Path, **given: str) -> dict:
        assert importlib.util.find_spec(module) is not None
        self.jobs.append((module, job))
        if module == "benchmarks.ours.texts":
            split = {"texts": ["a text"] * 3, "labels": ["yes"] * 3}
            splits = dict.fromkeys(("train", "validation", "test"), split)
            pathlib.Path(job["output"]).write_text(json.dumps(splits))
        return {
            **dict.fromkeys(("validation", "test", "padding"), 0.95),
            **dict.fromkeys(("gflops", "encode_seconds", "seconds", "mean_length"), 100.0),
            **dict.fromkeys(("train", "examples", "batches", "tokens", "parameters"), 3),
            **{"texts": 3, "shapes": 1, "longest": 9, "latency_seconds": 0.1},
            **{"texts_per_second": 10.0, "probabilities": [0.5]},
            **{"epoch_seconds": [2.0, 1.0], "losses": [0.7, 0.6]},
            **COST.as_measures(),
        }

    def run(self, run: training_runs.TrainingRun) -> tuple[pathlib.Path, processes.Cost]:
        directory = run.folder / run.gin
        directory.mkdir(parents=True, exist_ok=True)
        metrics = {"step": 1, "train/examples_per_second": 50.0, "train/tokens_per_second": 9000.0}
        metrics |= {"train/padding": 0.1, "train/loss": 0.6, "train/input_wait": 0.01}
        (directory / "metrics.jsonl").write_text(f"{json.dumps(metrics)}\n" * 2)
        accuracy = {"accuracy": 0.93, "examples": 3}
        found = {"validation": accuracy, "test": accuracy, "examples_seen": 6, "steps": 2}
        found |= {"first_step_seconds": 4.0, "compilations": 2, "traces": None}
        (directory / "results.json").write_text(json.dumps(found))
        return directory, COST


@pytest.fixture
def canned(monkeypatch) -> Canned:
    made = Canned()
    monkeypatch.setattr(processes, "ask", made.ask)
    monkeypatch.setattr(training_runs.TrainingRun, "run", lambda self: made.run(self))
    monkeypatch.setattr(instead, "validations_of", lambda run: [(9.0, 0.88), (19.0, 0.93)])
    monkeypatch.setattr(serving, "_weights", lambda run, directory: "weights.npz")
    for group in (configurations, instead):  # as if it were there already
        monkeypatch.setattr(group, "gin_files", lambda: [*configurations.GIN_FILES])
    return made


@pytest.fixture
def everything(canned, tmp_path, monkeypatch) -> dict:
    bench = Bench(tmp_path, "cache")
    monkeypatch.setattr(configurations, "gin_files", lambda: configurations.GIN_FILES)
    parts = {name: results.of_group(group, bench, 1, print) for name, group in GROUPS.items()}
    return {"schema": results.SCHEMA, "groups": parts}


def test_every_target_is_measured_by_its_group(everything):
    missing = {t.what for t in TARGETS if not t.measured(everything)}
    of_peers = {t.what for t in TARGETS if "PyTorch (packed" in t.what}
    of_flagship = {t.what for t in TARGETS if t.key == "flagship"}
    if everything["groups"]["same_model"]["cases"]["gru"]["missing"]:
        assert missing == of_peers | of_flagship
    else:
        assert missing == of_flagship
    assert {t.group for t in TARGETS} <= set(GROUPS)


def test_every_number_of_every_group_has_a_place_on_the_page(everything):
    drawn = page.draw(everything)
    for name, group in GROUPS.items():
        assert f"## {group.TITLE}\n" in drawn
        assert f"    python -m benchmarks.run --only={name}\n" in drawn
    assert "Not measured yet" not in drawn
    assert "| `gin/gru.gin` | 50 | 9,000 | 10.0 % | " in drawn  # of configurations
    assert "| 93.00 % | 93.00 % | 4.0 | 6 | 9 | 19 | 1.00 |" in drawn  # of `instead`
    assert "None" not in drawn


def test_peers_get_the_texts_and_the_batches_of_ours(canned, tmp_path):
    bench = Bench(tmp_path, "cache")
    for name in ("documents", "same_model", "instead"):
        results.of_group(GROUPS[name], bench, 1, print)
    written = {job["output"] for module, job in canned.jobs if module.startswith("benchmarks.ours")}
    read = [
        job.get("examples") or job.get("batches")
        for module, job in canned.jobs
        if module.startswith("benchmarks.peers")
    ]
    assert len(read) >= 5  # fastText and PyTorch may not be there
    assert set(read) <= written


@pytest.mark.parametrize("system", documents.SYSTEMS, ids=lambda system: system.gin)
def test_ours_is_the_gin_file_of_the_document_and_cuts_no_text(system, tmp_path):
    run = Bench(tmp_path, "").run(system.gin, "run", *training_runs.NOTHING_ELSE)
    experiment = config.make(Experiment, config.parse([run.gin_file], run.bindings))
    number = {"gru": "000", "bilstm_tutorial": "001", "airline": "003"}[system.gin]
    assert experiment.published.source == f"document {number}"
    assert all(f"document {number}" in script.what for script in system.scripts)
    assert experiment.encoder.max_length is None
    assert experiment.encoder.vocabulary.max_size == 1000


QUICK = ["Splits.max_examples = 40", "WordEncoder.max_length = 30"]


def test_the_step_is_timed_on_real_batches(cache, tf):
    gin_file = str(processes.ROOT / "gin" / "bilstm.gin")
    bindings = [*QUICK, "RecurrentClassifier.units = (4,)", "Runtime.xla = 'off'"]
    found = step.measure(gin_file, bindings, str(cache), steps=2)
    useful = flops.of_a_step(flops.experiment_of(gin_file, bindings), found["tokens"])
    assert found["gflops"] == pytest.approx(useful / found["seconds"] / 1e9)
    assert 0 <= found["padding"] < 1


def test_data_are_measured(cache, tf):
    gin_file = str(processes.ROOT / "gin" / "gru.gin")
    found = encode.measure(gin_file, QUICK)
    assert found["texts"] == 40
    assert found["encode_seconds"] > 0
    shaped = shapes.measure(gin_file, QUICK, str(cache))
    assert shaped["longest"] <= 30
    assert 0 <= shaped["padding"] < 1


def test_the_limit_is_the_faster_product(tf):
    found = limit.measure(size=64, repeats=1)
    assert found["gflops"] == max(found["numpy_gflops"], found["tensorflow_gflops"]) > 0


@pytest.mark.slow
def test_a_training_is_measured_by_the_real_program(tmp_path, cache):
    bench = Bench(tmp_path, str(cache), quick=True)
    run = bench.run("gru", "run", *training_runs.NOTHING_ELSE, *bench.examples(None), QUICK[1])
    found = run.measure()
    shown = [column.measure for column in documents.COLUMNS if isinstance(column.measure, str)]
    shown += [c.measure for c in configurations.COLUMNS if isinstance(c.measure, str)]
    assert set(shown) - {"gflops"} <= set(found)
    assert found["examples"] == 32
    assert found["first_epoch_seconds"] > found["epoch_seconds"] > 0
    assert found["process_seconds"] > found["first_step_seconds"] > 0
    assert found["peak_memory_bytes"] > 100e6
