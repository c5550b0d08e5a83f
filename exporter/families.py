"""The series of one metric: which label sets are admitted, what each has counted, and how it is kept as a row.

Working values belong to the pipeline's thread; `committed` ones are guarded by the exporter's lock. `tallies` and
`windows` say how values add up, `series` what becomes of changes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from exporter.exemplars import MAX_EXEMPLARS, Exemplar
from exporter.rule import Rule, RuleType
from exporter.tallies import CounterTally, HistogramTally, Tally
from exporter.texts import label_pairs
from exporter.windows import DistinctTally, GaugeTally, MaxTally, RatioTally
from shipper.expressions import UNMATCHED

OTHER: Final = "__other__"
UNPROVEN_SHARE: Final = 10
"""One of so many values of a label may be one that was only ever refused; a scanner's guesses have no more."""

Labels = tuple[str, ...]
Exemplars = Mapping[int, Exemplar]
"""By bucket, 0 in a counter."""
NO_EXEMPLARS: Final[Exemplars] = {}


def tally_of(rule: Rule) -> Tally:
    """The tally of a rule's type."""
    match rule.type:
        case RuleType.COUNTER:
            return CounterTally()
        case RuleType.HISTOGRAM:
            return HistogramTally(bounds=rule.buckets)
        case RuleType.GAUGE:
            return GaugeTally(expire_seconds=rule.expire_seconds)
        case RuleType.RATIO:
            return RatioTally(window_seconds=rule.window_seconds)
        case RuleType.DISTINCT:
            return DistinctTally(window_seconds=rule.window_seconds)
        case RuleType.MAX:
            return MaxTally(window_seconds=rule.window_seconds)


class Series:
    """One label set and its value."""

    __slots__ = ("birth", "committed", "created", "exemplars", "family", "labels", "shown_exemplars", "text", "working")

    def __init__(self, family: Family, labels: Labels, created: float) -> None:
        self.family = family
        self.labels = labels
        self.text = label_pairs(family.label_names, labels)
        self.created = created
        self.birth = 0  # the commit that made it known; 0: none yet
        self.working = family.tally.working(family.tally.zero)
        self.committed: Any = None  # guarded by the exporter's lock
        self.exemplars: dict[int, Exemplar] = {}
        self.shown_exemplars: Exemplars = NO_EXEMPLARS  # guarded by the exporter's lock

    def put_exemplar(self, bucket: int, exemplar: Exemplar) -> None:
        """Notes the newest exemplar of a bucket (0 in a counter), if the metric may have one more."""
        if bucket in self.exemplars or self.family.has_room_for_exemplar():
            self.exemplars[bucket] = exemplar

    @property
    def key(self) -> bytes:
        return msgspec.json.encode((self.family.name, *self.family.by_name(self.labels)))

    def row(self, snapshot: Any) -> bytes:
        stored = self.family.tally.stored(snapshot)
        return msgspec.json.encode((self.family.meaning, self.created, self.birth, stored))


