"""What two files that begin with the same line are to each other."""

from __future__ import annotations

import gzip
import os
import shutil
from pathlib import Path

import pytest
from harness.receiver import MemoryReceiver
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


@pytest.mark.parametrize("is_compressed", [False, True])
def test_a_copy_is_asked_again_once_what_it_shares_has_been_read(tmp_path: Path, *, is_compressed: bool) -> None:
    """What both had may have been emptied in the file, unread, and what follows the header there is something else: a
    line that only the copy has is counted and shipped from it.
    """
    receiver = MemoryReceiver()
    with World(tmp_path, receiver=receiver) as world:
        world.append("app.log", HEADER)
        world.run()
        receiver.has_place = receiver.is_answering = False
        world.write("app.log", size=50)
        if is_compressed:
            world.path("app.log.1.gz").write_bytes(gzip.compress(world.path("app.log").read_bytes()))
        else:
            shutil.copyfile(world.path("app.log"), world.path("app.log.1"))
        world.pipeline.roster.scan_now()
        world.step()
        os.truncate(world.path("app.log"), 0)
        world.append("app.log", HEADER)
        world.write("app.log", size=60)
        receiver.has_place = receiver.is_answering = True
        world.run(20)
        world.assert_exact()


def test_a_copy_is_settled_once_what_it_shares_has_been_read(tmp_path: Path) -> None:
    """A last line without its end is no reason to wait for more: a run that reads all there is comes to its end."""
    with World(tmp_path, reads_once=True) as world:
        shared = HEADER + world.lines(1) + b"no JSON, no end"
        world.append("app.log", shared)
        world.append("app.log.1", shared)
        world.run_once()
        assert world.pipeline.roster.is_settled
        assert world.shipped() == [1]
