"""docs/reliability.md: the tests that it names are there, and its words are the program's."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from shipper.verdicts import Place

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/reliability.md").read_text()


def test_every_test_that_is_named_is_there() -> None:
    """A promise that names a test which was renamed or deleted would be shown by nothing."""
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)

    assert len(named) > 20
    assert [] == [f"{path}::{name}" for path, name in named if name not in _tests_of(path)]


def _tests_of(path: str) -> set[str]:
    file = ROOT / path
    if not file.exists():
        return set()
    return {node.name for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)}


def test_every_scenario_stands_there() -> None:
    """A story that is told by no row is one that nobody finds."""
    named = set(re.findall(r"`(tests/scenario/\w+\.py)::(\w+)`", TEXT))
    told = {
        (str(path.relative_to(ROOT)), name)
        for path in (ROOT / "tests/scenario").glob("test_*.py")
        for name in _tests_of(str(path.relative_to(ROOT)))
        if name.startswith("test_")
    }

    assert len(told) > 100
    assert [] == sorted(told - named)


def test_every_place_of_a_line_is_explained() -> None:
    """The table of the audit has each word that the audit uses."""
    assert [] == [place.value for place in Place if f"| {place.value} |" not in TEXT]
