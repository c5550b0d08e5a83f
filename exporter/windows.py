"""Values that are about the last minutes: newest, greatest, share, and number of distinct values, all by event time.

A window is cut into slots. What is kept of a line is the slot that it falls into, so memory does not grow with lines,
and a line that comes late lands where it belongs. Windows reach from now back over whole slots: at least as far as
asked for, at most one slot further.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from exporter.sampling import DistinctSample, text_hash
from exporter.tallies import Number, checked_number
from shipper.expressions import label_text

SLOTS: Final = 30
AHEAD_SECONDS: Final = 600.0
"""What lies further ahead of the clock was counted while the clock was wrong."""

Timed = tuple[float, Any]
"""When a line happened (seconds since 1970), and its value."""


class GaugeTally:
    """The value of the newest line. A snapshot is its time and its value."""

    is_timed: Final = True
    zero: Final = None

    def __init__(self, *, expire_seconds: float) -> None:
        self._expire_seconds = expire_seconds

    def add(self, working: Timed | None, values: Iterable[Timed]) -> Timed | None:
        for timed in values:
            if working is None or timed[0] >= working[0]:
                working = timed
        return working

    def snapshot(self, working: Timed | None) -> Timed | None:
        return working

    def working(self, snapshot: Any) -> Timed | None:
        if snapshot is None:
            return None
        at, value = snapshot
        return float(checked_number(at)), checked_number(value)

    def stored(self, snapshot: Any) -> Any:
        return snapshot

    def shown(self, snapshot: Timed | None, now: float) -> Number | None:
        """The value; None if its line is too old."""
        return None if snapshot is None or self.is_over(snapshot, now) else snapshot[1]

    def is_over(self, working: Timed | None, now: float) -> bool:
        return working is None or not -AHEAD_SECONDS < now - working[0] < self._expire_seconds


class _WindowTally:
    """What the tallies over slots share. `working` is a dictionary whose keys are slots."""

    is_timed: Final = True
    zero: Final = None

    def __init__(self, *, window_seconds: float) -> None:
        self._width = window_seconds / SLOTS

    def stored(self, snapshot: Any) -> Any:
        return snapshot

    def is_over(self, working: dict[int, Any], now: float) -> bool:
        """True if no line lies in the window."""
        return not working or self._is_outside(max(working), now)

    def _is_outside(self, newest: int, now: float) -> bool:
        return not self._first_slot(now) <= newest <= self._slot(now + AHEAD_SECONDS)

    def _slot(self, at: float) -> int:
        return int(at // self._width)

    def _first_slot(self, now: float) -> int:
        return self._slot(now) - SLOTS

    def _in_window(self, working: dict[int, Any], now: float) -> list[Any]:
        first = self._first_slot(now)
        return [kept for slot, kept in working.items() if slot >= first]


def _prune(working: dict[int, Any]) -> None:
    """Forgets slots that no window reaches any more."""
    if len(working) > SLOTS + 1:
        first = max(working) - SLOTS
        for slot in [slot for slot in working if slot < first]:
            del working[slot]


class MaxTally(_WindowTally):
    """The greatest value. Kept: that of each slot."""

    def add(self, working: dict[int, Number], values: Iterable[Timed]) -> dict[int, Number]:
        for at, value in values:
            slot = self._slot(at)
            if slot not in working or value > working[slot]:
                working[slot] = value
        _prune(working)
        return working

    def snapshot(self, working: dict[int, Number]) -> tuple[tuple[int, Number], ...]:
        return tuple(working.items())

    def working(self, snapshot: Any) -> dict[int, Number]:
        return {int(slot): checked_number(value) for slot, value in snapshot or ()}

    def shown(self, snapshot: Any, now: float) -> Number | None:
        values = self._in_window(dict(snapshot), now)
        return max(values) if values else None


class RatioTally(_WindowTally):
    """The share of lines for which something is true. Kept: both numbers of each slot."""

    def add(self, working: dict[int, tuple[int, int]], values: Iterable[Timed]) -> dict[int, tuple[int, int]]:
        for at, is_true in values:
            slot = self._slot(at)
            some, total = working.get(slot, (0, 0))
            working[slot] = (some + is_true, total + 1)
        _prune(working)
        return working

    def snapshot(self, working: dict[int, tuple[int, int]]) -> tuple[tuple[int, int, int], ...]:
        return tuple((slot, some, total) for slot, (some, total) in working.items())

    def working(self, snapshot: Any) -> dict[int, tuple[int, int]]:
        return {int(slot): (int(some), int(total)) for slot, some, total in snapshot or ()}

    def shown(self, snapshot: Any, now: float) -> Number | None:
        first = self._first_slot(now)
        some = sum(some for slot, some, _ in snapshot if slot >= first)
        total = sum(total for slot, _, total in snapshot if slot >= first)
        return some / total if total else None


class DistinctTally(_WindowTally):
    """The number of distinct values: exact for a few thousand, an estimate beyond (see `sampling`)."""

    def add(self, working: DistinctSample, values: Iterable[Timed]) -> DistinctSample:
        seen = {(self._slot(at), value) for at, value in values}
        hashes: dict[Any, int] = {}
        for slot, value in sorted(seen, key=_by_slot):
            number = hashes.get(value)
            if number is None:
                number = hashes[value] = text_hash(label_text(value))
            working.add(slot, number)
        return working

    def snapshot(self, working: DistinctSample) -> DistinctSample:
        return working.copy()

    def working(self, snapshot: Any) -> DistinctSample:
        return DistinctSample.of_rows(snapshot or (), reach=SLOTS)

    def stored(self, snapshot: DistinctSample) -> Any:
        return snapshot.rows()

    def shown(self, snapshot: DistinctSample, now: float) -> Number | None:
        """The number; None if no line lies in the window."""
        return snapshot.count(self._first_slot(now)) or None

    def is_over(self, working: DistinctSample, now: float) -> bool:  # type: ignore[override]
        return self._is_outside(working.newest, now)


def _by_slot(pair: tuple[int, Any]) -> int:
    return pair[0]
