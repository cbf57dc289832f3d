"""One process of the TPU compiler for all tests of a process, as for all buckets of a check."""

from __future__ import annotations

import importlib.util
import pathlib

import keras
import pytest

ROOT = pathlib.Path(__file__).parents[2]
TOPOLOGY = "v5e:2x2"


@pytest.fixture(scope="session")
def compiler():
    for name in ("jax", "libtpu"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"the extra tpu-check is not installed: no {name}")
    from sentiment_train.tpu.compiler import TpuCompiler

    with TpuCompiler(TOPOLOGY) as compiler:
        yield compiler


@pytest.fixture(autouse=True)
def _float32():
    """No test leaves the precision of a TPU behind."""
    yield
    keras.mixed_precision.set_dtype_policy("float32")


@pytest.fixture
def check(tf, compiler, cache):
    """Checks an experiment of `gin/`, or gin files, with two buckets of a few rows."""
    from sentiment_train import config
    from sentiment_train.experiment import Experiment
    from sentiment_train.tpu.check import Check

    def run(name: str, *bindings: str, buckets=("shortest", "longest"), largest="off"):
        files = [str(ROOT / "gin" / name), str(ROOT / "gin" / "quick.gin")]
        experiment = config.make(Experiment, config.parse(files, bindings))
        return Check(experiment, str(cache), compiler, largest).run(buckets)

    return run
