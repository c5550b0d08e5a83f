"""Pytest fixtures for the real counterparts, loaded by `tests/conftest.py`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.sink import Sink


@pytest.fixture
def sink() -> Iterator[Sink]:
    """A bulk sink of its own for one test, keeping its documents, without faults."""
    with Sink(seed=1) as started:
        yield started
