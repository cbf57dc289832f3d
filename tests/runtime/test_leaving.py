import os
import pathlib
import subprocess
import sys

import pytest

from sentiment_train.errors import DataError
from sentiment_train.runtime.leaving import last_words

ROOT = pathlib.Path(__file__).parents[2]

# What a control thread does while the main thread imports TensorFlow, here by its import itself.
TENSORFLOW = """
import sys, threading
from sentiment_train.runtime import leaving
print("a line of TensorFlow", file=sys.stderr, flush=True)
threading.Thread(target=leaving.end_now, args=("worker 1 has gone.", 75)).start()
threading.Event().wait(60)
"""


def test_an_error_is_seen_even_while_tensorflow_is_imported(tmp_path):
    (tmp_path / "tensorflow.py").write_text(TENSORFLOW)
    program = "from sentiment_train import quiet; print('begun'); quiet.import_tensorflow()"
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env={**environment, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 75
    assert (ended.stdout, ended.stderr) == ("begun\n", "error: worker 1 has gone.\n")


@pytest.mark.parametrize(
    "error, sentence, code",
    [
        (DataError("reviews.csv:7: too short."), "reviews.csv:7: too short.", 3),
        (ValueError("\n shapes differ\nby much"), "ValueError: shapes differ", 1),
        (KeyError(), "KeyError: without a reason", 1),
        (KeyboardInterrupt(), "Interrupted.", 130),
    ],
)
def test_last_words_are_one_sentence_and_a_code(error, sentence, code):
    assert last_words(error) == {"sentence": sentence, "code": code}
