"""GPUs and TPUs, as `tf.distribute` strategies."""

from __future__ import annotations

import os

from sentiment_train.errors import ConfigError


def mirrored(tf, logical_cpus: int):
    """The strategy of all GPUs of this machine, and the reason to tell.

    Raises:
      ConfigError: if there is none.
    """
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
    return tf.distribute.MirroredStrategy(devices), found


def tpu_is_here(tf) -> bool:
    """A TPU runtime that this build of TensorFlow can use, without waiting for one to answer."""
    named = any(os.environ.get(k) for k in ("TPU_NAME", "COLAB_TPU_ADDR", "TPU_WORKER_HOSTNAMES"))
    return bool(tf.config.list_physical_devices("TPU")) or (named and _has_tpu_ops(tf))


def _has_tpu_ops(tf) -> bool:
    from tensorflow.python.framework import kernels

    return bool(kernels.get_registered_kernels_for_op("ConfigureDistributedTPU").kernel)


def tpu(tf, logical_cpus: int):
    """The strategy of the TPU that answers, and the reason to tell.

    Raises:
      ConfigError: if this TensorFlow has no TPU support, or none answers.
    """
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
    return strategy, f"{strategy.num_replicas_in_sync} TPU cores found"
