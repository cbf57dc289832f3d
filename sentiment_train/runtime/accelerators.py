"""GPUs and TPUs, as `tf.distribute` strategies."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence

from sentiment_train.errors import ConfigError

_NO_GPU = (
    "found no GPU (nvidia-smi shows what the driver sees; pip install 'tensorflow[and-cuda]' brings"
    " the libraries)."
)


def use_gpus(tf, numbers: Sequence[int] | None) -> None:
    """Leaves the others alone, and takes memory of these as it is needed, not all at once.

    Must run before any other TensorFlow op.

    Args:
      numbers: of GPUs, as TensorFlow counts them; None: all.

    Raises:
      ConfigError: if one is not there.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if numbers is not None:
        gpus = named_gpus(gpus, numbers)
        tf.config.set_visible_devices(gpus, "GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)


def named_gpus(gpus: Sequence, numbers: Sequence[int]) -> list:
    """Those of all `gpus` that have these numbers.

    Raises:
      ConfigError: if one is not there.
    """
    if not gpus:
        raise ConfigError(f"Runtime.gpus = {tuple(numbers)} {_NO_GPU}", "Runtime.gpus")
    if missing := [number for number in numbers if number >= len(gpus)]:
        raise ConfigError(
            f"Runtime.gpus = {tuple(numbers)}: there is no GPU {missing[0]}; TensorFlow finds"
            f" {len(gpus)}, and counts from 0.",
            "Runtime.gpus",
        )
    return [gpus[number] for number in numbers]


def mirrored(tf, logical_cpus: int):
    """The strategy of the GPUs of this machine that may be used, and the reason to tell.

    Raises:
      ConfigError: if there is none.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        raise ConfigError(
            f"Runtime.strategy = 'mirrored' {_NO_GPU} Use 'auto' or 'cpu';"
            " Runtime.logical_cpus = 2 gives two replicas on a CPU."
        )
    if logical_cpus != 1:
        raise ConfigError("Runtime.logical_cpus is for the CPU; with 'mirrored' leave it at 1.")
    used = len(tf.config.get_visible_devices("GPU"))
    found = f"{len(gpus)} GPU{'s' if len(gpus) > 1 else ''} found"
    if used < len(gpus):
        found += f", {used} used by Runtime.gpus"
    # TensorFlow counts those that it may use anew from 0.
    return tf.distribute.MirroredStrategy([f"/gpu:{i}" for i in range(used)]), found


def tpu_address() -> str | None:
    """Where the environment says that a TPU is: `local`, a name, or `grpc://…`; None: nowhere.

    TensorFlow itself takes TPU_NAME=local for the name of a TPU in the cloud and asks for it
    there, and does not know Colab's variables.
    """
    if named := os.environ.get("TPU_NAME"):
        return named
    if address := os.environ.get("COLAB_TPU_ADDR"):  # a TPU beside Colab's machine, up to 2024
        return address if "://" in address else f"grpc://{address}"
    # TPU machines, Colab's among them (v2-8, v5e-1, v6e-1), have their chips as devices.
    variables = ("COLAB_TPU_1VM", "TPU_ACCELERATOR_TYPE", "TPU_WORKER_HOSTNAMES")
    is_here = any(os.environ.get(name) for name in variables) or glob.glob("/dev/accel[0-9]*")
    return "local" if is_here else None


def tpu_is_here(tf) -> bool:
    """A TPU runtime that this build of TensorFlow can use, without waiting for one to answer."""
    if tf.config.list_physical_devices("TPU"):
        return True
    return tpu_address() is not None and _has_tpu_ops(tf)


def _has_tpu_ops(tf) -> bool:
    from tensorflow.python.framework import kernels

    return bool(kernels.get_registered_kernels_for_op("ConfigureDistributedTPU").kernel)


def tpu(tf, logical_cpus: int):
    """The strategy of the TPU that answers, and the reason to tell.

    Raises:
      ConfigError: if this TensorFlow has no TPU support, none answers, or it is only a part of one.
    """
    if logical_cpus != 1:
        raise ConfigError("Runtime.logical_cpus is for the CPU; with 'tpu' leave it at 1.")
    if not _has_tpu_ops(tf):
        raise ConfigError(
            "Runtime.strategy = 'tpu': this TensorFlow was built without TPU support. On the TPU"
            " machine install the extra `tpu`, which brings tensorflow-tpu (README.md). Use 'auto'"
            " elsewhere; python -m sentiment_train.tpu_check says here whether a TPU could run it."
        )
    _check_one_machine()
    strategy = connect(tf, tpu_address() or "local")
    cores = strategy.num_replicas_in_sync
    return strategy, f"{cores} TPU core{'s' if cores > 1 else ''} found"


def _check_one_machine() -> None:
    """Raises ConfigError on one of several machines of a slice: each would train for itself."""
    hosts = os.environ.get("TPU_WORKER_HOSTNAMES", "").split(",")
    if len(hosts) > 1 and tpu_address() == "local":
        raise ConfigError(
            f"Runtime.strategy = 'tpu': this is one of {len(hosts)} machines of a TPU slice"
            " (TPU_WORKER_HOSTNAMES), and each would train for itself. Use a TPU of one machine.",
            "Runtime.strategy",
        )


def connect(tf, address: str):
    """Finds the TPU, initialises it (which clears its memory) and makes its strategy.

    Args:
      address: as `tpu_address` gives it.

    Raises:
      ConfigError: if none answers.
    """
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver.connect(tpu=address)
        return tf.distribute.TPUStrategy(resolver)
    except (ValueError, RuntimeError, OSError, tf.errors.OpError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ConfigError(
            f"Runtime.strategy = 'tpu': no TPU answers at '{address}' ({reason}). Set"
            " TPU_NAME=local on a TPU machine, or TPU_NAME=name or =grpc://host:8470 for one"
            " elsewhere; or use 'auto'."
        ) from None
