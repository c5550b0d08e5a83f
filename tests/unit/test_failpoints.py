"""The failpoints: every name is a place in the program, and every place has a name; a wrong one is refused."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shipper.failpoints import NAMES, VARIABLE, chosen

ROOT = Path(__file__).parents[2]
PASSING = ("failpoint", "_change")
"""Functions whose last argument is a failpoint's name."""


def _passed_in(path: Path) -> list[str]:
    """The names with which a module passes failpoints."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    last = [call.args[-1] for call in calls if isinstance(call.func, ast.Name) and call.func.id in PASSING]
    return [str(each.value) for each in last if isinstance(each, ast.Constant)]


def test_names_and_places_are_the_same() -> None:
    """The crash harness goes by the names: a place without one would be killed by nobody."""
    places = [name for path in sorted((ROOT / "shipper").rglob("*.py")) for name in _passed_in(path)]

    assert sorted(NAMES) == sorted(places)


@pytest.mark.parametrize("value", ["local.after_synk", "local", "local.after_sync:x", ":1", "local.after_sync:-1"])
def test_a_wrong_value_is_refused(value: str) -> None:
    """It would let a test pass that kills nothing."""
    with pytest.raises(SystemExit, match=f"{VARIABLE}={value}: no such failpoint"):
        chosen(value)


def test_the_process_ends_at_the_passing_that_was_asked_for() -> None:
    """At once, as `kill -9` does it: nothing is flushed, no handler runs."""
    code = """
import atexit; from shipper.failpoints import failpoint
atexit.register(print, "never")
for number in range(5):
    failpoint("local.after_sync"); failpoint("local.before_write"); print(number, flush=True)
"""
    environ = {**os.environ, "PYTHONPATH": str(ROOT), VARIABLE: "local.after_sync:3"}
    ended = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)

    assert (-signal.SIGKILL, "0\n1\n") == (ended.returncode, ended.stdout)


def test_an_error_is_one_at_each_passing() -> None:
    """So a disk stays full."""
    failpoint = chosen("local.after_sync:error")

    failpoint("local.before_write")
    for _ in range(2):
        with pytest.raises(OSError, match="no space left"):
            failpoint("local.after_sync")
