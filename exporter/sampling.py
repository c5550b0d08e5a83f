"""How many distinct values a sliding window has seen, in bounded memory.

Kept is, for each value's hash, the last slot in which it came. When there are more than MAX_KEPT, only hashes that end
in one more zero bit are kept, and each then stands for twice as many values: a sample by hash, in which a value is
always or never. With fewer values the number is exact. Else its standard error is about 1 divided by the root of what
is kept, which is between half and all of MAX_KEPT in a steady stream: 2 %.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from xxhash import xxh3_64_intdigest

MAX_KEPT: Final = 4_096


def text_hash(text: str) -> int:
    """The same on every machine and after every restart."""
    return xxh3_64_intdigest(text.encode())


class DistinctSample:
    """Slots are numbers that grow with time; a window reaches over the newest and `reach` before it."""

    __slots__ = ("_last", "_levels", "_reach", "newest")

    def __init__(self, *, reach: int) -> None:
        self._reach = reach
        self._last: dict[int, int] = {}
        self._levels: dict[int, int] = {}
        """How many zero bits the hashes of a slot's values must end in to be kept."""
        self.newest = -1

    def add(self, slot: int, number: int) -> None:
        """Takes in the hash of a value."""
        level = self._levels.get(slot)
        if level is None:
            self.newest = max(self.newest, slot)
            if slot < self.newest - self._reach:
                return
            level = self._levels[slot] = self._first_level()
        if number & ((1 << level) - 1):
            return
        if self._last.get(number, -1) < slot:
            self._last[number] = slot
        if len(self._last) > MAX_KEPT:
            self._shrink()

    def _first_level(self) -> int:
        """The level of a new slot: one less than that of the last where there would be room."""
        self._forget()
        level = self._levels[max(self._levels)] if self._levels else 0
        return max(0, level - 1) if len(self._last) * 4 < MAX_KEPT else level

    def _forget(self) -> None:
        oldest = self.newest - self._reach
        if any(slot < oldest for slot in self._levels):
            self._last = {number: slot for number, slot in self._last.items() if slot >= oldest}
            self._levels = {slot: level for slot, level in self._levels.items() if slot >= oldest}

    def _shrink(self) -> None:
        self._forget()
        while len(self._last) > MAX_KEPT:
            level = min(self._levels.values()) + 1
            self._levels = {slot: max(level, own) for slot, own in self._levels.items()}
            mask = (1 << level) - 1
            self._last = {number: slot for number, slot in self._last.items() if not number & mask}

    def count(self, oldest: int) -> int:
        """How many distinct values came in slot `oldest` or later."""
        level = max((level for slot, level in self._levels.items() if slot >= oldest), default=0)
        mask = (1 << level) - 1
        return sum(1 for number, slot in self._last.items() if slot >= oldest and not number & mask) << level

    def copy(self) -> DistinctSample:
        other = DistinctSample(reach=self._reach)
        other._last, other._levels, other.newest = dict(self._last), dict(self._levels), self.newest
        return other

    def rows(self) -> list[Any]:
        """As plain data: slot, level, hashes."""
        found: dict[int, list[int]] = {slot: [] for slot in self._levels}
        for number, slot in self._last.items():
            found.setdefault(slot, []).append(number)
        return [[slot, self._levels.get(slot, 0), numbers] for slot, numbers in found.items()]

    @classmethod
    def of_rows(cls, rows: Iterable[Any], *, reach: int) -> DistinctSample:
        """Takes `rows` back. Raises TypeError or ValueError if they are none."""
        sample = cls(reach=reach)
        for slot, level, numbers in rows:
            sample._levels[int(slot)] = int(level)
            sample._last.update((int(number), int(slot)) for number in numbers)
            sample.newest = max(sample.newest, int(slot))
        return sample
