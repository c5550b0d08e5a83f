"""Values of options that no command can do anything with: a message and exit code 2."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from shipper.cli import main


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (["replay", "x", "--rate", "nan"], "'nan' is no finite number"),
        (["replay", "x", "--rate", "inf"], "'inf' is no finite number"),
        (["replay", "x", "--metrics", "m", "--step", "nan"], "'nan' is no finite number"),
        (["demo", "--rate", "0"], "0.0 is not in the range x>0"),
        (["demo", "--rate", "nan"], "'nan' is no finite number"),
        (["demo", "--seconds", "-1"], "-1.0 is not in the range x>=0"),
        (["explain", "-n", "-1"], "-1 is not in the range"),
        (["dead-letter", "show", "--limit", "-1"], "-1 is not in the range"),
        (["audit", "x", "--show", "-1"], "-1 is not in the range"),
        (["audit", "x", "--show", "9" * 20], "is not in the range"),
    ],
)
def test_numbers_that_mean_nothing(typed: list[str], expected: str) -> None:
    """Neither a traceback nor a command that never ends."""
    done = CliRunner().invoke(main, typed)

    assert done.exit_code == 2
    assert expected in done.output


@pytest.mark.parametrize("option", ["--metrics", "--blocks"])
def test_history_goes_into_directories(tmp_path: Path, option: str) -> None:
    """A file in that place is told before anything is read."""
    (tmp_path / "file").touch()

    done = CliRunner().invoke(main, ["replay", str(tmp_path), option, str(tmp_path / "file"), "--no-ship"])

    assert done.exit_code == 2
    assert f"{option}: '{tmp_path}/file' is there and no directory" in done.output
