"""Which files belong to which source: where a file lies there no more, its path alone says it."""

from __future__ import annotations

from pathlib import Path

import pytest

from shipper.discover import would_match
from shipper.settings import SourceSettings


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("logs/*.log", "logs/app.log", True),
        ("logs/*.log", "other/app.log", False),
        ("logs/*.log", "logs/app.txt", False),
        ("logs/**/*.log", "logs/app.log", True),
        ("logs/**/*.log", "logs/a/b/app.log", True),
        ("logs/**", "logs/a/app.txt", True),
        ("*/app.log", "logs/app.log", True),
        ("logs/app.log", "logs/app.log", True),
        ("logs/app.log", "logs/app.log.1", False),
        ("logs", "logs/app.log", True),
        ("logs", "logs/app.txt", False),
        ("logs/*", "logs/skipped.log", False),
    ],
)
def test_a_path_of_which_the_file_is_gone(tmp_path: Path, pattern: str, name: str, *, expected: bool) -> None:
    """As the pattern would find it."""
    source = SourceSettings(name="app", paths=(str(tmp_path / pattern),), exclude=("skipped*",))
    assert expected == would_match(source, str(tmp_path / name))
