"""Every decision of how to execute, taken in one place and worded for the log."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

import gin

from sentiment_train.config import Part
from sentiment_train.runtime import accelerators
from sentiment_train.runtime.peers import Peers
from sentiment_train.runtime.strategy import Devices, choose


@gin.configurable
@dataclass(frozen=True)
class Runtime(Part):
    """Where and how the steps run. Only seed, precision and the bits of products change what is
    learned."""

    strategy: Literal["auto", "cpu", "mirrored", "multi_worker", "tpu"] = "auto"
    logical_cpus: int = 1  # replicas on one CPU, to try out several replicas on a laptop
    gpus: tuple[int, ...] | None = None  # of each machine, as TensorFlow counts them; None: all
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    tensor_float_32: bool = True  # float32 products of a GPU in 19 bits (a TPU: 16), much faster
    xla: Literal["auto", "on", "off"] = "auto"
    deterministic: bool = True  # the same bits from the same command; may cost speed on a GPU
    seed: int = 0  # of initial weights, data order and dropout
    wait_for_workers: int = 40  # seconds, until all of them are there

    def check(self):
        self.require(1 <= self.logical_cpus <= 64, "logical_cpus", "1 to 64")
        self.require(0 <= self.seed < 2**31, "seed", "0 to 2147483647")
        self.require(1 <= self.wait_for_workers <= 86_400, "wait_for_workers", "1 to 86400 seconds")
        if self.gpus is not None:
            self._check_gpus(self.gpus)

    def _check_gpus(self, gpus: tuple[int, ...]) -> None:
        apart = len(set(gpus)) == len(gpus) and min(gpus, default=-1) >= 0
        self.require(apart, "gpus", "different numbers from 0 on, e.g. (0, 1); None: all")
        if self.strategy in ("cpu", "tpu"):
            self.refuse("gpus", f"changes nothing with strategy = '{self.strategy}'.")
        if self.logical_cpus != 1:
            self.refuse("gpus", "does not go with logical_cpus: replicas are on GPUs or on a CPU.")


@dataclass(frozen=True)
class Decisions:
    """A `Runtime` applied to this machine."""

    devices: Devices
    jit_compile: bool
    use_cudnn: bool  # by recurrent layers
    recurrent_loops: str  # how our own may be: plain, xla or compiled; see `Assembly` for the rest
    cores: int  # of the CPU, for each replica
    precision: str  # float32 | bfloat16 | float16
    seed: int
    logit_tolerance: float  # how far the logits of a CPU in float32 may be from those of here
    lines: tuple[tuple[str, str], ...]  # (what, decision — reason), to be printed

    @property
    def strategy(self):
        return self.devices.strategy

    @property
    def float16(self) -> bool:
        """Whether the loss must be scaled."""
        return self.precision == "float16"

    @property
    def compiles_whole_steps(self) -> bool:
        """Whether the update is in the same XLA program as the gradients, and so may be a loop over
        steps: it cannot be where replicas add their gradients in between."""
        alone = self.devices.single and self.devices.kind == "cpu"
        return self.jit_compile and alone and not self.float16


def decide(
    runtime: Runtime, peers: Peers | None = None, devices: Devices | None = None
) -> Decisions:
    """Applies a runtime: makes the strategy, sets precision, determinism and seeds of the process.

    Args:
      peers: the other workers, when there are some.
      devices: in place of what this machine has.

    Raises:
      ConfigError: for a device that is missing or a combination that cannot work.
    """
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")  # it warns of a trace per bucket, which is the plan
    if devices is None:
        accelerators.use_gpus(tf, runtime.gpus)
        devices = choose(runtime.strategy, runtime.logical_cpus, peers)
        if runtime.gpus is not None and devices.kind != "gpu":
            runtime.refuse("gpus", f"needs GPUs, but this is a {devices.kind}: {devices.reason}.")
    precision, precision_line = _set_precision(runtime, devices)
    jit_compile, xla = _xla(runtime, devices)
    randomness = _set_randomness(runtime)
    use_cudnn, cudnn = _cudnn(devices, jit_compile)
    counted = f"{devices.replicas} replica{'s' if devices.replicas > 1 else ''}"
    return Decisions(
        devices=devices,
        jit_compile=jit_compile,
        use_cudnn=use_cudnn,
        recurrent_loops=_recurrent_loops(runtime, devices, jit_compile),
        cores=max(available_cores() // devices.local_replicas, 1),
        precision=precision,
        seed=runtime.seed,
        logit_tolerance=_logit_tolerance(runtime, devices, precision),
        lines=(
            ("runtime", f"{devices.kind}, {counted} — {devices.reason}"),
            ("precision", precision_line),
            ("xla", xla),
            ("cudnn", cudnn),
            ("randomness", randomness),
        ),
    )


def _set_precision(runtime: Runtime, devices: Devices) -> tuple[str, str]:
    """Sets it for all layers made from now on; gives it, and the line that says so."""
    import keras

    if runtime.precision == "float16" and devices.kind == "tpu":
        runtime.refuse("precision", "is not for a TPU; use 'auto' or 'bfloat16'.")
    precision, why = runtime.precision, "as configured"
    if precision == "auto":
        precision, why = "float32", "the default; every device has it"
        if devices.kind == "tpu":
            precision, why = "bfloat16", "what a TPU multiplies in"
    keras.mixed_precision.set_dtype_policy(
        "float32" if precision == "float32" else f"mixed_{precision}"
    )
    if precision != "float32":
        why += "; weights stay float32"
    if precision == "float16":
        why += ", the loss is scaled"
    if precision != "float32" and devices.kind == "cpu":
        why += "; slower than float32 on most CPUs"
    return precision, f"{precision} — {why}{_set_products(runtime, devices, precision)}"


def _set_products(runtime: Runtime, devices: Devices, precision: str) -> str:
    """Sets how matrices of float32 are multiplied; what there is to say of it."""
    import tensorflow as tf

    if devices.kind == "cpu":
        return ""
    # XLA reads it as well: a TPU then takes one pass in bfloat16 for a product, or else six.
    tf.config.experimental.enable_tensor_float_32_execution(runtime.tensor_float_32)
    if precision != "float32":
        return ""
    if not runtime.tensor_float_32:
        return "; products in all 32 bits, by Runtime.tensor_float_32 = False"
    short = "TensorFloat-32, where the GPU has it" if devices.kind == "gpu" else "bfloat16"
    return f"; products in {short} (Runtime.tensor_float_32)"


def _logit_tolerance(runtime: Runtime, devices: Devices, precision: str) -> float:
    """How far logits may be from those of a CPU: by the bits of the products, and their order."""
    if precision != "float32" or (devices.kind == "tpu" and runtime.tensor_float_32):
        return 5e-2
    if devices.kind == "gpu" and runtime.tensor_float_32:
        return 1e-2
    return 1e-5 if devices.kind == "cpu" else 1e-3


def _xla(runtime: Runtime, devices: Devices) -> tuple[bool, str]:
    """Whether the forward and backward pass of a replica is compiled, and why."""
    if devices.kind == "tpu":
        if runtime.xla == "off":
            runtime.refuse("xla", "is impossible on a TPU, which runs nothing else; use 'auto'.")
        return False, "on — a TPU compiles every step by itself"
    if runtime.xla != "auto":
        cudnn = ", without cuDNN" if runtime.xla == "on" and devices.kind == "gpu" else ""
        return runtime.xla == "on", f"{runtime.xla} — as configured{cudnn}"
    if devices.kind == "gpu":
        return False, "off — recurrent layers use cuDNN, which XLA cannot compile"
    return False, "only loops over time, in training — on a CPU the rest gains nothing by it"


def _recurrent_loops(runtime: Runtime, devices: Devices, jit_compile: bool) -> str:
    """How loops over time are executed; see `layers.recurrence.Recurrence`."""
    if jit_compile or devices.kind == "tpu":
        return "xla"
    return "compiled" if devices.kind == "cpu" and runtime.xla == "auto" else "plain"


def available_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cudnn(devices: Devices, jit_compile: bool) -> tuple[bool, str]:
    """Whether recurrent layers are those of cuDNN, and why."""
    if devices.kind != "gpu":
        return False, "off — no GPU; recurrent layers are our own loop over time"
    if jit_compile:
        return False, "off — XLA cannot compile it; recurrent layers are our own loop over time"
    return True, "on — for GRU and LSTM, through Keras' layers"


def _set_randomness(runtime: Runtime) -> str:
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(runtime.seed)
    if runtime.deterministic:
        tf.config.experimental.enable_op_determinism()
        return f"seed {runtime.seed}, deterministic ops — the same command gives the same bits"
    return f"seed {runtime.seed}, ops as fast as they come — Runtime.deterministic = False"
