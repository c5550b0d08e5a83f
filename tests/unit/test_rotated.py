"""Which files were renamed before anyone met them."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from shipper.rotated import is_rotated, is_settled_rotation

NOW = time.time()


def written(path: Path, seconds_ago: float) -> Path:
    path.write_text("x\n")
    os.utime(path, (NOW - seconds_ago, NOW - seconds_ago))
    return path


@pytest.mark.parametrize(
    ("name", "successor", "expected"),
    [
        ("app.log.1", "app.log", True),
        ("0.log.20240115-100000", "0.log", True),
        ("abc-json.log.1", "abc-json.log", True),
        ("app.log-20240115", "app.log", True),
        ("app.log", "app.log.1", False),
        ("app1.log", "app.log", False),  # Winston goes on there
        ("app-2024-01-15.log", "app.log", False),
        ("app.log.1", "web.log", False),
    ],
)
def test_its_name_and_the_file_that_it_made_room_for(
    tmp_path: Path, name: str, successor: str, *, expected: bool
) -> None:
    """A number or a date behind the name of a file that lies beside it and was written to last."""
    path = written(tmp_path / name, 60)
    written(tmp_path / successor, 50)
    assert expected == is_rotated(str(path))


def test_a_file_that_was_written_to_last_is_not_rotated(tmp_path: Path) -> None:
    """Whatever its name: its logger may call it so."""
    path = written(tmp_path / "app.log.2024-01-15", 50)
    written(tmp_path / "app.log", 60)
    assert not is_rotated(str(path))


def test_a_symlink_makes_no_room(tmp_path: Path) -> None:
    """Loggers leave one that leads to the newest file."""
    path = written(tmp_path / "app.log.2024-01-15", 50)
    (tmp_path / "app.log").symlink_to(path)
    assert not is_rotated(str(path))


def test_one_that_is_alone_or_gone(tmp_path: Path) -> None:
    """Nothing says what it is."""
    path = written(tmp_path / "app.log.1", 60)
    assert not is_rotated(str(path))
    path.unlink()
    assert not is_rotated(str(path))
    assert not is_settled_rotation(str(path))


def test_it_has_to_rest_before_it_counts_as_ended(tmp_path: Path) -> None:
    """Its writer may have it open still."""
    path = written(tmp_path / "app.log.1", 60)
    written(tmp_path / "app.log", 0)
    assert is_settled_rotation(str(path))
    os.utime(path)
    os.utime(tmp_path / "app.log")
    assert not is_settled_rotation(str(path))
