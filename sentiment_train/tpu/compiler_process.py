"""The TPU compiler, in a process of its own: libtpu and TensorFlow do not share one.

python -m sentiment_train.tpu.compiler_process v5e:2x2

Each line of its input is a JSON request `{"module": path of an MLIR file}`, each line of its output
the JSON answer to one, after a first one with what is there: `{"cores": 4, "memory": bytes}`, of
one core. Whatever libtpu prints goes to stderr.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Iterator

# libtpu would wait for an answer of Google's cloud, and refuse to be loaded by two processes.
_SETTINGS = {
    "TPU_SKIP_MDS_QUERY": "1",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "JAX_PLATFORMS": "cpu",
}

# Needs 64 TiB, so that the compiler says how much there is.
_TOO_LARGE = """
module @too_large {
  func.func public @main(%a: tensor<16777216x1048576xf32>) -> tensor<16777216x1048576xf32> {
    %0 = stablehlo.sine %a : tensor<16777216x1048576xf32>
    return %0 : tensor<16777216x1048576xf32>
  }
}
"""
_AVAILABLE = re.compile(r"available HBM \(([\d.]+)([KMGT])\)")
_NEEDED = re.compile(r"memory required[^(]*\(([\d.]+)([KMGT])\)")


def main() -> None:
    os.environ.update(_SETTINGS)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    compiler = Compiler(sys.argv[1])
    for answer in compiler.answers(sys.stdin):
        answers.write(json.dumps(answer) + "\n")


class Compiler:
    """Compiles for all cores of a topology, one program for each core."""

    def __init__(self, topology: str):
        from jax.experimental import topologies

        description = topologies.get_topology_desc(platform="tpu", topology_name=topology)
        self.devices = description.devices

    def answers(self, requests) -> Iterator[dict]:
        refusal = self.compile(_TOO_LARGE)["error"]
        yield {"cores": len(self.devices), "memory": _bytes(_AVAILABLE, refusal)}
        for line in requests:
            with open(json.loads(line)["module"], encoding="utf-8") as file:
                yield self.compile(file.read())

    def compile(self, text: str) -> dict:
        """Of a StableHLO module: seconds and memory in bytes, or error and what it would need."""
        import jax
        from jax._src.interpreters import mlir
        from jaxlib.mlir import ir

        with mlir.make_ir_context():
            started = time.monotonic()
            try:
                executable = self._compiled(text)
            except (jax.errors.JaxRuntimeError, ir.MLIRError) as error:
                return {"error": str(error), "needed": _bytes(_NEEDED, str(error))}
            found = executable.get_compiled_memory_stats()
            names = ("argument", "temp", "output", "alias", "generated_code")
            sizes = {name: getattr(found, f"{name}_size_in_bytes") for name in names}
            return {"seconds": time.monotonic() - started, **sizes}

    def _compiled(self, text: str):
        import numpy as np
        from jax._src.lib import xla_client
        from jaxlib.mlir import ir

        module = ir.Module.parse(text)
        _remove_copies(module, ir)
        options = xla_client.CompileOptions()
        options.num_replicas, options.num_partitions = len(self.devices), 1
        cores = np.array([[device.id] for device in self.devices])
        options.device_assignment = xla_client.DeviceAssignment.create(cores)
        return self.devices[0].client.compile(
            module,
            executable_devices=xla_client._xla.DeviceList(tuple(self.devices)),
            compile_options=options,
        )


def _remove_copies(module, ir) -> None:
    """TensorFlow leaves some `mhlo.copy`, which StableHLO does not have: identities."""
    copies = []

    def collect(operation):
        if operation.operation.name == "mhlo.copy":
            copies.append(operation.operation)
        return ir.WalkResult.ADVANCE

    module.operation.walk(collect)
    for copy in copies:
        copy.result.replace_all_uses_with(copy.operands[0])
        copy.erase()


def _bytes(pattern: re.Pattern, message: str) -> int | None:
    found = pattern.search(message)
    return found and int(float(found[1]) * 1024 ** (1 + "KMGT".index(found[2])))


if __name__ == "__main__":
    main()
