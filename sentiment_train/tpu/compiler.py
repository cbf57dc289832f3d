"""Asks the process of the TPU compiler; see `compiler_process`."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from dataclasses import dataclass

import sentiment_train
from sentiment_train.errors import UserError


@dataclass(frozen=True)
class Compiled:
    """What the compiler said of a program; memory in bytes of one core."""

    seconds: float = 0.0
    arguments: int = 0  # weights, optimizer and batch
    temporaries: int = 0
    outputs: int = 0  # what takes the place of no argument
    code: int = 0
    error: str | None = None
    needed: int | None = None  # of a program that is too large

    @property
    def total(self) -> int:
        """All that must be on a core while the program runs."""
        if self.needed is not None:
            return self.needed
        return self.arguments + self.temporaries + self.outputs + self.code


class TpuCompiler:
    """The compiler for one topology, as a context; programs are compiled in the order of `send`.

    Attributes:
      cores: of the topology; each runs a replica.
      memory: bytes of a core.
    """

    def __init__(self, topology: str):
        if missing := [n for n in ("jax", "libtpu") if importlib.util.find_spec(n) is None]:
            raise UserError(
                f"The TPU compiler is not installed ({' and '.join(missing)}); it comes with"
                " pip install '.[tpu-check]' in the folder of the source; Linux on x86-64."
            )
        self.topology = topology
        self._folder = tempfile.TemporaryDirectory(prefix="tpu_check_")
        self._modules = 0
        self._start()

    def _start(self) -> None:
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115
        package = str(pathlib.Path(sentiment_train.__file__).parents[1])
        paths = [package, os.environ.get("PYTHONPATH", "")]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "sentiment_train.tpu.compiler_process", self.topology],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._printed,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        )
        found = self._answer()
        if found is None:
            raise UserError(f"The TPU compiler does not start: {self._last_words()}")
        self.cores, self.memory = found["cores"], found["memory"]

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._printed):
            stream.close()
        self._folder.cleanup()

    def send(self, module: str) -> None:
        """Hands over a StableHLO module; `receive` gives what becomes of it."""
        self._modules += 1
        path = pathlib.Path(self._folder.name, f"{self._modules}.mlir")
        path.write_text(module, encoding="utf-8")
        with contextlib.suppress(BrokenPipeError):  # it has ended; `receive` says so
            self._process.stdin.write(json.dumps({"module": str(path)}) + "\n")
            self._process.stdin.flush()

    def receive(self) -> Compiled:
        """Of the first module that was sent and not received.

        Raises:
          UserError: if the compiler has ended.
        """
        found = self._answer()
        if found is None:
            raise UserError(f"The TPU compiler has ended in the midst of it: {self._last_words()}")
        if "error" in found:
            return Compiled(error=found["error"], needed=found["needed"])
        return Compiled(
            seconds=found["seconds"],
            arguments=found["argument"],
            temporaries=found["temp"],
            outputs=found["output"] - found["alias"],
            code=found["generated_code"],
        )

    def compile(self, module: str) -> Compiled:
        """Sends one module and waits for it."""
        self.send(module)
        return self.receive()

    def _answer(self) -> dict | None:
        line = self._process.stdout.readline()
        return json.loads(line) if line else None

    def _last_words(self) -> str:
        code = self._process.wait()
        self._printed.seek(0)
        lines = self._printed.read().decode(errors="replace").strip().splitlines()
        return f"exit code {code}; {lines[-1] if lines else 'it printed nothing'}"
