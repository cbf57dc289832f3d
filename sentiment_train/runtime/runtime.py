"""Every decision of how to execute, taken in one place and worded for the log."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

import gin

from sentiment_train.config import Part
from sentiment_train.runtime.peers import Peers
from sentiment_train.runtime.strategy import Devices, choose


@gin.configurable
@dataclass(frozen=True)
class Runtime(Part):
    """Where and how the steps run. Only seed and precision change what is learned."""

    strategy: Literal["auto", "cpu", "mirrored", "multi_worker", "tpu"] = "auto"
    logical_cpus: int = 1  # replicas on one CPU, to try out several replicas on a laptop
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    xla: Literal["auto", "on", "off"] = "auto"
    deterministic: bool = True  # the same bits from the same command; may cost speed on a GPU
    seed: int = 0  # of initial weights, data order and dropout

    def check(self):
        self.require(1 <= self.logical_cpus <= 64, "logical_cpus", "1 to 64")
        self.require(0 <= self.seed < 2**31, "seed", "0 to 2147483647")


@dataclass(frozen=True)
class Decisions:
    """A `Runtime` applied to this machine."""

    devices: Devices
    jit_compile: bool
    use_cudnn: bool  # by recurrent layers
    recurrent_loops: str  # how our own are executed: plain, xla or compiled
    cores: int  # of the CPU, for each replica
    float16: bool
    seed: int
    lines: tuple[tuple[str, str], ...]  # (what, decision — reason), to be printed

    @property
    def strategy(self):
        return self.devices.strategy


def decide(runtime: Runtime, peers: Peers | None = None) -> Decisions:
    """Applies a runtime: makes the strategy, sets precision, determinism and seeds of the process.

    Args:
      peers: the other workers, when there are some.

    Raises:
      ConfigError: for a device that is missing or a combination that cannot work.
    """
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")  # it warns of a trace per bucket, which is the plan
    devices = choose(runtime.strategy, runtime.logical_cpus, peers)
    precision = _set_precision(runtime, devices)
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
        float16=runtime.precision == "float16",
        seed=runtime.seed,
        lines=(
            ("runtime", f"{devices.kind}, {counted} — {devices.reason}"),
            ("precision", precision),
            ("xla", xla),
            ("cudnn", cudnn),
            ("randomness", randomness),
        ),
    )


def _set_precision(runtime: Runtime, devices: Devices) -> str:
    import keras

    if runtime.precision == "float16" and devices.kind == "tpu":
        runtime.refuse("precision", "is not for a TPU; use 'bfloat16'.")
    policy = "float32" if runtime.precision == "float32" else f"mixed_{runtime.precision}"
    keras.mixed_precision.set_dtype_policy(policy)
    reason = {
        "float32": "the default; every device has it",
        "bfloat16": "as configured; weights stay float32",
        "float16": "as configured; weights stay float32, the loss is scaled",
    }[runtime.precision]
    if runtime.precision != "float32" and devices.kind == "cpu":
        reason += "; slower than float32 on most CPUs"
    return f"{runtime.precision} — {reason}"


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
