"""The machine in a few words."""

from __future__ import annotations

import os
import platform
import re

import pytest

from sentiment_train.campaigns import machine


def test_it_names_processor_cores_memory_and_system():
    words = machine.describe()
    assert re.search(r"\b\d+ cores?, \d+ GB\b", words)
    assert words.endswith(f"{platform.system()} {platform.machine()}")
    assert ", ," not in words


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_the_cores_are_those_that_the_process_may_use():
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert "1 core," in machine.describe()
    finally:
        os.sched_setaffinity(0, allowed)


def test_gpus_are_named_as_the_driver_does(tmp_path, monkeypatch):
    driver = tmp_path / "nvidia-smi"
    driver.write_text("#!/bin/sh\nprintf 'NVIDIA L4\\nNVIDIA L4\\nNVIDIA T4\\n'\n")
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert "2 × NVIDIA L4, 1 × NVIDIA T4" in machine.describe()
    driver.write_text("#!/bin/sh\necho 'no device was found'; exit 6\n")
    assert "device" not in machine.describe()
