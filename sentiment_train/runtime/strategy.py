"""Which devices train together, as a `tf.distribute` strategy."""

from __future__ import annotations

import os
from dataclasses import dataclass

from sentiment_train.errors import ConfigError
from sentiment_train.runtime import accelerators
from sentiment_train.runtime.cluster import EXAMPLE
from sentiment_train.runtime.peers import Alone, Peers, agree


@dataclass(frozen=True)
class Devices:
    """A strategy and what it was decided from."""

    kind: str  # cpu | gpu | tpu
    strategy: object  # tf.distribute.Strategy
    peers: Peers
    reason: str

    @property
    def cluster(self):
        return self.peers.cluster

    @property
    def replicas(self) -> int:
        return self.strategy.num_replicas_in_sync

    @property
    def local_replicas(self) -> int:
        return self.replicas // self.cluster.workers

    @property
    def single(self) -> bool:
        """One replica in one process: no value needs to be distributed."""
        return self.replicas == 1 and self.cluster.workers == 1

    def distribute(self, value):
        """Splits this worker's rows evenly over its replicas.

        Args:
          value: a nest of tensors `[local_replicas * rows, …]`.
        """
        import tensorflow as tf

        if self.single:
            return value
        first = self.cluster.index * self.local_replicas

        def rows_of(context):
            place = int(context.replica_id_in_sync_group) - first

            def part(tensor):
                rows = tensor.shape[0] // self.local_replicas
                return tensor[place * rows : (place + 1) * rows]

            return tf.nest.map_structure(part, value)

        return self.strategy.experimental_distribute_values_from_function(rows_of)

    def of_the_chief(self, arrays: list) -> list:
        """Numbers that every worker has its own of → those of the chief, on all of them.

        Args:
          arrays: of equal shapes and types on all workers.
        """
        import tensorflow as tf

        tensors = [tf.convert_to_tensor(array) for array in arrays]

        def given():
            replica = tf.distribute.get_replica_context()
            first = tf.equal(replica.replica_id_in_sync_group, 0)
            mine = [tf.where(first, tensor, tf.zeros_like(tensor)) for tensor in tensors]
            return replica.all_reduce(tf.distribute.ReduceOp.SUM, mine)

        summed = tf.function(lambda: self.strategy.run(given), autograph=False)()
        return [self.strategy.experimental_local_results(value)[0] for value in summed]


def choose(name: str, logical_cpus: int = 1, peers: Peers | None = None) -> Devices:
    """Makes the strategy called `name`; `auto` takes all workers if there are several, else a TPU,
    else all GPUs, else the CPU.

    Must run before any other TensorFlow op, and after `accelerators.use_gpus`: logical devices and
    collectives are set up here.

    Args:
      peers: those that were met; None: this process is alone.

    Raises:
      ConfigError: if what was asked for is not there.
    """
    import tensorflow as tf

    peers = peers or Alone()
    if name == "multi_worker" or peers.cluster.workers > 1:
        return _multi_worker(tf, logical_cpus, peers)
    if name == "auto":
        return _auto(tf, logical_cpus)
    if name == "cpu":
        return _cpu(tf, logical_cpus)
    return _accelerated(tf, "gpu" if name == "mirrored" else "tpu", logical_cpus)


def _accelerated(tf, kind: str, logical_cpus: int) -> Devices:
    make = accelerators.mirrored if kind == "gpu" else accelerators.tpu
    strategy, reason = make(tf, logical_cpus)
    return Devices(kind, strategy, Alone(), reason)


def _auto(tf, logical_cpus: int) -> Devices:
    if accelerators.tpu_is_here(tf):
        return _accelerated(tf, "tpu", logical_cpus)
    if tf.config.list_physical_devices("GPU") and logical_cpus == 1:
        return _accelerated(tf, "gpu", logical_cpus)
    if os.path.exists("/dev/nvidia0"):
        why = "TensorFlow cannot use the GPU of this machine; TF_CPP_MIN_LOG_LEVEL=0 shows why"
        return _cpu(tf, logical_cpus, why)
    return _cpu(tf, logical_cpus, "no GPU or TPU found")


def _cpu(tf, logical_cpus: int, reason: str = "as configured") -> Devices:
    if logical_cpus == 1:
        return Devices("cpu", tf.distribute.OneDeviceStrategy("/cpu:0"), Alone(), reason)
    devices = _split_cpu(tf, logical_cpus)
    why = f"Runtime.logical_cpus = {logical_cpus}"
    return Devices("cpu", tf.distribute.MirroredStrategy(devices), Alone(), why)


def _split_cpu(tf, count: int) -> list[str]:
    cpu = tf.config.list_physical_devices("CPU")[0]
    wanted = [tf.config.LogicalDeviceConfiguration()] * count
    have = tf.config.get_logical_device_configuration(cpu)
    if not have or len(have) < count:
        tf.config.set_logical_device_configuration(cpu, wanted)
    return [f"/cpu:{i}" for i in range(count)]


def _multi_worker(tf, logical_cpus: int, peers: Peers) -> Devices:
    cluster = peers.cluster
    if not os.environ.get("TF_CONFIG"):
        raise ConfigError(
            "Runtime.strategy = 'multi_worker' needs TF_CONFIG in the environment, e.g."
            f" {EXAMPLE}; cloud/tf_config.py makes it from a list of hosts."
        )
    if logical_cpus != 1:
        raise ConfigError("Runtime.logical_cpus = 1 is all that 'multi_worker' can use.")
    gpus = tf.config.get_visible_devices("GPU")
    # TensorFlow takes for granted that all have as many as this one, and would wait for ever.
    how = "All need equally many, or Runtime.gpus on those that have more."
    agree(peers, "numbers of GPUs", len(gpus), how)
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    reason = f"worker {cluster.index} of {cluster.workers} by TF_CONFIG"
    return Devices("gpu" if gpus else "cpu", strategy, peers, reason)
