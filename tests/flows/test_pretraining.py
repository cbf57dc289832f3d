"""A language model is trained on the texts, and a classifier starts from it, once."""

import json
import shutil
import signal

from program import SMALL, Program, wait_until

LANGUAGE_MODEL = (
    SMALL.replace("RecurrentClassifier.pooling = 'mean+max'\n", "").replace(
        "RecurrentClassifier", "LanguageModel"
    )
    + """
Experiment.model = @LanguageModel()
Experiment.loss = @NextTokenLoss()
WordEncoder.truncation = 'keep_head'
Validation.best_by = 'perplexity'
"""
)


def test_a_classifier_starts_from_a_language_model_and_needs_it_only_once(tmp_path, cache):
    program = Program(tmp_path, cache, LANGUAGE_MODEL)
    assert program.finish("language_model") == 0
    results = program.results("language_model")
    assert results["test"]["perplexity"] < 800  # a uniform model has 1,000
    assert results["init_from"] is None
    best = results["best_step"]

    program.gin_file.write_text(SMALL + "Training.length = '2000 steps'\n")
    start = f"--gin_bindings=Experiment.init_from = '{tmp_path}/language_model'"
    process = program.start("run", start)
    wait_until(lambda: any((tmp_path / "run/checkpoints").glob("*/manifest.json")), process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=100) == 75, program.log("run")
    taken = f"embedding (1,000 of 1,000 words) + gru_1 taken from {tmp_path}/language_model"
    assert f"{taken} (step {best:,})" in program.log("run")
    recorded = json.loads((tmp_path / "run/init_from.json").read_text())
    assert recorded["step"] == best

    shutil.rmtree(tmp_path / "language_model")
    process = program.start("run", start)
    wait_until(lambda: "goes on after step" in program.log("run"), process)
    process.kill()
    process.wait(timeout=100)
    assert program.log("run").count("taken from") == 1
