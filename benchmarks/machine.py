"""The machine that was measured on, what else it did, and the versions of what was measured."""

from __future__ import annotations

import os
import platform
from importlib import metadata

MEASURED = ("tensorflow", "keras", "torch", "scikit-learn", "scipy", "fasttext-numpy2-wheel")


def versions() -> dict[str, str]:
    """Of Python and of those packages that are installed."""
    found = {"python": platform.python_version()}
    for name in MEASURED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def describe() -> str:
    """Such as `AMD EPYC, 2 cores, 24 GB, Linux x86_64`."""
    from sentiment_train.campaigns import machine

    return machine.describe()


def load() -> list[float]:
    """Processes that ran or wanted to, on average of the last 1, 5 and 15 minutes."""
    return [round(value, 1) for value in os.getloadavg()]


def environment() -> str:
    """All of it, as a sentence."""
    found = versions()
    named = [f"{name} {found[name]}" for name in ("tensorflow", "keras")]
    return (
        f"{describe()}; Python {found['python']}, {', '.join(named)};"
        f" load average {', '.join(map(str, load()))} at the end (1, 5, 15 minutes; this benchmark"
        " alone makes up to 2)."
    )
