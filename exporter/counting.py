"""Counts batches: each rule gathers by raw label values, and only now and then turns those into series.

A batch costs one pass over columns for each rule; the texts of labels, budgets and buckets cost once per distinct
label set and flush. Raw values are gathered for at most FLUSH_BYTES of lines, so that long ones cannot fill the memory.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import repeat
from typing import Any, Final, Protocol

from exporter.evaluated import Evaluated, picked
from exporter.exemplars import LINES_A_BATCH, Examples, ReadId
from exporter.families import Family, Series
from exporter.rule import Rule, RuleType
from exporter.tallies import MAX_VALUE, Number, multiples, reason_against
from shipper.batch import MISSING, Batch
from shipper.expressions import Value, has_value, label_text, number_of

FLUSH_BYTES: Final = 16 << 20
MAX_LABEL_CHARACTERS: Final = 200
_MAX_KNOWN: Final = 20_000
_MAX_EXACT: Final = float(1 << 53)  # up to it each integer is a float too, and lies on the same side of a bound
_NUMBERS: Final = frozenset({int, float})

Key = Hashable
Gathered = defaultdict[Key, list[Any]]
log = logging.getLogger(__name__)


class RuleTelemetry(Protocol):
    """Who is told what the rules could not count as asked."""

    def rule_error(self, rule: str, reason: str, count: int) -> None: ...

    def label_overflow(self, rule: str, label: str, count: int) -> None: ...

    def series(self, rule: str, count: int) -> None:
        """The number of series that a rule's metric has."""


