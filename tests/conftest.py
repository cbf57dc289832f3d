"""One TensorFlow process for all tests that do not need processes of their own.

Three logical CPUs stand for three devices; what a run sets for the process is set once, here.
"""

from __future__ import annotations

import itertools
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import gin
import pytest

_LONGEST = ("tpu", "flows", "hub", "cloud")  # folders


def pytest_collection_modifyitems(items):
    """Files that take minutes come first: last, they would keep one process busy alone."""
    rank = {name: place for place, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.parent.name, len(rank)))


@pytest.fixture(scope="session", autouse=True)
def tf():
    """TensorFlow with three logical CPUs and deterministic ops."""
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    if not tf.config.get_logical_device_configuration(cpu):
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * 3
        )
    tf.random.set_seed(0)
    tf.config.experimental.enable_op_determinism()
    _number_collectives(tf.distribute.MirroredStrategy)
    return tf


@pytest.fixture(scope="session")
def cache(tmp_path_factory, worker_id) -> pathlib.Path:
    """The encoded data of all programs, in whatever process of the tests they run."""
    folder = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        folder = folder.parent
    (folder / "cache").mkdir(exist_ok=True)
    return folder / "cache"


def _number_collectives(strategy: type) -> None:
    """Gives the strategies of this process numbers of their own for their collectives.

    A program has one strategy. Tests have many, and those of equal numbers abort each other's.
    """
    numbers, made = itertools.count(100, 100), strategy.__init__

    def init(self, *arguments, **options):
        self._collective_key_base = next(numbers)
        made(self, *arguments, **options)

    strategy.__init__ = init


@pytest.fixture(autouse=True)
def _fresh_gin():
    """No test sees the bindings of another."""
    gin.clear_config()
    yield
    gin.clear_config()
