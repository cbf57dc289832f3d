"""The encoded data that all flows share, and a program in a folder of its own."""

from __future__ import annotations

import pathlib

import pytest
from program import Program


@pytest.fixture(scope="session")
def cache(tmp_path_factory, worker_id) -> pathlib.Path:
    """The encoded data of all flows, in whatever process of the tests they run."""
    folder = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        folder = folder.parent
    (folder / "cache").mkdir(exist_ok=True)
    return folder / "cache"


@pytest.fixture
def program(tmp_path, cache) -> Program:
    return Program(tmp_path, cache)
