"""What lines do to series, in words: for `shipper explain` and whoever tries out a rule.

Counts them as an exporter does, with nothing before them and nobody to scrape.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from exporter.evaluated import EventTimes
from exporter.exposition import Format, family_text
from exporter.families import Family, Series
from exporter.rule import Rule, RuleType
from exporter.series import Exporter
from exporter.texts import bound_text, number_text
from shipper.batch import MISSING, Batch
from shipper.expressions import UNMATCHED


class Effect(NamedTuple):
    """What was done to one series, as the exposition names it."""

    series: str
    does: str


class Effects(NamedTuple):
    effects: list[Effect]
    errors: list[tuple[str, str]]
    """Rules that could not count the lines, and why."""


class _Errors:
    """Telemetry that remembers which rules failed."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, str], None] = {}

    def rule_error(self, rule: str, reason: str, count: int) -> None:  # noqa: ARG002
        self.found[rule, reason] = None

    def label_overflow(self, rule: str, label: str, count: int) -> None:
        """Nothing overflows with so few lines."""

    def series(self, rule: str, count: int) -> None:
        """Nobody asks."""


class Tried:
    """Counts batches one after another, as an exporter does, to see what a scrape would show of them."""

    def __init__(self, *, rules: Sequence[Rule], event_times: EventTimes, clock: Callable[[], float]) -> None:
        self._errors = _Errors()
        self._exporter = Exporter(rules=rules, telemetry=self._errors, event_times=event_times, clock=clock)

    def observe(self, batch: Batch) -> None:
        self._exporter.observe(batch)

    def samples(self) -> list[str]:
        """The lines of the text format that have a value, the names first used first."""
        self._exporter.publish(self._exporter.take_changes())
        snapshots, _ = self._exporter.read(None)
        texts = [family_text(snapshot, Format.TEXT) for snapshot in snapshots]
        return [line for text in texts for line in text.split("\n") if line and line[0] != "#"]

    @property
    def errors(self) -> list[tuple[str, str]]:
        """Rules that could not count a line, and why."""
        return list(self._errors.found)


def effects_of(
    rules: Sequence[Rule], batch: Batch, *, event_times: EventTimes, clock: Callable[[], float] = time.time
) -> Effects:
    """What the rules make of a batch, and whether it would be seen."""
    errors = _Errors()
    exporter = Exporter(rules=rules, telemetry=errors, event_times=event_times, clock=clock)
    exporter.take_changes()  # the label sets of `init`
    exporter.observe(batch)
    changes = exporter.take_changes()
    effects = [
        Effect(
            series.family.name + (f"{{{series.text}}}" if series.text else ""),
            _does(series.family, snapshot) + _not_seen(series.family, snapshot, clock()) + _not_proven(series),
        )
        for series, snapshot in changes.snapshots
    ]
    return Effects(effects, list(errors.found))


def fields_behind(rules: Sequence[Rule], name: str, batch: Batch) -> dict[str, Any]:
    """The fields of the values that rules of this name take from the only line of a batch; MISSING where not there."""
    values = [
        rule.value
        for rule in rules
        if rule.name == name and rule.value is not None and (rule.when is None or rule.when(batch.columns, 1))
    ]
    fields = sorted(frozenset().union(*(value.fields for value in values)))
    return {field: batch.columns[field][0] if field in batch.columns else MISSING for field in fields}


def _not_seen(family: Family, snapshot: Any, now: float) -> str:
    """What is to be said of a line that is too old for a gauge or window."""
    return "" if family.tally.shown(snapshot, now) is not None else "; too long ago to be shown now"


def _not_proven(series: Series) -> str:
    """What is to be said of labels that may give way to what others were refused: that depends on the lines before."""
    family = series.family
    return "".join(
        f"; the {name} has only been refused: beyond {family.max_unproven} such it is {UNMATCHED}"
        for name in family.unproven(series.labels)
    )


def _does(family: Family, snapshot: Any) -> str:
    match family.type:
        case RuleType.COUNTER:
            return f"+{number_text(snapshot)}"
        case RuleType.HISTOGRAM:
            total = snapshot[-1]
            bounds = [*map(bound_text, family.buckets), "+Inf"]
            return f"observes {number_text(total)} (bucket {bounds[bisect_left(family.buckets, total)]})"
        case RuleType.GAUGE:
            return f"= {number_text(snapshot[1])}"
        case RuleType.MAX:
            return f"at least {number_text(max(value for _, value in snapshot))}"
        case RuleType.RATIO:
            return "takes part, true" if any(some for _, some, _ in snapshot) else "takes part, false"
        case RuleType.DISTINCT:
            return "one of the distinct values"
