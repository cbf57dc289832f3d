"""What a user would run instead does what it says, and is the same model where it says so."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest

from benchmarks import flops, processes
from benchmarks.groups import same_model, serving
from benchmarks.ours import batches as our_batches
from benchmarks.peers import (
    clock,
    document_scripts,
    document_until,
    fast_text,
    keras_fit,
    keras_predict,
    linear,
)

TEXTS = ["a good plane", "bad film \ud83d", "", "so so", "good good !", "it was bad"] * 5
LABELS = ["yes", "no", "no", "yes", "yes", "no"] * 5
ROOT = processes.ROOT


@pytest.fixture
def examples(tmp_path) -> str:
    split = {"texts": TEXTS, "labels": LABELS}
    path = tmp_path / "examples.json"
    path.write_text(json.dumps(dict.fromkeys(("train", "validation", "test"), split)))
    return str(path)


@pytest.mark.parametrize("script", ["gru", "bilstm_tutorial", "airline"])
def test_the_scripts_of_the_documents_train(script, examples):
    found = document_scripts.measure(script, examples, most=16)
    first, second = found["epoch_seconds"]
    assert first > second > 0  # the graphs are built in the first


def test_document_000_is_trained_until_it_is_good_enough(examples):
    found = document_until.measure(examples, level=0.01, most_epochs=2)
    assert found["epochs"] == 1
    assert found["validation"] >= 0.01


def test_linear_models_learn(examples):
    for kind in ("tfidf", "nb"):
        found = linear.measure(kind, examples, inverse_penalty=10.0)
        assert set(found) == {"validation", "test", "macro_f1"}
        assert found["test"] > 0.8, kind


def test_fast_text_learns(examples):
    pytest.importorskip("fasttext", reason="the extra `bench` is not installed")
    found = fast_text.measure(examples)
    assert found["test"] > 0.8


@pytest.fixture(scope="module", params=["gru", "bilstm_tutorial"])
def given(request, tmp_path_factory, cache, tf):
    """(experiment, path of batches, facts) of 40 reviews."""
    output = str(tmp_path_factory.mktemp("batches") / "batches.npz")
    gin_file = str(ROOT / "gin" / f"{request.param}.gin")
    bindings = ["Splits.max_examples = 40", "WordEncoder.max_length = 30"]
    bindings += ["RecurrentClassifier.units = (6,)", "RecurrentClassifier.embedding_size = 5"]
    facts = our_batches.measure(gin_file, bindings, str(cache), epochs=2, one_of=1, output=output)
    return flops.experiment_of(gin_file, bindings), output, facts


def test_peers_get_every_example_of_every_epoch_in_batches_without_filler(given):
    _, path, facts = given
    batches = our_batches_of(path)
    for epoch in range(2):
        rows = [len(batch["labels"]) for batch in batches.epoch(epoch)]
        assert sum(rows) == facts["examples"] == 32
        assert all((batch["lengths"] >= 1).all() for batch in batches.epoch(epoch))
        tokens = sum(int(np.count_nonzero(batch["tokens"])) for batch in batches.epoch(epoch))
        assert tokens == facts["tokens"]


def our_batches_of(path: str):
    from benchmarks.peers.batches import Batches

    return Batches(path)


def test_keras_and_torch_train_the_same_model(given):
    """The loss of the second epoch is that of weights which both have trained."""
    experiment, path, _ = given
    job = {"batches": path, "model": same_model.described(experiment), "learning_rate": 0.05}
    keras = keras_fit.measure(**job)
    assert keras["losses"][1] < keras["losses"][0]
    if importlib.util.find_spec("torch") is None:
        assert same_model.NEEDS == "torch"  # and the page says how to install it
        return
    import torch

    from benchmarks.peers import torch_fit

    torch.set_num_threads(1)  # there is nothing here to divide
    for way in ("packed", "padded"):
        found = torch_fit.measure(**job, way=way)
        np.testing.assert_allclose(found["losses"], keras["losses"], rtol=1e-3)
        assert min(found["epoch_seconds"]) > 0
        few = torch_fit.measure(**job, way=way, one_of=100)  # one batch; twice, the second counts
        np.testing.assert_allclose(few["losses"], found["losses"][1:], rtol=1e-3)
        assert few["examples"] == 32


def test_the_peers_model_is_ours(given, tf):
    experiment, path, _ = given
    batches = our_batches_of(path)
    batch = batches.epoch(0)[0]
    network = keras_fit.build(**same_model.described(experiment))
    network.set_weights(batches.weights)
    from sentiment_train.schema import ModelInputs

    ours = experiment.model.build(ModelInputs(1000, 2, False, None, None))
    for weight, value in zip(ours.weights, batches.weights, strict=True):
        weight.assign(value)
    logits = ours({"tokens": batch["tokens"], "lengths": batch["lengths"]})
    np.testing.assert_allclose(network(batch["tokens"]), logits, atol=1e-5)


def test_keras_answers_strings_alike_in_both_ways(tmp_path):
    model = {"vocabulary": 6, "embedding_size": 3, "cell": "gru", "units": 2}
    model |= {"bidirectional": False, "dense_units": []}
    network = keras_fit.build(**model)
    np.savez(tmp_path / "w.npz", **{f"{i:03d}": w for i, w in enumerate(network.get_weights())})
    (tmp_path / "vocabulary.txt").write_text("[PAD]\n[UNK]\ngood\nbad\nfilm\nso\n")
    (tmp_path / "texts.json").write_text(json.dumps(["Good film!", "so bad", "what"]))
    files = {"weights": "w.npz", "vocabulary": "vocabulary.txt", "texts": "texts.json"}
    job = {"model": model, **{name: str(tmp_path / file) for name, file in files.items()}}
    predict, graph = (keras_predict.measure(**job, way=way) for way in ("predict", "graph"))
    np.testing.assert_allclose(predict["probabilities"], graph["probabilities"], atol=1e-6)
    ids = np.array([[2, 4], [5, 3], [1, 0]], np.int32)
    expected = 1 / (1 + np.exp(-network(ids).numpy()[:, 0]))
    np.testing.assert_allclose(predict["probabilities"], expected, atol=1e-6)
    assert predict["latency_seconds"] > 0


def test_every_call_is_made_once_before_it_is_timed():
    calls = []

    def answer(texts):
        calls.append(tuple(texts))
        return [0.5] * len(texts)

    found = clock.of_calls(answer, [f"text {i}" for i in range(70)])
    singles, batches = [c for c in calls if len(c) == 1], [c for c in calls if len(c) > 1]
    assert [singles.count(single) for single in singles] == [2] * (2 * 64)
    assert [len(batch) for batch in batches] == [64, 6, 64, 6]
    assert found["probabilities"] == [0.5] * 64


def test_models_that_answer_otherwise_are_not_compared(monkeypatch, tmp_path):
    answers = iter([[0.5, 0.9], [0.5, 0.90001], [0.5, 0.7]])
    monkeypatch.setattr(processes, "ask", lambda *_: {"probabilities": next(answers)})
    run = serving.TrainingRun("gru", (), tmp_path, "")
    asked = serving.SameAnswers(run)
    assert asked("ours.served", {}) == {"difference": 0.0}
    assert asked("peers.keras_predict", {})["difference"] == pytest.approx(1e-5)
    with pytest.raises(SystemExit, match=r"keras_predict answers otherwise, by 0\.2"):
        asked("peers.keras_predict", {})