class Family:
    """The series of one metric name. When a budget is used up, values of labels give way to OTHER, and before that
    those to UNMATCHED that were only ever refused. (What a state had is believed once it is met unrefused again.)

    Series that add up for ever stay: one that went and came back would take back what it has counted.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        first = rules[0]
        self.name = first.name
        self.type = first.type
        self.help = next((rule.help for rule in rules if rule.help), f"By the rule in {Path(first.where).name}.")
        self.unit = next((rule.unit for rule in rules if rule.unit), "")
        self.buckets = first.buckets
        self.label_names = first.label_names
        order = sorted(range(len(self.label_names)), key=self.label_names.__getitem__)
        self._order = None if order == sorted(order) else order
        self.meaning = "+".join(sorted(rule.meaning for rule in rules))
        self.tally = tally_of(first)
        self._max_values = max(rule.budget.max_values for rule in rules)
        self._max_series = max(rule.budget.max_series for rule in rules)
        self.max_unproven = max(1, self._max_values // UNPROVEN_SHARE)
        self.series: dict[Labels, Series] = {}
        self.committed: list[Series] = []  # guarded by the exporter's lock
        self._values: tuple[set[str], ...] = tuple(set() for _ in self.label_names)
        self._unproven: tuple[set[str], ...] = tuple(set() for _ in self.label_names)
        known = [[rule.labels[number][1].known for rule in rules] for number in range(len(self.label_names))]
        self._believed = tuple(frozenset().union(*sets) for sets in known)
        """Values that are there, whatever a line says."""
        self._exemplars = 0

    def by_name(self, labels: Labels) -> Labels:
        """Values in the order of the labels' names, as rows have them: so the order in a rule means nothing."""
        return labels if self._order is None else tuple([labels[number] for number in self._order])

    def from_row(self, values: Sequence[str]) -> Labels:
        """Values in the order of this family's labels, of those in the order of the names. Raises ValueError."""
        if len(values) != len(self.label_names):
            raise ValueError("the rule has other labels now")
        named = dict(zip(sorted(self.label_names), values, strict=True))
        return tuple([named[name] for name in self.label_names])

    def has_room_for_exemplar(self) -> bool:
        """True for the first MAX_EXEMPLARS times that it is asked."""
        self._exemplars += 1
        return self._exemplars <= MAX_EXEMPLARS

    def unproven(self, labels: Labels) -> list[str]:
        """The names of those labels whose values were only ever refused."""
        known = zip(self.label_names, labels, self._unproven, strict=True)
        return [name for name, value, unproven in known if value in unproven]

    def admit(self, labels: Labels, *, now: float, refused: Collection[int] = ()) -> tuple[Series, tuple[str, ...]]:
        """The series that counts these labels, and the names of those that gave way to OTHER.

        `refused`: numbers of the labels whose values the line itself says not to be there.
        """
        refused = [number for number in refused if labels[number] not in self._believed[number]]
        for number, value in enumerate(labels):
            if number not in refused:
                self._unproven[number].discard(value)
        series = self.series.get(labels)
        if series is not None:
            return series, ()
        admitted = tuple(
            self._admitted(number, value, is_refused=number in refused) for number, value in enumerate(labels)
        )
        admitted = self._within_budget(admitted)
        names = self.label_names
        replaced = tuple(
            name for name, old, new in zip(names, labels, admitted, strict=True) if old != new and new == OTHER
        )
        return self.series.get(admitted) or self.add(admitted, now=now, unproven=refused), replaced

    def _admitted(self, number: int, value: str, *, is_refused: bool) -> str:
        """The value that stands for one of a label."""
        known = self._values[number]
        if value in known or value == UNMATCHED:
            return value
        is_full = len(known) >= self._max_values
        if is_refused and (is_full or len(self._unproven[number]) >= self.max_unproven):
            return UNMATCHED
        return OTHER if is_full else value

    def _within_budget(self, labels: Labels) -> Labels:
        """Gives up the labels of most variety, one after another, until the series is known or has room."""
        if labels in self.series or self._has_room(labels):
            return labels
        for number in sorted(range(len(labels)), key=lambda number: -len(self._values[number])):
            labels = (*labels[:number], OTHER, *labels[number + 1 :])
            if labels in self.series or self._has_room(labels):
                break
        return labels

    def _has_room(self, labels: Labels) -> bool:
        """(A tenth more where a label has given way, so that what gives way last has a place.)"""
        return len(self.series) < self._max_series + (self._max_series // 10 if OTHER in labels else 0)

    def add(self, labels: Labels, *, now: float, unproven: Collection[int] = ()) -> Series:
        """A new series, whatever the budgets. `unproven`: numbers of labels whose values may be nothing but wishes."""
        series = Series(self, labels, now)
        self.series[labels] = series
        for number, value in enumerate(labels):
            if value in {OTHER, UNMATCHED} or value in self._values[number]:
                continue
            self._values[number].add(value)
            if number in unproven and value not in self._believed[number]:
                self._unproven[number].add(value)
        return series

    def remove_old(self, now: float) -> list[Series]:
        """Takes out what shows nothing any more, so that its place in the budgets is free; returns it."""
        if not self.tally.is_timed:
            return []
        gone = [series for series in self.series.values() if self.tally.is_over(series.working, now)]
        if gone:
            for series in gone:
                del self.series[series.labels]
            self._values = tuple({*column} - {OTHER, UNMATCHED} for column in zip(*self.series, strict=True)) or tuple(
                set() for _ in self.label_names
            )
            self._unproven = tuple(map(set.intersection, self._unproven, self._values))
        return gone
