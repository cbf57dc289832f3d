"""The machine that this process runs on, in a few words for tables."""

from __future__ import annotations

import collections
import os
import pathlib
import platform
import shutil
import subprocess

from sentiment_train.runtime.runtime import available_cores


def describe() -> str:
    """Such as `AMD EPYC 7B13, 2 cores, 8 GB, Linux x86_64`; what cannot be found out is left out.

    The cores are those that this process may use. NVIDIA's GPUs are named behind them.
    """
    cores = available_cores()
    parts = [_processor(), f"{cores} core{'s' if cores != 1 else ''}", _memory(), *_gpus()]
    return ", ".join(filter(None, [*parts, f"{platform.system()} {platform.machine()}"]))


def _processor() -> str:
    if platform.system() == "Linux":
        for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.lower().startswith("model name"):  # ARM boards have none
                return line.partition(":")[2].strip()
    if platform.system() == "Darwin":
        name = subprocess.run(
            ["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True
        )
        return name.stdout.strip()
    return platform.processor()


def _gpus() -> list[str]:
    """`["2 × NVIDIA L4"]`, as the driver names them, whether the process uses them or not."""
    if not shutil.which("nvidia-smi"):
        return []
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    names = subprocess.run(command, capture_output=True, text=True)
    if names.returncode:
        return []  # a driver without a device
    counted = collections.Counter(names.stdout.split("\n"))
    return [f"{count} × {name.strip()}" for name, count in counted.items() if name.strip()]


def _memory() -> str:
    """Of the whole machine; a container may be allowed less."""
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", {}):
        return ""  # Windows
    return f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GB"
