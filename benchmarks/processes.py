"""A measurement is a process of its own. What it cost is asked of the kernel, not of the process.

All of them get the same cores and the same environment, without the shell's settings of threads,
compilers and back ends: every library does what it does by default on this machine.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import threading
import time
from dataclasses import dataclass

from absl import flags

ROOT = pathlib.Path(__file__).parents[1]
_LIMIT_SECONDS = 900  # of one measurement
# Of the shell, what would decide how fast a library is, or which one of them is measured.
_LEFT_OUT = (
    "KERAS_BACKEND",
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "TF_CONFIG",
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_NUM_INTEROP_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_XLA_FLAGS",
    "XLA_FLAGS",
)


@dataclass(frozen=True)
class Cost:
    """Of a process, from its start to its end, with everything that it imported and read."""

    began: float  # seconds since the epoch
    process_seconds: float
    cpu_seconds: float  # of all cores, user and system
    peak_memory_bytes: float  # resident; at least that of this process, which imports little

    def as_measures(self) -> dict[str, float]:
        names = ("process_seconds", "cpu_seconds", "peak_memory_bytes")
        return {name: getattr(self, name) for name in names}


def environment(**given: str) -> dict[str, str]:
    """That of this process, with the checkout on the path, without `_LEFT_OUT`."""
    kept = {k: v for k, v in os.environ.items() if k not in _LEFT_OUT}
    paths = os.pathsep.join(filter(None, [str(ROOT), kept.get("PYTHONPATH")]))
    return {**kept, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": paths, **given}


def run(
    module: str, *arguments: str, log: pathlib.Path, limit: float = _LIMIT_SECONDS, **given: str
) -> Cost:
    """Runs `python -m module` to its end.

    Args:
      log: file of what it prints.
      limit: seconds after which it is killed.
      given: variables of its environment, besides those of `environment`.

    Raises:
      SystemExit: with all that it printed, if it failed or took too long.
    """
    began, started = time.time(), time.monotonic()
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env=environment(**given),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        killer = threading.Timer(limit, process.kill)
        killer.start()
        try:
            # Not process.wait(): this tells the memory and the seconds of this one child.
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        finally:
            killer.cancel()
            if process.returncode is None:
                process.kill()
    if process.returncode:
        printed = log.read_text(errors="replace").rstrip()
        too_long = time.monotonic() - started >= limit
        why = f"more than {limit:.0f} seconds" if too_long else f"exit code {process.returncode}"
        last = printed.rpartition("\n")[2]
        raise SystemExit(f"{printed}\n{module}: {why}{f': {last}' if last else ''}")
    return Cost(
        began,
        time.monotonic() - started,
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
    )


def ask(
    module: str,
    job: dict,
    folder: pathlib.Path,
    limit: float = _LIMIT_SECONDS,
    **given: str,
) -> dict:
    """What a module of `peers` or `ours` answers to a job, with the cost of its process.

    Args:
      job: JSON values, the arguments of the module's `measure`.
      folder: for the job, the answer and the log.
      limit, given: as in `run`.
    """
    files = {name: folder / f"{name}.json" for name in ("job", "answer")}
    files["job"].write_text(json.dumps(job), encoding="utf-8")
    files["answer"].unlink(missing_ok=True)
    cost = run(module, *map(str, files.values()), log=folder / "log.txt", limit=limit, **given)
    answer = json.loads(files["answer"].read_text(encoding="utf-8"))
    return {**answer, **cost.as_measures()}


def answer(measure) -> None:
    """The other end of `ask`: the main program of such a module."""
    job, answer = map(pathlib.Path, sys.argv[1:])
    found = measure(**json.loads(job.read_text(encoding="utf-8")))
    answer.write_text(json.dumps(found), encoding="utf-8")


def define_cache_flag(flag_values: flags.FlagValues) -> None:
    """`--cache_dir`, as the commands of the package have it."""
    flags.DEFINE_string(
        "cache_dir",
        os.environ.get("SENTIMENT_TRAIN_CACHE", "~/.cache/sentiment_train"),
        "Local directory of encoded data sets.",
        flag_values=flag_values,
    )
