"""Which devices train together, as a `tf.distribute` strategy."""

from __future__ import annotations

import os
from dataclasses import dataclass

from sentiment_train.errors import ConfigError
from sentiment_train.runtime.cluster import Cluster, from_environment


@dataclass(frozen=True)
class Devices:
    """A strategy and what it was decided from."""

    kind: str  # cpu | gpu | tpu
    strategy: object  # tf.distribute.Strategy
    cluster: Cluster
    reason: str

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

    def any_worker(self, mine: bool) -> bool:
        """Whether `mine` is true on some worker. All workers must ask equally often."""
        return mine if self.cluster.workers == 1 else self._total(float(mine)) > 0

    def same_on_all_workers(self, number: int) -> bool:
        """Whether all workers call this with the same number."""
        if self.cluster.workers == 1:
            return True
        return not self.any_worker(self._total(float(number)) != float(number) * self.replicas)

    def _total(self, number: float) -> float:
        """The sum over all replicas of the number that each worker gives."""
        import tensorflow as tf

        mine = tf.constant(number)
        values = self.strategy.experimental_distribute_values_from_function(lambda _: mine)
        return float(self.strategy.reduce(tf.distribute.ReduceOp.SUM, values, axis=None))

    def wait_for_all(self) -> None:
        """Returns when every worker has called it."""
        self.any_worker(False)


def choose(name: str, logical_cpus: int) -> Devices:
    """Makes the strategy called `name`; `auto` takes a TPU, else all GPUs, else the CPU.

    Must run before any other TensorFlow op: logical devices and collectives are set up here.

    Raises:
      ConfigError: if what was asked for is not there.
    """
    import tensorflow as tf

    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    if name == "auto":
        return _auto(tf, logical_cpus)
    makers = {"cpu": _cpu, "mirrored": _mirrored, "multi_worker": _multi_worker, "tpu": _tpu}
    return makers[name](tf, logical_cpus)


def _auto(tf, logical_cpus: int) -> Devices:
    if os.environ.get("TF_CONFIG") and from_environment().workers > 1:
        raise ConfigError(
            "TF_CONFIG names several workers, but Runtime.strategy = 'auto' uses one machine. Set"
            " Runtime.strategy = 'multi_worker', or unset TF_CONFIG."
        )
    if _tpu_is_here(tf):
        return _tpu(tf, logical_cpus)
    if tf.config.list_physical_devices("GPU") and logical_cpus == 1:
        return _mirrored(tf, logical_cpus)
    if os.path.exists("/dev/nvidia0"):
        why = "TensorFlow cannot use the GPU of this machine; TF_CPP_MIN_LOG_LEVEL=0 shows why"
        return _cpu(tf, logical_cpus, why)
    return _cpu(tf, logical_cpus, "no GPU or TPU found")


def _cpu(tf, logical_cpus: int, reason: str = "as configured") -> Devices:
    if logical_cpus == 1:
        return Devices("cpu", tf.distribute.OneDeviceStrategy("/cpu:0"), Cluster(), reason)
    devices = _split_cpu(tf, logical_cpus)
    why = f"Runtime.logical_cpus = {logical_cpus}"
    return Devices("cpu", tf.distribute.MirroredStrategy(devices), Cluster(), why)


def _split_cpu(tf, count: int) -> list[str]:
    cpu = tf.config.list_physical_devices("CPU")[0]
    wanted = [tf.config.LogicalDeviceConfiguration()] * count
    have = tf.config.get_logical_device_configuration(cpu)
    if not have or len(have) < count:
        tf.config.set_logical_device_configuration(cpu, wanted)
    return [f"/cpu:{i}" for i in range(count)]


def _mirrored(tf, logical_cpus: int) -> Devices:
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        raise ConfigError(
            "Runtime.strategy = 'mirrored' found no GPU (nvidia-smi shows what the driver sees;"
            " pip install 'tensorflow[and-cuda]' brings the libraries). Use 'auto' or 'cpu';"
            " Runtime.logical_cpus = 2 gives two replicas on a CPU."
        )
    if logical_cpus != 1:
        raise ConfigError("Runtime.logical_cpus is for the CPU; with 'mirrored' leave it at 1.")
    devices = [f"/gpu:{i}" for i in range(len(gpus))]
    found = f"{len(gpus)} GPU{'s' if len(gpus) > 1 else ''} found"
    return Devices("gpu", tf.distribute.MirroredStrategy(devices), Cluster(), found)


def _multi_worker(tf, logical_cpus: int) -> Devices:
    cluster = from_environment()
    gpus = tf.config.list_physical_devices("GPU")
    if logical_cpus != 1:
        raise ConfigError("Runtime.logical_cpus = 1 is all that 'multi_worker' can use.")
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    reason = f"worker {cluster.index} of {cluster.workers} by TF_CONFIG"
    return Devices("gpu" if gpus else "cpu", strategy, cluster, reason)


def _tpu_is_here(tf) -> bool:
    """A TPU runtime that this build of TensorFlow can use, without waiting for one to answer."""
    named = any(os.environ.get(k) for k in ("TPU_NAME", "COLAB_TPU_ADDR", "TPU_WORKER_HOSTNAMES"))
    return bool(tf.config.list_physical_devices("TPU")) or (named and _has_tpu_ops(tf))


def _has_tpu_ops(tf) -> bool:
    from tensorflow.python.framework import kernels

    return bool(kernels.get_registered_kernels_for_op("ConfigureDistributedTPU").kernel)


def _tpu(tf, logical_cpus: int) -> Devices:
    if logical_cpus != 1:
        raise ConfigError("Runtime.logical_cpus is for the CPU; with 'tpu' leave it at 1.")
    if not _has_tpu_ops(tf):
        raise ConfigError(
            "Runtime.strategy = 'tpu': this TensorFlow was built without TPU support. On the TPU"
            " machine install the extra `tpu` (README.md). Use 'auto' elsewhere."
        )
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver.connect()
    except (ValueError, tf.errors.OpError) as error:
        reason = str(error).split("\n")[0]
        raise ConfigError(
            f"Runtime.strategy = 'tpu': no TPU answers ({reason}). Set TPU_NAME=local on a TPU"
            " machine, or use 'auto'."
        ) from None
    strategy = tf.distribute.TPUStrategy(resolver)
    return Devices("tpu", strategy, Cluster(), f"{strategy.num_replicas_in_sync} TPU cores found")
