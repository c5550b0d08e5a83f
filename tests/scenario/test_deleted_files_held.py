"""The output is down and logs rotate on: what was deleted is held open up to a limit, then given up and counted."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from harness.receiver import MemoryReceiver
from harness.world import World

LINES = 1000
SIZE = 200
HELD = LINES * SIZE * 3


@pytest.fixture
def receiver() -> MemoryReceiver:
    return MemoryReceiver()


def rotate_away(world: World, name: str) -> list[int]:
    """Writes a file that the daemon reads for its metrics, and deletes it; returns its lines."""
    numbers = world.write(name, LINES, size=SIZE)
    world.run()
    world.path(name).unlink()
    world.run()
    return numbers


def disk_bytes(world: World) -> int:
    """What deleted files hold."""
    return sum(each.stat().st_blocks * 512 for each in world.pipeline.roster.all() if each.is_open and each.is_deleted)


def test_below_the_limit_nothing_is_lost(tmp_path: Path, receiver: MemoryReceiver) -> None:
    """Files that were deleted long before the output came back are delivered whole."""
    with World(tmp_path, receiver=receiver, held_deleted_bytes=10 * HELD) as world:
        receiver.has_place = False
        for number in range(5):
            rotate_away(world, f"app.log.{number}")
        world.run(3600)
        receiver.has_place = True
        world.run()
        world.assert_exact()


def test_beyond_the_limit_the_oldest_are_given_up(
    tmp_path: Path, receiver: MemoryReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    """The disk space is bounded all the time, the metrics are exact, and what is lost is said to the byte."""
    with World(tmp_path, receiver=receiver, held_deleted_bytes=HELD) as world:
        receiver.has_place = False
        files = []
        for number in range(8):
            files.append(rotate_away(world, f"app.log.{number}"))
            assert disk_bytes(world) <= HELD
        receiver.has_place = True
        world.run()

        kept = [number for numbers in files[-2:] for number in numbers]
        assert world.shipped() == kept
        assert world.counted() == dict.fromkeys(range(1, 8 * LINES + 1), 1)
        assert world.metric("unread_lost_bytes_total", source="app", reason="given_up") == 6 * LINES * SIZE
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len([text for text in said if "held_deleted_bytes" in text]) == 1
    assert len([text for text in said if "given up before" in text]) == 6


def test_a_reload_hands_over_what_only_an_open_descriptor_leads_to(tmp_path: Path, receiver: MemoryReceiver) -> None:
    """A deleted file, and one that was moved where no pattern looks, are read on by the next engine."""
    with World(tmp_path, receiver=receiver) as world:
        receiver.has_place = False
        world.write("app.log.1", 10)
        world.write("app.log.2", 10)
        world.run()
        world.path("app.log.1").unlink()
        world.path("app.log.2").rename(world.elsewhere / "app.log.2")
        world.run()
        world.reload()
        receiver.has_place = True
        world.run()
        world.assert_exact()
