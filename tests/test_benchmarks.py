"""The older benchmarks as programs: what they are asked, what they write, that they measure."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import gradient_norm, recurrence, trace
from benchmarks.marked_blocks import with_tables


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
    written = with_tables(page, tables, recurrence.COMMAND)
    assert written.startswith("before\n<!-- begin: ")
    row = "| two logits, softmax | 0.8500 (0.830–0.860) | -1.0 ± 2.0 | 0.8500 | 12 |"
    assert row in written
    assert with_tables(written, tables, recurrence.COMMAND) == written
    with pytest.raises(ValueError, match=r"one block .*\(start\)"):
        with_tables(page.replace("(start)", "(end)"), tables, recurrence.COMMAND)


def result(accuracy: float) -> dict:
    metrics = {"accuracy": accuracy, "examples": 2490.0}
    details = {"test": {"accuracy_interval": [accuracy - 0.02, accuracy + 0.01]}}
    return {"test": metrics, "validation": metrics, "details": details, "train_seconds": 12.3}


def test_the_page_has_a_block_for_every_table():
    names = [*recurrence.QUESTIONS, "padding", "gradient"]
    page = recurrence.PAGE.read_text(encoding="utf-8")
    written = with_tables(page, dict.fromkeys(names, "| x |"), recurrence.COMMAND)
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


def test_kernels_are_told_apart_by_what_they_do():
    found = [
        ("MatMul.7", 1.0),
        ("bitcast_dynamic-update-slice_fusion.3", 2.0),
        ("adam/Sqrt_1:Sqrt", 4.0),
        ("lstm/Tensordot/MatMul:_MklMatMul", 8.0),
        ("UnsortedSegmentSum:UnsortedSegmentSum", 16.0),
        ("lstm/ReverseSequence:ReverseSequence", 32.0),
        ("gradient_tape/lstm/add_3/Sum:Sum", 64.0),
        *[(name, 1e9) for name in ("ThunkExecutor::Execute", "while.2", "BlockUntilReady")],
        ("EagerLocalExecute: __inference__train_2842", 1e9),
    ]
    sums = trace.of_kinds(found)
    assert list(sums.values()) == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]
    assert "| products outside the loops | 4000.0 | 6% |" in trace.table(sums, steps=2)


def test_a_step_that_is_looked_into_leaves_its_kernels(tf, tmp_path):
    product = tf.function(lambda a: tf.matmul(a, a))
    matrix = tf.ones([64, 64])
    product(matrix)
    tf.profiler.experimental.start(str(tmp_path))
    product(matrix).numpy()
    tf.profiler.experimental.stop()
    (path,) = tmp_path.glob("**/*.xplane.pb")
    assert any("MatMul" in name for name, _ in trace.kernels(path.read_bytes()))
