import numpy as np
import pytest

from sentiment_train.errors import ConfigError
from sentiment_train.runtime.cluster import Cluster
from sentiment_train.runtime.peers import Alone
from sentiment_train.runtime.strategy import Devices, choose


@pytest.fixture(autouse=True)
def _no_accelerator(tf, monkeypatch):
    if tf.config.list_physical_devices("GPU") or tf.config.list_physical_devices("TPU"):
        pytest.skip("these are the answers of a machine without GPU and TPU")
    for name in ("TF_CONFIG", "CLUSTER_SPEC", "TPU_NAME", "COLAB_TPU_ADDR", "TPU_WORKER_HOSTNAMES"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    "name, logical_cpus, reason",
    [
        ("auto", 1, "no GPU or TPU found"),
        ("cpu", 1, "as configured"),
        ("auto", 3, "Runtime.logical_cpus = 3"),
        ("cpu", 2, "Runtime.logical_cpus = 2"),
    ],
)
def test_replicas_on_the_cpu(name, logical_cpus, reason):
    devices = choose(name, logical_cpus)
    assert (devices.kind, devices.reason) == ("cpu", reason)
    assert devices.replicas == devices.local_replicas == logical_cpus
    assert devices.single is (logical_cpus == 1)
    assert devices.cluster == Cluster()


@pytest.mark.parametrize(
    "name, logical_cpus, problem",
    [
        ("mirrored", 1, "'mirrored' found no GPU .*Use 'auto' or 'cpu'"),
        ("mirrored", 2, "'mirrored'"),
        ("tpu", 1, "'tpu': this TensorFlow was built without TPU support"),
        ("tpu", 2, "Runtime.logical_cpus is for the CPU; with 'tpu' leave it at 1"),
        ("multi_worker", 1, "needs TF_CONFIG"),
    ],
)
def test_what_is_not_there_is_refused_with_a_way_out(name, logical_cpus, problem):
    with pytest.raises(ConfigError, match=problem):
        choose(name, logical_cpus)


def test_several_workers_have_no_logical_cpus(monkeypatch):
    config = '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}'
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(ConfigError, match="logical_cpus = 1 is all that 'multi_worker' can use"):
        choose("multi_worker", 2)


def test_auto_does_not_believe_in_a_tpu_that_this_build_cannot_use(monkeypatch):
    monkeypatch.setenv("TPU_NAME", "local")
    assert choose("auto", 1).kind == "cpu"


@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_rows_are_spread_over_the_replicas_in_their_order(tf, replicas):
    devices = choose("cpu", replicas)
    value = {"x": tf.range(12), "y": tf.reshape(tf.range(24), [12, 2])}
    spread = devices.distribute(value)
    for name, whole in value.items():
        parts = devices.strategy.experimental_local_results(spread[name])
        assert [part.shape[0] for part in parts] == [12 // replicas] * replicas
        np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_the_replicas_of_several_workers_are_shared_among_them(tf):
    strategy = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])
    peers = Alone(Cluster(("a:1", "b:1"), 1))
    devices = Devices("cpu", strategy, peers, "")
    assert (devices.replicas, devices.local_replicas, devices.single) == (2, 1, False)


def test_workers_that_met_train_together_whatever_the_name(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "its content was read before")
    peers = Alone(Cluster(("a:1", "b:1"), 1))
    for name in ("auto", "multi_worker"):  # logical CPUs are refused before anybody is waited for
        with pytest.raises(ConfigError, match="is all that 'multi_worker' can use"):
            choose(name, 2, peers)


def test_workers_with_other_numbers_of_gpus_end_before_they_wait_for_each_other(monkeypatch):
    class Met(Alone):
        def gather(self, value):
            return [2, value]

    monkeypatch.setenv("TF_CONFIG", "its content was read before")
    with pytest.raises(ConfigError, match=r"numbers of GPUs of .*a:1.* and .*b:1.* differ"):
        choose("auto", 1, Met(Cluster(("a:1", "b:1"), 1)))
