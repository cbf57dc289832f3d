"""An export counts when a fresh process has answered the golden texts as the live model does."""

import os

import numpy as np
import pytest

from sentiment_train.errors import RunError
from sentiment_train.export.saved_model import GOLDEN_TEXTS, export

pytestmark = pytest.mark.usefixtures("tf")


def contents(directory):
    return {
        os.path.relpath(os.path.join(folder, name), directory): open(
            os.path.join(folder, name), "rb"
        ).read()
        for folder, _, names in os.walk(directory)
        for name in names
    }


def test_the_new_one_replaces_the_old_one_only_if_it_is_right(tf, served, tmp_path):
    """One test, because each fresh process takes seconds."""
    s, directory = served(), tmp_path / "saved_model"
    live = s.live(GOLDEN_TEXTS)
    directory.mkdir()
    (directory / "old").write_text("the one before")
    before = contents(directory)

    wrong = live.copy()
    wrong[7] += 1e-3
    with pytest.raises(RunError, match=r"disagrees with the trained one by .* was left in"):
        export(s.module, str(directory), wrong, 1e-5)
    assert contents(directory) == before

    export(s.module, str(directory), live, 1e-5)
    assert sorted(os.listdir(tmp_path)) == ["saved_model"]  # nothing is left beside it
    serve = tf.saved_model.load(str(directory)).signatures["serving_default"]
    answer = serve(text=tf.constant(GOLDEN_TEXTS))["logits"]
    np.testing.assert_allclose(answer, live, atol=1e-5)


def test_a_place_that_cannot_be_written_is_an_answer(served, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match=r"Cannot write .*Run --mode=export again"):
        export(served().module, str(tmp_path / "file" / "saved_model"), np.zeros((12, 1)), 1e-5)
