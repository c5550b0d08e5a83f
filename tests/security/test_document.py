"""docs/security.md names tests that exist."""

import ast
import re
from pathlib import Path

from exporter.webconfig import parse_web_config

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "security.md").read_text()


def test_every_test_that_is_named_exists() -> None:
    """What the document says is shown by a test is shown by one."""
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)
    assert named
    missing = [f"{file}::{test}" for file, test in named if test not in functions(ROOT / file)]
    assert [] == missing


def test_the_web_config_that_it_shows_is_one() -> None:
    """As it stands there."""
    text = re.search(r"<!-- begin web config -->\n```yaml\n(.*?)```", TEXT, re.DOTALL)
    assert text is not None
    config = parse_web_config(text[1].encode(), file="web.yml", directory=ROOT)
    assert list(config.users) == ["prometheus"]
    assert config.warnings == ()


def functions(file: Path) -> set[str]:
    tree = ast.parse(file.read_text()) if file.is_file() else ast.Module([], [])
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
