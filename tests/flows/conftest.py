"""The encoded data that all flows share, and a program in a folder of its own."""

from __future__ import annotations

import pathlib

import pytest
from program import Program


@pytest.fixture(scope="session")
def cache(tmp_path_factory) -> pathlib.Path:
    """The encoded data of all flows."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def program(tmp_path, cache) -> Program:
    return Program(tmp_path, cache)
