"""An export counts when a fresh process has answered the golden texts as the live model does."""

import uuid

import numpy as np
import pytest
import tensorflow as tf

from sentiment_train.errors import RunError
from sentiment_train.export.saved_model import GOLDEN_TEXTS, export
from sentiment_train.export.serving import ServingModule

pytestmark = pytest.mark.usefixtures("tf")


def contents(directory):
    """`{path: bytes}` of all files in it."""
    files = tf.io.gfile
    return {
        f"{folder}/{name}"[len(directory) :]: files.GFile(f"{folder}/{name}", "rb").read()
        for folder, _, names in files.walk(directory)
        for name in names
    }


@pytest.mark.parametrize("place", ["local", "ram"])
def test_the_new_one_replaces_the_old_one_only_if_it_is_right(served, tmp_path, place):
    """One test, because each fresh process takes seconds."""
    folder = str(tmp_path) if place == "local" else f"ram://{uuid.uuid4().hex}"
    s, directory = served(), f"{folder}/saved_model"
    module = ServingModule(s.model, s.encoder, s.class_names, temperature=20.0)
    live = s.live(GOLDEN_TEXTS)
    tf.io.gfile.makedirs(f"{directory}/variables")
    for name in ("old", "saved_model.pb", "variables/old"):
        with tf.io.gfile.GFile(f"{directory}/{name}", "w") as file:
            file.write("the one before")
    before = contents(directory)

    wrong = live.copy()
    wrong[7] += 1e-4  # after the division by the temperature too little to be seen
    with pytest.raises(
        RunError, match=r"disagrees with the trained one by .* was left in"
    ) as error:
        export(module, directory, wrong, 1e-5)
    assert contents(directory) == before
    left = error.value.message.rpartition("was left in ")[2].rstrip(".")
    assert tf.io.gfile.exists(f"{left}/saved_model.pb")
    tf.io.gfile.rmtree(left)

    export(module, directory, live, 1e-5)
    assert tf.io.gfile.listdir(folder) == ["saved_model"]  # nothing is left beside it
    assert not {"/old", "/variables/old"} & contents(directory).keys()
    serve = tf.saved_model.load(directory).signatures["serving_default"]
    answer = serve(text=tf.constant(GOLDEN_TEXTS))["logits"]
    np.testing.assert_allclose(20 * answer, live, atol=1e-5)


def test_a_place_that_cannot_be_written_is_an_answer(served, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match=r"Cannot write .*Run --mode=export again"):
        export(served().module, str(tmp_path / "file" / "saved_model"), np.zeros((12, 1)), 1e-5)
