"""The output is down for an hour while logs are written and rotated: nothing piles up, metrics go on, all arrives.

The hour is of the world's own clock, and its lines are fewer than a busy service writes: what piles up would show.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

from harness.receiver import MemoryReceiver
from harness.world import World

from shipper.batch import Documents

LINES_A_SECOND = 10
STEP_SECONDS = 30
ROTATED_SECONDS = 300
ROOM_BATCHES = 4
MOST_KEPT_BYTES = 64 << 10
"""Two files more are followed at the end of ten minutes."""


class OrderedReceiver(MemoryReceiver):
    """Remembers which offsets of which file came when."""

    def __init__(self) -> None:
        super().__init__()
        self.most_under_way = ROOM_BATCHES
        self.order: dict[str, list[int]] = {}

    def submit(self, documents: Documents) -> None:
        self.order.setdefault(documents.batch.identity, []).append(documents.batch.start)
        super().submit(documents)


def write_for(world: World, seconds: int) -> None:
    """A service at work, its log renamed every five minutes."""
    for second in range(0, seconds, STEP_SECONDS):
        world.write("app.log", LINES_A_SECOND * STEP_SECONDS, size=120)
        world.run(STEP_SECONDS)
        if (second + STEP_SECONDS) % ROTATED_SECONDS == 0:
            world.path("app.log").rename(world.path(f"app.log.{int(world.now)}"))


def kept_bytes_of(act: Callable[[], None]) -> int:
    """What the daemon's own modules have allocated meanwhile and keep."""
    tracemalloc.start()
    try:
        act()
        snapshot = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, "*/shipper/*")])
    finally:
        tracemalloc.stop()
    return sum(trace.size for trace in snapshot.traces)


def test_memory_is_flat_metrics_are_current_and_all_arrives_in_order(tmp_path: Path) -> None:
    """At each moment every line is counted; what is under way is bounded; at the end each is delivered once."""
    receiver = OrderedReceiver()
    with World(tmp_path, receiver=receiver) as world:
        write_for(world, 60)
        receiver.is_answering = False
        for _ in range(10):
            write_for(world, 300)
            assert world.counted() == dict.fromkeys(range(1, world.written + 1), 1)
            assert len(receiver.under_way) <= ROOM_BATCHES
        assert kept_bytes_of(lambda: write_for(world, 600)) < MOST_KEPT_BYTES
        assert world.written > LINES_A_SECOND * 3600

        receiver.is_answering = True
        world.run(60)
        world.assert_exact()
    assert [sorted(starts) for starts in receiver.order.values()] == list(receiver.order.values())
