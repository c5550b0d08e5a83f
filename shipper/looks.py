"""When to look at which file again, and what a look says.

The kernel would report every `write()`; one `fstat` at a fitting moment says the same for any number of them: often
while a file grows, seldom while it rests, never more often than pays.
"""

from __future__ import annotations

import heapq
from enum import Enum

from shipper.contents import Key
from shipper.followed import Followed

FIRST_SECONDS = 0.05
SLOWEST_SECONDS = 0.5
PAYING_BYTES = 32 << 10
"""A file that grows is looked at when about so much is new, within these bounds: each read costs as much as many lines,
and what was not read when a file is emptied is lost."""
LONGEST_SECONDS = 1.0
QUIET_SECONDS = 20.0
"""Unchanged for so long, a file is looked at half as often."""
GRID_SECONDS = (1.0, 0.25)
"""Looks fall together on a grid, the coarsest that the interval allows: a wake-up costs more than a look."""
LOOKS_A_SECOND = 500
"""Thousands of files that rest are looked at seldomer, so that they cost no more than this."""


class Sight(Enum):
    """What a look says of a file that is followed."""

    SAME = "same"
    CHANGED = "changed"
    SHRUNK = "shrunk"
    """Emptied or cut: it holds less than was seen."""
    ELSEWHERE = "elsewhere"
    """Another file has its place, or none."""


def sight_of(*, key: Key, size: int, mtime_ns: int, now: tuple[Key, int, int] | None) -> Sight:
    """What became of a file of which key, size and modification time are known; `now` has them as they are, or None."""
    if now is None or now[0] != key:
        return Sight.ELSEWHERE
    if now[1] < size:
        return Sight.SHRUNK
    return Sight.SAME if now[1:] == (size, mtime_ns) else Sight.CHANGED


def interval_of_growth(grown_bytes: int, *, seconds: float) -> float:
    """The pause after a look that found so much more than the one before, which was so long ago."""
    if grown_bytes <= 0 or seconds > LONGEST_SECONDS:
        return FIRST_SECONDS
    return min(max(FIRST_SECONDS, PAYING_BYTES * seconds / grown_bytes), SLOWEST_SECONDS)


def next_interval(interval: float, *, quiet_seconds: float, files: int) -> float:
    """The pause after a look that found nothing, from the pause before it."""
    longest = LONGEST_SECONDS * (2 if quiet_seconds > QUIET_SECONDS else 1)
    return min(max(FIRST_SECONDS, interval * 2), max(longest, files / LOOKS_A_SECOND))


def next_look(now: float, interval: float) -> float:
    """The time on the grid that is nearest to the end of the pause, not after it."""
    at = now + interval
    for grid in GRID_SECONDS:
        if interval >= grid:
            on_grid = at // grid * grid
            return on_grid if on_grid > now else on_grid + grid
    return at


class Looks:
    """The files that wait for their next look. A file stands in it once; an earlier time replaces a later one."""

    def __init__(self) -> None:
        self._at: dict[float, list[Followed]] = {}  # all that rest share few times
        self._times: list[float] = []  # its keys, a heap
        self._pauses: dict[tuple[float, bool], tuple[float, float]] = {}  # of this moment: what is alike rests alike
        self._moment = 0.0

    def put(self, followed: Followed, at: float) -> None:
        if followed.next_look is not None and followed.next_look <= at:
            return
        followed.next_look = at
        together = self._at.get(at)
        if together is None:
            self._at[at] = [followed]
            heapq.heappush(self._times, at)
        else:
            together.append(followed)

    def after_reading(self, followed: Followed, now: float) -> None:
        """When everything was read that the last look had found."""
        self.put(followed, next_look(now, max(followed.interval, FIRST_SECONDS)))

    def later(self, followed: Followed, now: float, *, files: int) -> None:
        """After a look that found nothing."""
        if now != self._moment:
            self._moment = now
            self._pauses.clear()
        quiet = now - followed.changed_at
        alike = followed.interval, quiet > QUIET_SECONDS
        pause = self._pauses.get(alike)
        if pause is None:
            interval = next_interval(followed.interval, quiet_seconds=quiet, files=files)
            self._pauses[alike] = pause = interval, next_look(now, interval)
        followed.interval, at = pause
        self.put(followed, at)

    def due(self, now: float) -> list[Followed]:
        """Takes out those whose time has come."""
        due = []
        while self._times and self._times[0] <= now:
            at = heapq.heappop(self._times)
            for followed in self._at.pop(at):
                if followed.next_look == at:
                    followed.next_look = None
                    due.append(followed)
        return due

    def next_at(self) -> float | None:
        return self._times[0] if self._times else None
