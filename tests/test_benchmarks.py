"""The benchmarks as programs: what they are asked, what they write, that they measure."""

from __future__ import annotations

import json

import numpy as np
import pytest
from absl import flags

from benchmarks import document_scripts, documents, gradient_norm, recurrence
from sentiment_train import config
from sentiment_train.experiment import Experiment


def parsed(benchmark, *arguments: str) -> flags.FlagValues:
    values = flags.FlagValues()
    benchmark.define_flags(values)
    values(["benchmark", *arguments])
    return values


@pytest.mark.parametrize(
    "arguments, sizes",
    [
        ([], {"gru": 4000, "airline": None}),
        (["--only=gru", "--reviews=0"], {"gru": None}),
        (["--tweets=500", "--only=airline"], {"airline": 500}),
        (["--quick"], {"gru": 40, "airline": 40}),
    ],
)
def test_the_flags_say_which_systems_are_measured_on_how_much(arguments, sizes):
    chosen = documents.chosen_systems(parsed(documents, *arguments))
    assert {system.name: system.examples for system in chosen} == sizes


@pytest.mark.parametrize("system", documents.SYSTEMS.values(), ids=lambda system: system.name)
def test_ours_is_the_gin_file_of_the_document(system):
    gin_file = str(documents.ROOT / "gin" / f"{system.name}.gin")
    provenance = config.parse([gin_file], documents.bindings_of(system))
    experiment = config.make(Experiment, provenance)
    assert experiment.published.source == system.document
    held_out = experiment.splits.validation + experiment.splits.test
    assert held_out == pytest.approx(1 - system.trained)


def test_ratios_are_of_neighbouring_measurements():
    pairs = [
        documents.Pair(ours=[5.0, 1.0], theirs=[20.0, 30.0]),
        documents.Pair(ours=[5.0, 2.0], theirs=[25.0, 50.0]),
        documents.Pair(ours=[5.0, 2.0], theirs=[30.0, 20.0]),
    ]
    lines = documents.table({"airline": (100, pairs)}).splitlines()
    assert len(lines) == 5
    assert "| airline | 100 | `gin/airline.gin` | 50 (50–100) | 2.0 (1.0–2.0) | 5.0" in lines[2]
    assert "| 25.0 (10.0–30.0) × | | 5.0 (4.0–6.0) × |" in lines[4]
    assert "promised 20 ×: kept" in lines[4]
    assert "**not kept**" in documents.table({"airline": (100, pairs[2:])})


@pytest.mark.parametrize("system", document_scripts.SYSTEMS)
def test_the_scripts_of_the_documents_train(system):
    texts = ["good plane", "bad film \ud83d", "", "so so"] * 4
    seconds = document_scripts.epoch_seconds(system, texts, ["yes", "no", "no", "yes"] * 4)
    assert len(seconds) == document_scripts.EPOCHS
    assert seconds[0] > seconds[1] > 0  # the graphs are built in the first


@pytest.mark.parametrize("name", recurrence.VARIANTS)
def test_every_variant_is_an_experiment_of_its_own(name):
    checked, base = recurrence.checked_runs([name, "base"], quick=False)
    assert checked.experiment.report is None
    assert (checked.experiment == base.experiment) == (name == "base")
    assert any(name in names for names in recurrence.QUESTIONS.values())


def test_a_difference_is_told_with_its_chance():
    better, first = ({"accuracy": a, "examples": 2500.0} for a in (0.85, 0.80))
    # √(0.85·0.15/2500 + 0.8·0.2/2500) = 0.01072
    assert recurrence.difference(better, first) == "+5.0 ± 2.1"


def test_a_page_gets_its_tables_and_gets_the_same_ones_again():
    results = {"base": result(0.86), "softmax": result(0.85)}
    tables = recurrence.accuracy_tables(results)
    assert set(tables) == {"input", "steps", "output", "cutting", "cell", "start"}  # not: side
    page = "before\n" + "".join(
        f"<!-- begin: {recurrence.COMMAND} ({name}) -->\n<!-- end -->\n" for name in tables
    )
    written = recurrence.with_tables(page, tables)
    assert written.startswith("before\n<!-- begin: ")
    row = "| two logits, softmax | 0.8500 (0.830–0.860) | -1.0 ± 2.0 | 0.8500 | 12 |"
    assert row in written
    assert recurrence.with_tables(written, tables) == written
    with pytest.raises(ValueError, match=r"one block .*\(start\)"):
        recurrence.with_tables(page.replace("(start)", "(end)"), tables)