class RuleCounter:
    """Counts for one rule. Values wait in `_counts` or `_gathered` until `flush` adds them to the series."""

    def __init__(
        self,
        *,
        rule: Rule,
        family: Family,
        telemetry: RuleTelemetry,
        now: Callable[[], float],
        read_id: ReadId | None = None,
    ) -> None:
        self.rule = rule
        self._family = family
        self._telemetry = telemetry
        self._now = now
        self._counts: Counter[Key] = Counter()
        self._gathered: Gathered = defaultdict(list)
        self._numbers: Gathered = defaultdict(list)
        """As `_gathered`, but a field's own numbers, of which the values are multiples."""
        self._known: dict[Key, Series] = {}
        self._statuses, self._keys = _key_columns(rule)
        self._is_timed = rule.type.is_timed
        self._examples = Examples(read_id=read_id, bounds=rule.buckets) if read_id and not self._is_timed else None
        self._riders: tuple[RuleCounter, ...] = ()
        self._shared: Gathered = defaultdict(list)
        self._shared_numbers: Gathered = defaultdict(list)
        self._multiples = multiples(family.tally, rule.value.multiple) if rule.value else None
        self.is_rider = False
        """Whether another rule may count for this one."""
        self._waiting: tuple[Sequence[int], list[Sequence[Any]]] | None = None

    def carry(self, others: Iterable[RuleCounter]) -> None:
        """Makes counters with the same labels ride along: for a batch of which both take the same lines, only this rule
        goes over the keys. It gathers a value for each line, so the number of values is what a rider has to count.
        """
        if self.rule.type is RuleType.HISTOGRAM:
            mine = _grouping(self.rule)
            riders = [one for one in others if one.rule.type is RuleType.COUNTER and one.rule.value is None]
            self._riders = tuple(one for one in riders if not one.is_rider and _grouping(one.rule) == mine)
            for rider in self._riders:
                rider.is_rider = True

    def observe(self, batch: Batch, evaluated: Evaluated) -> None:
        """Takes in the lines of a batch that the rule is about. A rider only notes them, until every rule was asked."""
        rule = self.rule
        self._waiting = None
        if rule.sources and batch.source not in rule.sources:
            return
        count = batch.count
        positions = range(count) if rule.when is None else rule.when(batch.columns, count)
        if not positions:
            return
        positions = evaluated.at(positions)
        labels = [evaluated.keys_at(label, positions) for label in self._keys]
        keys = _zipped(labels, len(positions))
        if self._is_timed:
            self._gather_timed(keys, positions, batch, evaluated)
            return
        if self._multiples is not None and (numbers := self._numbers_of(batch, positions, self._multiples.field)):
            last_values = list(map(self._multiples.value_of, numbers[-LINES_A_BATCH:]))
            self._note(labels, last_values, positions, batch)
            is_shared = self._counts_for_riders(positions)
            self._gather(keys, numbers, into=self._shared_numbers if is_shared else self._numbers)
            return
        values = None if rule.value is None else picked(evaluated.value(rule.value), positions)
        if values is not None and not _are_usable(values):
            placed, values = self._usable(zip(keys, positions, strict=True), values, positions, batch)
            keys, positions = [key for key, _ in placed], [position for _, position in placed]
            labels = list(zip(*keys, strict=True))
        self._note(labels, values, positions, batch)
        if values is not None:
            self._gather(keys, values, into=self._shared if self._counts_for_riders(positions) else self._gathered)
        elif self.is_rider:
            self._waiting = (positions, labels)
        else:
            self._counts.update(keys)

    def _numbers_of(self, batch: Batch, positions: Sequence[int], field: str) -> Sequence[Number]:
        """The field's numbers, if all are numbers of which multiples can be counted; else nothing."""
        column = batch.columns.get(field, ())
        if not column:
            return ()
        numbers = picked(column, positions)
        types = batch.columns.types(field) if numbers is column else frozenset(map(type, numbers))
        return numbers if types <= _NUMBERS and _are_in_range(numbers, limit=_MAX_EXACT) else ()

    def _note(
        self,
        labels: Sequence[Sequence[Any]],
        values: Sequence[Number] | None,
        positions: Sequence[int],
        batch: Batch,
    ) -> None:
        if self._examples is not None:
            self._examples.note(labels, values, [batch.lines[position] for position in positions[-LINES_A_BATCH:]])

    def _counts_for_riders(self, positions: Sequence[int]) -> bool:
        """Whether all riders have noted just these lines; if so, they stop waiting, and this rule counts for them."""
        if not self._riders or not all(rider.waits_for(positions) for rider in self._riders):
            return False
        for rider in self._riders:
            rider.counted_by_other()
        return True

    def waits_for(self, positions: Sequence[int]) -> bool:
        """Whether it is just these lines of the batch that this rider has noted."""
        return self._waiting is not None and self._waiting[0] is positions

    def counted_by_other(self) -> None:
        """The rule that this one rides on counts the noted lines."""
        self._waiting = None

    def count(self, key: Key, number: int) -> None:
        self._counts[key] += number

    def count_waiting(self) -> None:
        """Counts the lines that were noted, if no other rule has counted them."""
        if self._waiting is not None:
            (positions, labels), self._waiting = self._waiting, None
            self._counts.update(_zipped(labels, len(positions)))

    def _gather(
        self, keys: Iterable[Key], values: Iterable[Any], *, into: defaultdict[Key, list[Any]] | None = None
    ) -> None:
        gathered = self._gathered if into is None else into
        for found, value in zip(map(gathered.__getitem__, keys), values, strict=True):
            found.append(value)

    def _gather_timed(self, keys: Iterable[Key], positions: Sequence[int], batch: Batch, evaluated: Evaluated) -> None:
        """The same with the time of each value."""
        rule, count = self.rule, batch.count
        times = picked(evaluated.times(), positions)
        if rule.truth is not None:
            true = set(rule.truth(batch.columns, count))
            self._gather(keys, zip(times, [position in true for position in positions], strict=True))
        elif rule.value is not None and rule.type is RuleType.DISTINCT:
            values = picked(evaluated.value(rule.value), positions)
            texts = picked(evaluated.key(rule.value), positions)
            for key, timed, value in zip(keys, zip(times, texts, strict=True), values, strict=True):
                if has_value(value):
                    self._gathered[key].append(timed)
        elif rule.value is not None:
            numbers = picked(evaluated.value(rule.value), positions)
            keyed_times = list(zip(keys, times, strict=True))
            usable, values = self._usable(keyed_times, numbers, positions, batch)
            for (key, at), value in zip(usable, values, strict=True):
                self._gathered[key].append((at, value))

    def _usable(
        self, keys: Iterable[Any], values: Sequence[Any], positions: Sequence[int], batch: Batch
    ) -> tuple[list[Any], list[Number]]:
        """The numbers that can be counted, with their keys; counts the others as errors."""
        reasons = [self._reason(value, position, batch) for value, position in zip(values, positions, strict=True)]
        for reason, count in Counter(filter(None, reasons)).items():
            self._telemetry.rule_error(self.rule.name, reason, count)
        kept = [(key, number_of(value)) for key, value, reason in zip(keys, values, reasons, strict=True) if not reason]
        return [key for key, _ in kept], [value for _, value in kept]

    def _reason(self, value: Any, position: int, batch: Batch) -> str:
        """Why a value cannot be counted; "" if it can."""
        if value is MISSING or value is None:
            fields = self.rule.value.fields if self.rule.value else ()
            columns = (batch.columns.get(field) for field in fields)
            is_absent = any(column is None or not has_value(column[position]) for column in columns)
            return "missing" if is_absent or value is None else "not_a_number"
        return reason_against(value, may_be_negative=self._is_timed)

    def share(self) -> None:
        """Gives the riders their counts of what was gathered for them too. Comes before any `flush`."""
        for shared, own in ((self._shared, self._gathered), (self._shared_numbers, self._numbers)):
            for key, values in shared.items():
                own[key] += values
                for rider in self._riders:
                    rider.count(key, len(values))
            shared.clear()

    def flush(self) -> dict[Series, None]:
        """Adds what was gathered to the series; those that changed, in order."""
        changed: dict[Series, None] = {}
        if self._counts:
            for key, count in self._counts.items():
                series = self._series(key, count)
                series.working = series.family.tally.add(series.working, (count,))
                changed[series] = None
            self._counts.clear()
        if self._gathered:
            for key, values in self._gathered.items():
                series = self._series(key, len(values))
                series.working = series.family.tally.add(series.working, values)
                changed[series] = None
            self._gathered.clear()
        if self._multiples is not None and self._numbers:
            for key, numbers in self._numbers.items():
                series = self._series(key, len(numbers))
                series.working = self._multiples.add(series.working, numbers)
                changed[series] = None
            self._numbers.clear()
        if changed and self._examples is not None:
            for (key, bucket), exemplar in self._examples.take(now=self._now()):
                if key in self._known:
                    self._known[key].put_exemplar(bucket, exemplar)
        return changed

    def _series(self, key: Key, count: int) -> Series:
        """The series of a label set that so many lines have."""
        return self._known.get(key) or self._find(key, count)

    def forget(self) -> None:
        """Series were taken out of the family; they are to be looked up again."""
        self._known.clear()

    def _find(self, key: Any, count: int) -> Series:
        labels = tuple([label_text(value)[:MAX_LABEL_CHARACTERS] for value in key[: len(self.rule.labels)]])
        refused = [label for label, status in self._statuses.items() if _is_refusal(key[status])]
        series, replaced = self._family.admit(labels, refused=refused, now=self._now())
        for label in replaced:
            self._telemetry.label_overflow(self.rule.name, label, count)
        is_short = all(value.__class__ is not str or len(value) <= MAX_LABEL_CHARACTERS for value in key)
        if is_short and series.labels == labels:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[key] = series
        return series


