"""How the tests are shared out among the processes of pytest-xdist: by module, those that take long first.

The modules that use the shared servers stay in one process, so that each of these servers is started once.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

_SHARED = re.compile(r"\b(elasticsearch\w*|opensearch3?|any_server|servers): (Remote|Servers)\b")
_LONGEST_FIRST = ("shared servers", "e2e", "scenario", "harness_tests", "property", "security", "unit")


class _ByModule(LoadScopeScheduling):  # type: ignore[misc]
    def _split_scope(self, nodeid: str) -> str:
        return _unit_of(self.config.rootpath / nodeid.partition("::")[0])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    config.option.loadscopereorder = False
    return _ByModule(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: _rank(item.path))  # keeps the order within a module


def _rank(path: Path) -> int:
    unit = _unit_of(path)
    kind = unit if unit in _LONGEST_FIRST else path.parent.name
    return _LONGEST_FIRST.index(kind) if kind in _LONGEST_FIRST else len(_LONGEST_FIRST)


@cache
def _unit_of(path: Path) -> str:
    return "shared servers" if _SHARED.search(path.read_text()) else str(path)
