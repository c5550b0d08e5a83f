"""How many lines a second all workers together send: one clock for all of them, in a file that each locks briefly."""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

_CLOCK = struct.Struct("<d")


class Pace:
    """`take` says from when on the next batch may be read. Time that was not used is not saved up.

    `clock`: a file of the replay's own; it holds when the next line may go, in monotonic seconds.
    """

    def __init__(self, *, lines_per_second: float, clock: Path | None) -> None:
        """0 lines a second, or no clock: as fast as it goes. Raises OSError."""
        self._rate = lines_per_second
        self._descriptor = -1
        if lines_per_second and clock is not None:
            self._descriptor = os.open(clock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def take(self, count: int, *, now: float) -> float:
        """Monotonic seconds; not later than `now` if there is no need to wait. Raises OSError."""
        if self._descriptor < 0 or not count:
            return 0.0
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        try:
            found = os.pread(self._descriptor, _CLOCK.size, 0)
            free_at = _CLOCK.unpack(found)[0] if len(found) == _CLOCK.size else 0.0
            free_at = max(free_at, now) + count / self._rate
            os.pwrite(self._descriptor, _CLOCK.pack(free_at), 0)
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        return free_at

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
