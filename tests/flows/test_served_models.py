"""From a trained run to answers: the SavedModel needs nothing of the code that made it."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from program import Program, environment

from sentiment_train import config
from sentiment_train.data.prepare import prepare
from sentiment_train.experiment import Experiment

TEXTS = ["I loved every minute.", "", "dull and far too long", "word " * 2000, "naïve 素晴らしい"]

LOAD_WITH_TENSORFLOW_ALONE = """
import json, sys, tensorflow as tf
serve = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
texts = json.loads(sys.argv[2]) + [b"caf\\xe9 \\xff"]
together = {k: v.numpy() for k, v in serve(text=tf.constant(texts)).items()}
for i, text in enumerate(texts):
    alone = serve(text=tf.constant([text]))
    assert abs(alone["logits"].numpy() - together["logits"][i : i + 1]).max() < 1e-5, text
    assert alone["label"].numpy()[0] == together["label"][i]
assert serve(text=tf.constant([], tf.string))["probabilities"].shape == (0, 2)
assert "sentiment_train" not in sys.modules
print(json.dumps([row.tolist() for row in together["probabilities"][:-1]]))
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory, cache):
    program = Program(tmp_path_factory.mktemp("exported"), cache)
    flags = [
        "--gin_bindings=Experiment.export = True",
        "--gin_bindings=Training.length = '90 steps'",
    ]
    assert program.finish("run", *flags) == 0, program.log("run")
    assert not (program.folder / "run" / "saved_model.partial").exists()
    return program.folder / "run" / "saved_model"


def test_the_exported_probabilities_are_the_calibrated_ones_of_the_results(tf, exported, cache):
    run = exported.parent
    results = json.loads((run / "results.json").read_text())
    found = results["details"]["test"]
    temperature = results["calibration"]["temperature"]
    assert found["temperature"] == temperature != 1.0
    experiment = config.make(Experiment, config.parse([str(run / "config.gin")], []))
    parts = experiment.source, experiment.splits, experiment.encoder
    split = prepare(*parts, str(cache), print).splits["test"]
    model = tf.saved_model.load(str(exported))
    texts = tf.constant([text.encode() for text in split.texts])
    answers = model.signatures["serving_default"](text=texts)
    probabilities = answers["probabilities"].numpy().astype(float)
    names = [name.decode() for name in answers["label"].numpy()]
    assert names == [results["classes"][best] for best in probabilities.argmax(axis=1)]
    of_labels = probabilities[range(len(split)), split.labels]
    assert -np.log(of_labels).mean() == pytest.approx(found["calibrated_loss"], rel=1e-4)
    assert found["calibrated_loss"] != pytest.approx(results["test"]["loss"], rel=1e-4)


def test_exported_models_answer_the_same_alone_in_a_batch_and_on_the_command_line(
    exported, tmp_path
):
    command = [sys.executable, "-c", LOAD_WITH_TENSORFLOW_ALONE, str(exported), json.dumps(TEXTS)]
    direct = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert direct.returncode == 0, direct.stderr
    probabilities = json.loads(direct.stdout.splitlines()[-1])

    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in TEXTS))
    predict = [
        *(sys.executable, "-m", "sentiment_train.predict", f"--saved_model={exported}"),
        *(f"--input={tmp_path / 'texts.jsonl'}", f"--output={tmp_path / 'answers.jsonl'}"),
    ]
    subprocess.run(predict, check=True, cwd=exported.parents[1], env=environment())
    answers = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert [answer["text"] for answer in answers] == TEXTS
    for answer, expected in zip(answers, probabilities, strict=True):
        assert answer["probabilities"] == pytest.approx(expected, abs=1e-5)
        assert answer["label"] == ("positive" if expected[1] > 0.5 else "negative")
