"""What two files that begin with the same line are to each other."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from harness.world import World

HEADER = b'{"msg":"log opened"}\n'


@pytest.mark.parametrize("has_line", [False, True])
def test_a_file_with_nothing_but_a_header_is_no_part_of_another(tmp_path: Path, *, has_line: bool) -> None:
    """Both are followed where the header is all that they share; one is the other's copy where a line is."""
    with World(tmp_path) as world:
        shared = HEADER + (world.lines(1) if has_line else b"")
        world.append("app.log.1", shared)
        world.run()
        world.append("app.log", shared + world.lines(1))
        world.run()
        assert world.names() == (["app.log"] if has_line else ["app.log", "app.log.1"])
        assert world.shipped() == list(range(1, world.written + 1))


def test_an_archive_is_taken_up_when_its_last_member_can_have_come(tmp_path: Path) -> None:
    """Until it has not changed for a while, the line in which its first member ends is no first line."""
    with World(tmp_path) as world:
        line = world.line(size=200)
        world.append("app.log.1.gz", gzip.compress(line[:100]))
        world.run(3)
        assert world.names() == []
        world.append("app.log.1.gz", gzip.compress(line[100:]))
        world.run()
        world.assert_exact()
