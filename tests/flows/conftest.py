"""A program in a folder of its own."""

from __future__ import annotations

import pytest
from program import Program


@pytest.fixture
def program(tmp_path, cache) -> Program:
    return Program(tmp_path, cache)
