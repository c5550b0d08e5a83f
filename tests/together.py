"""Tests that wait most of their time, at work some at a time: those of one module that are marked `together`.

Such a test takes its directory as `directory` and its bulk sink as `own_sink`, both made in its thread, and parameters.
The first one that is run starts all of its module that were chosen; each then has its own outcome.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from harness.sink import Sink

AT_ONCE = 4
_OUTCOMES = pytest.StashKey[dict[str, "Future[None]"]]()
_POOL = pytest.StashKey[ThreadPoolExecutor]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "together: waits most of its time, and is run beside others of its module")
    config.stash[_OUTCOMES] = {}
    config.stash[_POOL] = ThreadPoolExecutor(AT_ONCE)


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[_POOL].shutdown(cancel_futures=True)


@pytest.fixture
def directory() -> None:
    """Made in the test's thread."""


@pytest.fixture
def own_sink() -> None:
    """Started in the test's thread."""


def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """True for a test that was run here."""
    if not _is_together(pyfuncitem):
        return None
    outcomes = pyfuncitem.config.stash[_OUTCOMES]
    if pyfuncitem.nodeid not in outcomes:
        factory: pytest.TempPathFactory = pyfuncitem._request.getfixturevalue("tmp_path_factory")
        for item in _of_module(pyfuncitem):
            place = factory.mktemp(re.sub(r"\W", "-", item.name)[:40])
            outcomes[item.nodeid] = pyfuncitem.config.stash[_POOL].submit(_run, item, place)
    outcomes[pyfuncitem.nodeid].result()
    return True


def _is_together(item: pytest.Item) -> bool:
    return item.get_closest_marker("together") is not None


def _of_module(test: pytest.Function) -> Iterator[pytest.Function]:
    for item in test.session.items:
        if isinstance(item, pytest.Function) and item.path == test.path and _is_together(item):
            yield item


def _run(item: pytest.Function, directory: Path) -> None:
    given: dict[str, Any] = dict(item.callspec.params) if hasattr(item, "callspec") else {}
    with ExitStack() as stack:
        if "directory" in item.fixturenames:
            given["directory"] = directory
        if "own_sink" in item.fixturenames:
            given["own_sink"] = stack.enter_context(Sink(seed=1))
        item.obj(**given)
