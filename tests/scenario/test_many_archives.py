"""More compressed files than may be open at a time: memory is for a few, and each is read through once."""

from __future__ import annotations

import gzip
from pathlib import Path

from harness.receiver import MemoryReceiver
from harness.world import World

from shipper.openfiles import ARCHIVES

COUNT = 3 * ARCHIVES
LINES = 1_000
"""Several batches each, so that all would be open at once if they took turns."""


def write_archives(world: World) -> None:
    for number in range(COUNT):
        world.path(f"app.{number}.log.gz").write_bytes(gzip.compress(world.lines(LINES, size=100)))


def open_archives(world: World) -> int:
    return sum(followed.is_open and followed.is_compressed for followed in world.pipeline.roster.all())


def test_few_are_open_and_all_arrive(tmp_path: Path) -> None:
    """At no step more than a few; every line is a document once and counted once."""
    with World(tmp_path) as world:
        write_archives(world)
        most = 0
        while len(world.shipped()) < COUNT * LINES:
            world.now += max(world.step(), 0.001)
            most = max(most, open_archives(world))
        world.run()

        world.assert_exact()
        assert most == ARCHIVES


def test_while_the_output_has_no_room(tmp_path: Path) -> None:
    """Those that wait for room keep their place: none is read again from its beginning, none is passed over."""
    receiver = MemoryReceiver()
    with World(tmp_path, receiver=receiver) as world:
        write_archives(world)
        for _ in range(20):
            receiver.has_place = False
            world.run(1.0)
            receiver.has_place = True
            world.step()
        world.run(60.0)

        world.assert_exact()


def test_plain_files_do_not_wait_for_them(tmp_path: Path) -> None:
    """What is written now is shipped while archives wait for each other."""
    with World(tmp_path) as world:
        write_archives(world)
        world.write("live.log", 10)
        live = set(range(world.written - 9, world.written + 1))
        while not live <= set(world.shipped()):
            world.now += max(world.step(), 0.001)

        assert len(world.shipped()) < COUNT * LINES


def test_metrics_do_not_wait_for_the_output(tmp_path: Path) -> None:
    """With the output down every archive is counted, also those beyond the few that may be open; then all arrive."""
    receiver = MemoryReceiver()
    receiver.has_place = False
    with World(tmp_path, receiver=receiver) as world:
        write_archives(world)
        world.run(60.0)
        assert world.counted() == dict.fromkeys(range(1, world.written + 1), 1)
        assert world.shipped() == []

        receiver.has_place = True
        world.run(60.0)

        world.assert_exact()
