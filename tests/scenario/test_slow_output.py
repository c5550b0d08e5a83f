"""The output takes less than there is to read, but never stands still: metrics wait for it a while, and not longer.

The cursors part only then: to read twice at a slight overload would make the overload worse.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from harness.receiver import MemoryReceiver
from harness.world import World

from shipper.pipeline import LATE_SECONDS, STALL_SECONDS

ANSWER_SECONDS = 2.0
LINES = 40_000
SIZE = 120


class SlowReceiver(MemoryReceiver):
    """Takes one batch at a time, and two seconds for it."""

    def __init__(self) -> None:
        super().__init__()
        self.most_under_way = 1
        self.world: World | None = None
        self._answered_at = 0.0

    def answer(self) -> int:
        now = self.world.now if self.world is not None else 0.0
        if now - self._answered_at < ANSWER_SECONDS:
            return 0
        self._answered_at = now
        return super().answer()


def slow_world(directory: Path, *, reads_once: bool = False) -> World:
    """Its output is never without room for so long that it counts as standing still."""
    assert ANSWER_SECONDS < STALL_SECONDS
    receiver = SlowReceiver()
    world = World(directory, receiver=receiver, reads_once=reads_once)
    receiver.world = world
    return world


@pytest.mark.parametrize("is_backlog", [False, True], ids=["written while it runs", "there when it starts"])
def test_metrics_wait_for_a_while_only(tmp_path: Path, *, is_backlog: bool) -> None:
    """Whether the lines come while the daemon looks, or lay there when it started, as after an hour of being down."""
    with slow_world(tmp_path) as world:
        if is_backlog:
            world.stop()
        world.write("app.log", LINES, size=SIZE)
        if is_backlog:
            world.start()
        world.run(LATE_SECONDS - 5)
        assert 0 < len(world.counted()) < LINES / 2, "at first they are read together"
        world.run(10)
        assert dict.fromkeys(range(1, LINES + 1), 1) == world.counted()
        assert len(world.shipped()) < LINES / 2
        world.run(200)
        world.assert_exact()


def test_what_reads_once_reads_once(tmp_path: Path) -> None:
    """Nobody looks at the metrics of a run that ends with its files: nothing is read twice for them."""
    world = slow_world(tmp_path, reads_once=True)
    world.write("app.log", LINES, size=SIZE)
    with world:
        world.run(LATE_SECONDS + 20)
        assert world.followed("app.log").is_joined
        world.run_once()
        world.assert_exact()