def result(accuracy: float) -> dict:
    metrics = {"accuracy": accuracy, "examples": 2490.0}
    details = {"test": {"accuracy_interval": [accuracy - 0.02, accuracy + 0.01]}}
    return {"test": metrics, "validation": metrics, "details": details, "train_seconds": 12.3}


def test_the_page_has_a_block_for_every_table():
    names = [*recurrence.QUESTIONS, "padding", "gradient"]
    page = recurrence.PAGE.read_text(encoding="utf-8")
    written = recurrence.with_tables(page, dict.fromkeys(names, "| x |"))
    assert written.count("| x |") == len(names)


def test_padding_is_told_for_whole_and_for_cut_reviews():
    whole = np.array([100, 300] * 64)
    lines = recurrence.padding_table(whole, np.minimum(whole, 200)).splitlines()
    assert "| whole | to the longest of all, 300 words | 33.3% | 1.50 |" in lines
    assert "| cut to 200 | to 200 words | 25.0% | 1.33 |" in lines


@pytest.mark.parametrize("cell", ["simple", "gru", "lstm"])
def test_gradients_through_time_are_those_of_the_whole_layer(tf, cell):
    """Towards the state before the first token: by the layer over all tokens, as it is trained."""
    import keras

    from sentiment_train.layers.recurrence import Recurrence

    keras.utils.set_random_seed(0)
    table = np.random.default_rng(0).normal(0, 1, (11, 5)).astype(np.float32)
    tokens, labels = np.array([[3, 1, 4, 1, 5, 9]], np.int32), np.array([1])
    whole = Recurrence(cell, 4, initial_state="learned")
    whole(tf.constant(tokens), tf.constant([6]), table=tf.constant(table))
    head = keras.layers.Dense(1)
    with tf.GradientTape() as tape:
        logits = head(whole(tf.constant(tokens), tf.constant([6]), table=tf.constant(table)))
        loss = tf.nn.sigmoid_cross_entropy_with_logits(tf.ones([1, 1]), logits)
    weights = {w.name: w for w in whole.weights}
    starts = [weights.pop(name).value for name in ("hidden", "cell") if name in weights]
    expected = np.linalg.norm(np.concatenate(tape.gradient(loss, starts), axis=1))
    values = [w.numpy() for w in weights.values()]
    resumed = gradient_norm.resumable(cell, 4, table.shape, values)
    found = gradient_norm.norms(resumed, table, head, tokens, labels)
    assert found.shape == (7, 1)
    np.testing.assert_allclose(found[-1], expected, rtol=1e-4)
    at_the_end = (1 - tf.sigmoid(logits)) * np.linalg.norm(head.kernel)
    np.testing.assert_allclose(found[:1], at_the_end, rtol=1e-5)


def test_the_picture_of_gradients_is_small():
    norms = np.exp(np.random.default_rng(0).normal(0, 1, (201, 20)).cumsum(axis=0))
    fadings = [
        gradient_norm.Fading(cell, trained, norms * np.array([[1e-3]]))
        for cell in ("simple", "gru", "lstm")
        for trained in (False, True)
    ]
    png = gradient_norm.picture(fadings)
    assert png.startswith(b"\x89PNG")
    assert len(png) < 60_000
    assert gradient_norm.table(fadings).count("trained") == 3


@pytest.mark.slow
def test_ours_is_measured_by_the_real_program(tmp_path, monkeypatch):
    """Theirs is not started: its script is tried above."""
    start = documents.Measuring._start

    def start_ours(self, module, *arguments):
        if module == "sentiment_train.main":
            return start(self, module, *arguments)
        examples = json.loads((self.folder / "examples.json").read_text())
        assert len(examples["texts"]) == len(examples["labels"]) == self.examples
        return (self.folder / "theirs.json").write_text("[9.0, 4.0]")

    monkeypatch.setattr(documents.Measuring, "_start", start_ours)
    values = parsed(documents, "--quick", "--only=airline", f"--cache_dir={tmp_path}")
    page = documents.measure(values)
    assert "\n| airline | 40 | `gin/airline.gin` | " in page
    assert " one at a time, batches of 16 | 10 | 4.0 | 9.0 |\n" in page  # 40 tweets in 4 seconds
    assert "; Python 3." in page