def _grouping(rule: Rule) -> tuple[Any, ...]:
    """What two rules have in common if equal lines have equal keys in both."""
    return tuple(value.canonical for _, value in rule.labels), rule.sources


def _zipped(labels: Sequence[Sequence[Any]], count: int) -> Iterable[Key]:
    return zip(*labels, strict=True) if labels else repeat((), count)


def _key_columns(rule: Rule) -> tuple[dict[int, int], list[Value]]:
    """Where in a key a status stands, by the number of the label that needs it; and the columns that make a key.

    These are the columns of the labels, then the statuses that are no labels themselves.
    """
    keys = [value for _, value in rule.labels]
    places = {value.canonical: number for number, value in enumerate(keys)}
    statuses = {}
    for number, (_, value) in enumerate(rule.labels):
        if value.status is not None:
            statuses[number] = places.setdefault(value.status.canonical, len(keys))
            keys += [value.status] if statuses[number] == len(keys) else []
    return statuses, keys


def _is_refusal(status: Any) -> bool:
    """Whether a client was told that its request was wrong; so paths that a scanner guesses are answered."""
    return 400 <= number_of(status) < 500


def _are_usable(values: Sequence[Any]) -> bool:
    """True if every value is a number that can be counted: finite, not negative, not huge."""
    return set(map(type, values)) <= _NUMBERS and _are_in_range(values, limit=MAX_VALUE)


def _are_in_range(values: Sequence[Number], *, limit: float) -> bool:
    """True for numbers not negative, of a sum below the limit."""
    try:
        is_sum_usable = sum(values) < limit  # so there is no NaN, which min could pass over
    except OverflowError:  # an integer that no float can hold
        return False
    return bool(is_sum_usable and min(values) >= 0)
