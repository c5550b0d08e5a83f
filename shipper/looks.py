"""When to look at which file again: often while it grows, seldom while it rests, never more often than pays.

The kernel would report every `write()`; one `fstat` at a fitting moment says the same for any number of them.
"""

from __future__ import annotations

import heapq
from itertools import count

from shipper.followed import Followed

FIRST_SECONDS = 0.05
LONGEST_SECONDS = 1.0
QUIET_SECONDS = 300.0
"""Unchanged for so long, a file is looked at half as often, or seldomer where there are thousands."""
GRID_SECONDS = 0.25
"""Looks fall together on a grid: a wake-up costs more than a look."""
LOOKS_A_SECOND = 1000


def next_interval(interval: float, *, quiet_seconds: float, files: int) -> float:
    """The pause after a look that found nothing, from the pause before it."""
    longest = LONGEST_SECONDS
    if quiet_seconds > QUIET_SECONDS:
        longest = max(2 * LONGEST_SECONDS, files / LOOKS_A_SECOND)
    return min(max(FIRST_SECONDS, interval * 2), longest)


def on_grid(at: float, interval: float) -> float:
    return (at // GRID_SECONDS + 1) * GRID_SECONDS if interval >= GRID_SECONDS else at


class Looks:
    """The files that wait for their next look. A file stands in it once; an earlier time replaces a later one."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Followed]] = []
        self._order = count()

    def put(self, followed: Followed, at: float) -> None:
        if followed.next_look is not None and followed.next_look <= at:
            return
        followed.next_look = at
        heapq.heappush(self._heap, (at, next(self._order), followed))

    def later(self, followed: Followed, now: float, *, files: int) -> None:
        """After a look that found nothing."""
        quiet = now - followed.changed_at
        followed.interval = next_interval(followed.interval, quiet_seconds=quiet, files=files)
        self.put(followed, on_grid(now + followed.interval, followed.interval))

    def due(self, now: float) -> list[Followed]:
        """Takes out those whose time has come."""
        due = []
        while self._heap and self._heap[0][0] <= now:
            at, _, followed = heapq.heappop(self._heap)
            if followed.next_look == at:
                followed.next_look = None
                due.append(followed)
        return due

    def next_at(self) -> float | None:
        return self._heap[0][0] if self._heap else None
