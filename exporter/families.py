"""The series of one metric: which label sets are admitted, what each has counted, and how it is kept as a row.

A type of metric is a `Tally`: how values add up and how the sum is written. Gauges over time would be further tallies.
Working values belong to the pipeline's thread; `committed` ones are guarded by the exporter's lock.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

import msgspec

from exporter.rule import Rule, RuleType

OTHER: Final = "__other__"
MAX_VALUES: Final = 1_000  # distinct values of one label
MAX_SERIES: Final = 10_000  # of one metric; a tenth more where a label has given way to OTHER
_MAX_EXACT: Final = 1 << 62

Labels = tuple[str, ...]
Number = int | float


class Tally(Protocol):
    """How a type of metric adds up. A snapshot is immutable: a number, or a tuple of numbers."""

    @property
    def zero(self) -> Any: ...

    def add(self, working: Any, values: Iterable[Number]) -> Any:
        """The working value with more values in it; may change it in place."""

    def snapshot(self, working: Any) -> Any: ...

    def working(self, snapshot: Any) -> Any:
        """The working value of a snapshot that was read from a row. Raises TypeError or ValueError if it is none."""


class CounterTally:
    """A sum. It stays an integer, which is exact, as long as it can be stored as one."""

    zero: Final = 0

    def add(self, working: Number, values: Iterable[Number]) -> Number:
        return _storable(working + sum(values))

    def snapshot(self, working: Number) -> Number:
        return working

    def working(self, snapshot: Any) -> Number:
        return _number(snapshot)


class HistogramTally:
    """Counts by bucket, not cumulated, the last for what is above all bounds; then the sum."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.zero = (0,) * (len(bounds) + 2)

    def add(self, working: list[Number], values: Iterable[Number]) -> list[Number]:
        bounds = self.bounds
        total = working[-1]
        for value in values:
            working[bisect_left(bounds, value)] += 1
            total += value
        working[-1] = _storable(total)
        return working

    def snapshot(self, working: list[Number]) -> tuple[Number, ...]:
        return tuple(working)

    def working(self, snapshot: Any) -> list[Number]:
        if len(snapshot) != len(self.zero):
            raise ValueError("another number of buckets")
        return [_number(number) for number in snapshot]


def _number(value: Any) -> Number:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("not a number")
    return value


def _storable(value: Number) -> Number:
    return value if isinstance(value, float) or value < _MAX_EXACT else float(value)


def tally_of(rule: Rule) -> Tally:
    """The tally of a rule's type."""
    return HistogramTally(rule.buckets) if rule.type is RuleType.HISTOGRAM else CounterTally()


class Series:
    """One label set and its value."""

    __slots__ = ("birth", "committed", "created", "family", "labels", "text", "working")

    def __init__(self, family: Family, labels: Labels, created: float) -> None:
        self.family = family
        self.labels = labels
        self.text = label_pairs(family.label_names, labels)
        self.created = created
        self.birth = 0  # the commit that made it known; 0: none yet
        self.working = family.tally.working(family.tally.zero)
        self.committed: Any = None  # guarded by the exporter's lock

    @property
    def key(self) -> bytes:
        return msgspec.json.encode((self.family.name, *self.labels))

    def row(self, snapshot: Any) -> bytes:
        return msgspec.json.encode((self.family.meaning, self.created, self.birth, snapshot))


class Family:
    """The series of one metric name. Grows only; when a budget is used up, values of labels give way to OTHER."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        first = rules[0]
        self.name = first.name
        self.type = first.type
        self.help = next((rule.help for rule in rules if rule.help), "")
        self.unit = next((rule.unit for rule in rules if rule.unit), "")
        self.buckets = first.buckets
        self.label_names = first.label_names
        self.meaning = "+".join(sorted(rule.meaning for rule in rules))
        self.tally = tally_of(first)
        self.series: dict[Labels, Series] = {}
        self.committed: list[Series] = []  # guarded by the exporter's lock
        self._values: tuple[set[str], ...] = tuple(set() for _ in self.label_names)

    def admit(self, labels: Labels, *, now: float) -> tuple[Series, tuple[str, ...]]:
        """The series that counts these labels, and the names of those that gave way to OTHER."""
        series = self.series.get(labels)
        if series is not None:
            return series, ()
        admitted = tuple(
            value if value in known or len(known) < MAX_VALUES else OTHER
            for value, known in zip(labels, self._values, strict=True)
        )
        admitted = self._within_budget(admitted)
        names = self.label_names
        replaced = tuple(name for name, old, new in zip(names, labels, admitted, strict=True) if old != new)
        return self.series.get(admitted) or self.add(admitted, now=now), replaced

    def _within_budget(self, labels: Labels) -> Labels:
        """Gives up the labels of most variety, one after another, until the series is known or has room."""
        order = sorted(range(len(labels)), key=lambda number: -len(self._values[number]))
        for number in [None, *order]:
            if number is not None:
                labels = (*labels[:number], OTHER, *labels[number + 1 :])
            limit = MAX_SERIES + MAX_SERIES // 10 if OTHER in labels else MAX_SERIES
            if labels in self.series or len(self.series) < limit:
                return labels
        return labels

    def add(self, labels: Labels, *, now: float) -> Series:
        """A new series, whatever the budgets."""
        series = Series(self, labels, now)
        self.series[labels] = series
        for value, known in zip(labels, self._values, strict=True):
            if value != OTHER:
                known.add(value)
        return series


def label_pairs(names: Sequence[str], values: Sequence[str]) -> str:
    """`a="x",b="y"` with backslash, quote and newline escaped, as both expositions want it."""
    return ",".join(
        [
            '{}="{}"'.format(name, value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"'))
            for name, value in zip(names, values, strict=True)
        ]
    )
