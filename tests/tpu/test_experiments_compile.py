"""Every experiment in `gin/` compiles for a TPU, or says in one sentence why it cannot."""

from __future__ import annotations

import pathlib

import pytest

from sentiment_train.errors import ConfigError

ROOT = pathlib.Path(__file__).parents[2]

# Its batches are as long as the longest review in each, so that every one has a shape of its own.
WITHOUT_SHAPES = "gru_unmasked.gin"
EXPERIMENTS = sorted(path.name for path in (ROOT / "gin").glob("*.gin") if path.name != "quick.gin")


@pytest.fixture(scope="module")
def small_encoder(tf, tmp_path_factory):
    """A SavedModel in the manner of the one that use.gin would download."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "tests" / "hub"))
        from small_models import Hashed

    path = str(tmp_path_factory.mktemp("small") / "encoder")
    tf.saved_model.save(Hashed(), path)
    return path


@pytest.mark.timeout(600)  # a compilation takes seconds, but many times that on a busy machine
@pytest.mark.parametrize("name", [n for n in EXPERIMENTS if n != WITHOUT_SHAPES])
def test_an_experiment_compiles_for_a_tpu_and_fits(name, check, compiler, small_encoder):
    # One bucket is enough for most: they are the same programs in other shapes.
    bindings, buckets = (), ("shortest", "longest") if name == "bilstm.gin" else ("longest",)
    if name == "use.gin":  # its stand-in counts letters: the longest bucket has 1,600 places
        bindings, buckets = (f"HubEncoder.handle = '{small_encoder}'",), ("shortest",)
    found = check(name, *bindings, buckets=buckets)
    assert {c.program.name for c in found} == {"training", "evaluation"}
    assert len(found) == 2 * len(buckets)
    for checked in found:
        assert checked.refusal is None
        assert 0 < checked.needed < compiler.memory
        assert not checked.module.dynamic


def test_batches_that_all_have_other_shapes_are_refused(check):
    with pytest.raises(ConfigError, match="pad_to = 'longest_in_batch' has a new shape for nearly"):
        check(WITHOUT_SHAPES)
