"""What the expressions of rules yield for one batch, each computed once however many rules ask for it.

`counting` asks, for each of its rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from types import NoneType
from typing import Any, Final, Protocol

from msgspec import UnsetType

from shipper.batch import Batch
from shipper.expressions import Kind, Value, label_text

# Types whose equal values have equal label texts; 1 == True == 1.0, and lists cannot be hashed.
_KEY_TYPES: Final = frozenset({str, int, NoneType, UnsetType})


class EventTimes(Protocol):
    """When the lines of a batch happened."""

    @property
    def fields(self) -> frozenset[str]:
        """The columns that it needs."""

    def __call__(self, batch: Batch) -> Sequence[float]:
        """Seconds since 1970, NaN where a line does not say."""


class NoTimes:
    """For whoever knows none: every line happened when it was read."""

    fields: frozenset[str] = frozenset()

    def __call__(self, batch: Batch) -> Sequence[float]:
        return [float("nan")] * batch.count


class Evaluated:
    """What expressions yield for one batch; what several rules ask for is computed once."""

    def __init__(self, batch: Batch, *, event_times: EventTimes, now: float) -> None:
        self._batch = batch
        self._event_times = event_times
        self._now = now
        self._times: Sequence[float] | None = None
        self._values: dict[str, Sequence[Any]] = {}
        self._keys: dict[str, Sequence[Any]] = {}
        self._positions: list[Sequence[int]] = []
        self._picked: dict[tuple[str, int], Sequence[Any]] = {}

    def value(self, value: Value) -> Sequence[Any]:
        found = self._values.get(value.canonical)
        if found is None:
            found = self._values[value.canonical] = value(self._batch.columns, self._batch.count)
        return found

    def key(self, value: Value) -> Sequence[Any]:
        """The column as keys: as it is if equal keys are sure to be equal labels, else as label texts."""
        found = self._keys.get(value.canonical)
        if found is None:
            column = self.value(value)
            if value.kind is Kind.STRING:  # text, or missing
                is_key = True
            elif value.field:
                is_key = self._batch.columns.types(value.field) <= _KEY_TYPES
            else:
                is_key = set(map(type, column)) <= _KEY_TYPES
            found = column if is_key else list(map(label_text, column))
            self._keys[value.canonical] = found
        return found

    def at(self, positions: Sequence[int]) -> Sequence[int]:
        """The positions, as the same object for all rules that are about the same lines."""
        for known in self._positions:
            if known == positions:
                return known
        self._positions.append(positions)
        return positions

    def keys_at(self, value: Value, positions: Sequence[int]) -> Sequence[Any]:
        """The keys of some lines; `positions` are what `at` gave."""
        column = self.key(value)
        if len(positions) == len(column):
            return column
        place = value.canonical, id(positions)
        found = self._picked.get(place)
        if found is None:
            found = self._picked[place] = picked(column, positions)
        return found

    def times(self) -> Sequence[float]:
        """When each line happened; now, if it does not say, or if it claims to be of the future."""
        if self._times is None:
            now = self._now
            self._times = [min(now, at) for at in self._event_times(self._batch)]  # now first: it wins over NaN
        return self._times


def picked(column: Sequence[Any], positions: Sequence[int]) -> Sequence[Any]:
    """The values at some positions, at least one."""
    if len(positions) == len(column):
        return column
    if len(positions) == 1:
        return (column[positions[0]],)
    return itemgetter(*positions)(column)  # type: ignore[no-any-return]
