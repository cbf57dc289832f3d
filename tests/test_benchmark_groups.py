"""The groups as they are: who is measured, what for, that it works on 40 reviews."""

from __future__ import annotations

import importlib
import json
import pathlib

import numpy as np
import pytest

from benchmarks import flops, processes, results, results_page, training_runs
from benchmarks.bench import Bench
from benchmarks.groups import GROUPS, configurations, documents, instead, serving
from benchmarks.groups import accuracy as accuracy_group
from benchmarks.ours import encode, limit, shapes, step, updates
from benchmarks.promises import TARGETS
from sentiment_train import config
from sentiment_train.data.batches import PlannedBatch
from sentiment_train.experiment import Experiment

COST = processes.Cost(began=0.0, process_seconds=4.0, cpu_seconds=6.0, peak_memory_bytes=1e9)


class Canned:
    """In place of processes: every number that a probe, a peer or a training gives, at once."""

    def __init__(self):
        self.jobs: list[tuple[str, dict]] = []
        self.bindings: list[str] = []  # of single runs

    def ask(self, module: str, job: dict, folder: pathlib.Path, limit=900, **given: str) -> dict:
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
            **dict.fromkeys(("epoch_gflops", "epoch_padding", "macro_f1"), 0.75),
            **{"texts": 3, "shapes": 1, "longest": 9, "latency_seconds": 0.1},
            **{"texts_per_second": 10.0, "probabilities": [0.5]},
            **{"epoch_seconds": [2.0, 1.0], "losses": [0.7, 0.6]},
            **COST.as_measures(),
        }

    def run(self, run: training_runs.TrainingRun, *bindings, limit=900):
        self.bindings += bindings
        directory = run.folder / run.gin
        directory.mkdir(parents=True, exist_ok=True)
        metrics = {"step": 1, "train/examples_per_second": 50.0, "train/tokens_per_second": 9000.0}
        metrics |= {"train/padding": 0.1, "train/loss": 0.6, "train/input_wait": 0.01}
        (directory / "metrics.jsonl").write_text(f"{json.dumps(metrics)}\n" * 2)
        accuracy = {"accuracy": 0.93, "macro_f1": 0.8, "examples": 3}
        found = {"validation": accuracy, "test": accuracy, "examples_seen": 6, "steps": 2}
        found["details"] = {"test": {"calibration_error": 0.01}}
        found |= {"first_step_seconds": 4.0, "compilations": 2, "traces": None}
        (directory / "results.json").write_text(json.dumps(found))
        return directory, COST


@pytest.fixture
def canned(monkeypatch) -> Canned:
    made = Canned()
    monkeypatch.setattr(processes, "ask", made.ask)
    run = lambda self, *bindings, **given: made.run(self, *bindings, **given)  # noqa: E731
    monkeypatch.setattr(training_runs.TrainingRun, "run", run)
    monkeypatch.setattr(instead, "validations_of", lambda run: [(9.0, 0.88), (19.0, 0.93)])
    monkeypatch.setattr(serving, "_weights", lambda run, directory: "weights.npz")
    return made


@pytest.fixture
def everything(canned, tmp_path) -> dict:
    bench = Bench(tmp_path, "cache")
    parts = {
        name: results.of_group(group, bench, group.ROUNDS, print) for name, group in GROUPS.items()
    }
    assert [what for part in parts.values() for what in results.failures(part)] == []
    return {"schema": results.SCHEMA, "groups": parts}


def test_every_target_is_measured_by_its_group(everything):
    missing = {t.what for t in TARGETS if not t.measured(everything)}
    of_torch = {t.what for t in TARGETS if t.key == "torch"}
    there = not everything["groups"]["same_model"]["cases"]["gru"]["missing"]
    assert missing == (set() if there else of_torch)
    assert {t.group for t in TARGETS} <= set(GROUPS)


