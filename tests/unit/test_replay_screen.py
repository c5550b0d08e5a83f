"""What a replay says of itself while it goes on."""

from __future__ import annotations

import io

from shipper.progress import Progress
from shipper.replay.records import FileRecord
from shipper.replay.screen import Memory, Screen


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_time_left_is_said_only_while_something_moves() -> None:
    """Where a server takes nothing, the time left would grow with every line."""
    clock, records, stream = Clock(), Memory(), io.StringIO()
    progress = Progress(what="replay", total=1000, stream=stream, monotonic=clock)
    screen = Screen(records, total_bytes=1000, progress=progress, monotonic=clock)

    clock.now = 1.0
    screen.advanced(0)
    assert screen.detail == "0 new, 0 already there, 0 set aside"
    records.put(0, FileRecord(path="a", source="s", lines=50))
    clock.now = 10.0
    screen.advanced(250)
    clock.now = 25.0
    screen.advanced(0)
    clock.now = 36.0
    screen.advanced(250)

    assert [
        "replay: 25% 0:00:30 left, 5 lines/s, 0 new, 0 already there, 0 set aside",
        "replay: 25% nothing has moved for 0:00:15, 0 new, 0 already there, 0 set aside",
        "replay: 50% 0:00:36 left, 1 lines/s, 0 new, 0 already there, 0 set aside",
    ] == stream.getvalue().splitlines()
