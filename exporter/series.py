"""The exporter: counts batches into series, and shows to scrapes only what the state has committed.

Life of a value: `observe` adds it, `take_changes` gives it to whoever commits the state, `publish` shows it once that
is done. The first two belong to the pipeline's thread; `publish` may come from another, scrapes come from several.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec

from exporter.births import Births, Scraper, Seen
from exporter.counting import FLUSH_BYTES, MAX_LABEL_CHARACTERS, RuleCounter, RuleTelemetry
from exporter.evaluated import Evaluated, EventTimes, NoTimes
from exporter.exemplars import ReadId, exemplar_name
from exporter.families import NO_EXEMPLARS, Exemplars, Family, Series
from exporter.rule import Rule
from shipper.batch import Batch, Columns
from shipper.expressions import label_text

EXPIRE_SECONDS: Final = 10.0
"""How often it is looked for series that have nothing to show any more."""
log: Final = logging.getLogger(__name__)


@dataclass(slots=True)
class Changes:
    """What changed since the last take: `rows` for the state (value None: delete), the rest for `publish`."""

    rows: list[tuple[bytes, bytes | None]] = field(default_factory=list)
    snapshots: list[tuple[Series, Any]] = field(default_factory=list)
    exemplars: list[tuple[Series, Exemplars]] = field(default_factory=list)
    gone: list[Series] = field(default_factory=list)
    seen: dict[Scraper, Seen] = field(default_factory=dict)
    commit: int = 0

    def __bool__(self) -> bool:
        return bool(self.rows)


@dataclass(frozen=True, slots=True)
class FamilySnapshot:
    """A metric as it is to be written: per series its label pairs and its value, and what OpenMetrics adds to them."""

    family: Family
    texts: list[str]
    values: list[Any]
    exemplars: list[Exemplars] = field(default_factory=list)
    """Empty where no series has any."""
    exemplar_name: str = ""
    created: list[float] = field(default_factory=list)
    """Empty where it is not shown."""


def fields_of(rules: Sequence[Rule], *, event_times: EventTimes) -> frozenset[str]:
    """The columns that a batch must have for these rules."""
    times = event_times.fields if any(rule.type.is_timed for rule in rules) else frozenset()
    return times.union(*(rule.fields for rule in rules))


class Exporter:
    """Counts exactly as long as rows and offsets are committed together: changes that were taken are either committed
    and published, or put back. Publishing what is not committed would show what a restart takes back."""

    def __init__(
        self,
        *,
        rules: Sequence[Rule],
        telemetry: RuleTelemetry,
        event_times: EventTimes | None = None,
        read_id: ReadId | None = None,
        shows_created: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`read_id`: what a line shows as exemplar. `shows_created`: since when a series counts."""
        self._telemetry = telemetry
        self._shows_created = shows_created
        self._exemplar_name = exemplar_name(read_id.name) if read_id else ""
        self._event_times = event_times or NoTimes()
        self._clock = clock
        by_name: dict[str, list[Rule]] = {}
        for rule in rules:
            by_name.setdefault(rule.name, []).append(rule)
        self._families = {name: Family(group) for name, group in by_name.items()}
        self._counters = [
            RuleCounter(
                rule=rule,
                family=self._families[rule.name],
                telemetry=telemetry,
                now=clock,
                read_id=read_id,
            )
            for rule in rules
        ]
        for counter in self._counters:
            counter.carry(self._counters)
        self._counters.sort(key=lambda counter: not counter.is_rider)  # who carries them comes behind them
        self.fields = fields_of(rules, event_times=self._event_times)
        """The columns that a batch must have."""
        self._changed: dict[Series, None] = {}
        self._obsolete: list[bytes] = []
        self._gone: list[Series] = []
        self._looked_at = clock()
        self._unflushed_bytes = 0
        self._commit = 0
        self._lock = threading.Lock()
        self._births = Births(clock=clock)  # guarded by _lock
        self._published = 0  # the last commit that scrapes see; guarded by _lock
        for rule in rules:
            self._initialise(rule)

    def _initialise(self, rule: Rule) -> None:
        family = self._families[rule.name]
        for texts in rule.init:
            labels = tuple([label_text(text)[:MAX_LABEL_CHARACTERS] for text in texts])
            if labels not in family.series:
                self._changed[family.add(labels, now=self._clock())] = None

    def observe(self, batch: Batch) -> None:
        """Counts every line of a batch. A rule that fails leaves the others alone, and is counted in rule errors."""
        evaluated = self._evaluated(batch)
        for counter in self._counters:
            try:
                counter.observe(batch, evaluated)
            except Exception:  # the same batch would end the daemon again after every restart
                log.exception("rule %s failed on a batch of %d lines", counter.rule.name, batch.count)
                self._observe_singly(counter, batch)
        for counter in self._counters:
            counter.count_waiting()
        self._unflushed_bytes += batch.end - batch.start
        if self._unflushed_bytes >= FLUSH_BYTES:
            self._flush()

    def _evaluated(self, batch: Batch) -> Evaluated:
        return Evaluated(batch, event_times=self._event_times, now=self._clock())

    def _observe_singly(self, counter: RuleCounter, batch: Batch) -> None:
        """Counts line by line, so that a rule goes without those only on which it fails."""
        for position in range(batch.count):
            one = slice(position, position + 1)
            columns = Columns((name, column[one]) for name, column in batch.columns.items())
            line = replace(batch, lines=batch.lines[one], offsets=batch.offsets[one], columns=columns)
            try:
                counter.observe(line, self._evaluated(line))
                counter.count_waiting()
            except Exception:  # noqa: BLE001 - what it was has been logged with the batch
                self._telemetry.rule_error(counter.rule.name, "internal", 1)

    def _flush(self) -> None:
        self._unflushed_bytes = 0
        for counter in self._counters:
            counter.share()
        for counter in self._counters:
            self._changed.update(counter.flush())

    @property
    def has_changes(self) -> bool:
        """True if `take_changes` would give something: lines were counted, or a scraper has had its zeros."""
        with self._lock:
            births_changed = self._births.has_changes
        return births_changed or bool(self._unflushed_bytes or self._changed or self._obsolete)

    def take_changes(self) -> Changes:
        """All changes since the last take, in absolute values: to be committed, or put back."""
        self._flush()
        self._expire()
        self._commit += 1
        changes = Changes(commit=self._commit, gone=self._gone)
        self._gone = []
        changes.rows += [(key, None) for key in self._obsolete]
        self._obsolete = []
        for series in self._changed:
            series.birth = series.birth or self._commit
            snapshot = series.family.tally.snapshot(series.working)
            changes.snapshots.append((series, snapshot))
            changes.rows.append((series.key, series.row(snapshot)))
            if series.exemplars:
                changes.exemplars.append((series, series.exemplars.copy()))
        self._changed = {}
        with self._lock:
            changes.seen, rows = self._births.take()
        changes.rows += rows
        return changes

    def _expire(self) -> None:
        """Takes out what nobody is shown any more."""
        now = self._clock()
        if 0 <= now - self._looked_at < EXPIRE_SECONDS:
            return
        self._looked_at = now
        for family in self._families.values():
            gone = family.remove_old(now)
            if not gone:
                continue
            for counter in self._counters:
                counter.forget()
            for series in gone:
                self._changed.pop(series, None)
            self._gone += gone
            self._obsolete += [series.key for series in gone]

    def put_back(self, changes: Changes) -> None:
        """Undoes a take that could not be committed; the next one has these changes again, with the values of then."""
        gone = set(self._gone)
        taken = dict.fromkeys(series for series, _ in changes.snapshots if series not in gone)
        self._changed = taken | self._changed
        self._gone = changes.gone + self._gone
        self._obsolete += [key for key, value in changes.rows if value is None]
        with self._lock:
            self._births.put_back(changes.seen)

    def publish(self, changes: Changes) -> None:
        """Shows to scrapes what the state has committed."""
        families = {series.family for series, _ in changes.snapshots} | {series.family for series in changes.gone}
        with self._lock:
            if changes.gone:
                gone = set(changes.gone)
                for family in families:
                    family.committed = [series for series in family.committed if series not in gone]
            for series, snapshot in changes.snapshots:
                if series.committed is None:
                    series.family.committed.append(series)
                    if not series.family.tally.is_timed:  # what is about the last minutes has no beginning at 0
                        self._births.born(series)
                series.committed = snapshot
            for series, exemplars in changes.exemplars:
                series.shown_exemplars = exemplars
            self._births.committed(changes.seen)
            self._published = changes.commit
        for family in families:
            self._telemetry.series(family.name, len(family.committed))

    def restore(self, rows: Iterable[tuple[bytes, bytes]]) -> None:
        """Takes back what the state had at start, before anything is observed.

        Rows of rules that are gone or mean something else now are left out, and deleted with the next changes.
        """
        with self._lock:
            for key, value in rows:
                try:
                    self._restore_row(msgspec.json.decode(key), value)
                except (msgspec.DecodeError, ValueError, TypeError, KeyError, IndexError):
                    self._obsolete.append(key)
            kept = (series for family in self._families.values() for series in family.committed)
            self._births.restored([series for series in kept if not series.family.tally.is_timed])
            self._published = self._commit
        for family in self._families.values():
            self._telemetry.series(family.name, len(family.committed))

    def _restore_row(self, parts: list[Any], value: bytes) -> None:
        if parts[0] == "":
            self._commit = max(self._commit, self._births.restore(parts, value))
            return
        family = self._families[parts[0]]
        meaning, created, birth, snapshot = msgspec.json.decode(value)
        labels = family.from_row(list(map(str, parts[1:])))
        if meaning != family.meaning:
            raise ValueError("the rule means something else now")
        working = family.tally.working(snapshot)
        series = family.series.get(labels) or family.add(labels, now=float(created), unproven=range(len(labels)))
        series.working, series.created, series.birth = working, float(created), int(birth)
        if series.committed is None:
            family.committed.append(series)
        series.committed = family.tally.snapshot(working)
        self._changed.pop(series, None)
        self._commit = max(self._commit, series.birth)

    def read(self, scraper: Scraper | None) -> tuple[list[FamilySnapshot], Callable[[], None] | None]:
        """What a request is to see: committed values, and 0 for what is new to a scraper (None: somebody else).

        The second, if there is one, is to be called once the answer has been sent.
        """
        with self._lock:
            unseen = frozenset() if scraper is None else self._births.unseen(scraper)
            is_noted = scraper is not None and (bool(unseen) or self._births.is_to_be_noted(scraper))
            published = self._published
            snapshots = [self._snapshot(family, unseen) for family in self._families.values()]
        now = self._clock()
        snapshots = [_shown(snapshot, now) if snapshot.family.tally.is_timed else snapshot for snapshot in snapshots]
        if scraper is None or not is_noted:
            return snapshots, None
        return snapshots, lambda: self._saw(scraper, published)

    def _snapshot(self, family: Family, unseen: frozenset[Series]) -> FamilySnapshot:
        """What is committed of a family; those unseen as 0."""
        committed = family.committed
        values, exemplars = [series.committed for series in committed], [series.shown_exemplars for series in committed]
        if unseen:
            zero = family.tally.zero
            values = [zero if series in unseen else series.committed for series in committed]
            exemplars = [NO_EXEMPLARS if series in unseen else series.shown_exemplars for series in committed]
        return FamilySnapshot(
            family,
            [series.text for series in committed],
            values,
            exemplars if any(exemplars) else [],
            self._exemplar_name,
            [series.created for series in committed] if self._shows_created else [],
        )

    def _saw(self, scraper: Scraper, commit: int) -> None:
        with self._lock:
            self._births.saw(scraper, commit)

    @property
    def series_counts(self) -> dict[str, int]:
        """Series that scrapes can see, by metric."""
        return {name: len(family.committed) for name, family in self._families.items()}

    @property
    def series_count(self) -> int:
        """Series that scrapes can see."""
        return sum(self.series_counts.values())


def _shown(snapshot: FamilySnapshot, now: float) -> FamilySnapshot:
    """What is to be seen of timed values now."""
    shown = snapshot.family.tally.shown
    pairs = [(text, shown(value, now)) for text, value in zip(snapshot.texts, snapshot.values, strict=True)]
    pairs = [(text, value) for text, value in pairs if value is not None]
    return FamilySnapshot(snapshot.family, [text for text, _ in pairs], [value for _, value in pairs])