def test_every_group_tells_how_many_measurements_it_takes(everything):
    for name, part in everything["groups"].items():
        cases = part["cases"].values()
        measured = sum(len(round_) for case in cases for round_ in case["rounds"])
        peers_that_are_not_there = sum(len(case["missing"]) for case in cases)
        told = GROUPS[name].MEASUREMENTS
        assert measured == told or (measured < told and peers_that_are_not_there), name


def test_a_flagship_is_trained_with_three_seeds(canned, everything):
    rounds = everything["groups"]["instead"]["cases"]["tweets"]["rounds"]
    assert [len(round_) for round_ in rounds] == [2, 2, 1]  # the linear model has none
    seeds = [f"Runtime.seed = {seed}" for seed in range(instead.SEEDS)]
    networks = len(accuracy_group._GIN_FILES)
    assert canned.bindings == seeds * 2 + seeds[:1] * networks


def test_every_number_of_every_group_has_a_place_on_the_page(everything):
    drawn = results_page.draw(everything)
    for name, group in GROUPS.items():
        assert f"## {group.TITLE}\n" in drawn
        assert f"    python -m benchmarks.run --only={name}\n" in drawn
    assert "Not measured yet" not in drawn
    assert (
        "| `gin/gru.gin` | 50 (50–50) | 9,000 (9,000–9,000) | 10.0 (10.0–10.0) % | " in drawn
    )  # of configurations
    assert "| 4.0 (4.0–4.0) | 6 (6–6) | 9 (9–9) | 19 (19–19) | 1.00 (1.00–1.00) |" in drawn
    assert "None" not in drawn


def test_peers_get_the_texts_and_the_batches_of_ours(canned, tmp_path):
    bench = Bench(tmp_path, "cache")
    for name in ("documents", "same_model", "instead"):
        results.of_group(GROUPS[name], bench, 1, print)
    written = {job["output"] for module, job in canned.jobs if "output" in job}
    read = [
        job.get("examples") or job.get("batches")
        for module, job in canned.jobs
        if module.startswith("benchmarks.peers")
    ]
    assert len(read) >= 5  # fastText and PyTorch may not be there
    assert set(read) <= written


@pytest.mark.parametrize("system", documents.SYSTEMS, ids=lambda system: system.gin)
def test_ours_is_the_gin_file_of_the_document_and_cuts_no_text(system, tmp_path):
    run = Bench(tmp_path, "").run(system.gin, "run", *training_runs.nothing_else())
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
    found = step.measure(gin_file, bindings, str(cache), steps=2, every_shape=True)
    useful = flops.of_a_step(flops.experiment_of(gin_file, bindings), found["tokens"])
    assert found["gflops"] == pytest.approx(useful / found["seconds"] / 1e9)
    assert 0 <= found["padding"] < 1
    tokens = 32 * 30  # no review is shorter
    whole = flops.of_a_step(flops.experiment_of(gin_file, bindings), tokens)
    assert found["epoch_gflops"] == pytest.approx(whole / found["epoch_seconds"] / 1e9, rel=0.1)
    assert 0 <= found["epoch_padding"] < 1


def test_a_sample_of_the_batches_has_short_and_long_ones_in_their_order():
    planned = [
        PlannedBatch(length, np.arange(2), tokens=1) for length in (8, 24, 16, 32, 40, 48, 56, 64)
    ]
    assert [batch.length for batch in updates.sample(planned, 4)] == [24, 56]
    assert [b.length for b in updates.sample(planned, 1)] == [b.length for b in planned]
    assert len(updates.sample(planned[:1], 4)) == 1


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
    run = bench.run("gru", "run", *training_runs.nothing_else(), *bench.examples(None), QUICK[1])
    found = run.measure()
    shown = [column.measure for column in documents.COLUMNS if isinstance(column.measure, str)]
    shown += [c.measure for c in configurations.COLUMNS if isinstance(c.measure, str)]
    assert set(shown) - {"gflops"} <= set(found)
    assert found["examples"] == 32
    assert found["first_epoch_seconds"] > found["epoch_seconds"] > 0
    assert found["process_seconds"] > found["first_step_seconds"] > 0
    assert found["peak_memory_bytes"] > 100e6
