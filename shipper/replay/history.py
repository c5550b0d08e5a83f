"""Counts lines into history: the daemon's rules, each line at the step of the grid to which its event time belongs.

Where a daemon counts the same files, only what stands before the offset at which its metrics began. `openmetrics`
writes what was counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any

from exporter.families import Series
from exporter.registry import CollectorRegistry
from exporter.rule import Rule
from exporter.series import Exporter
from shipper.audit import position_of
from shipper.batch import Batch, Columns
from shipper.cursor import NEVER
from shipper.enrich import FUTURE_SECONDS
from shipper.parse import Parser
from shipper.positions import FilePosition
from shipper.redact.stage import redactor
from shipper.replay.choice import Choice
from shipper.replay.entries import Entry, Opener
from shipper.replay.grid import Grid, milliseconds
from shipper.replay.messages import Wish
from shipper.replay.reading import ChangedError, Reading
from shipper.replay.records import FileRecord
from shipper.replay.tallies import Content, Tallies, Values
from shipper.replay.worker import CHANGED
from shipper.routing import functions_of
from shipper.settings import Settings
from shipper.tail import Damaged
from shipper.telemetry import RuleCounts, Telemetry
from shipper.times import first_times

COUNTED_TYPES = ("counter", "histogram")
"""What adds up; of what is about the last minutes there is no history."""
_COMMIT_LINES = 200_000
_COMMIT_SECONDS = 5.0


def countable(rules: Iterable[Rule]) -> tuple[list[Rule], list[str]]:
    """The rules that have a history, and the names of those that have none."""
    found = list(rules)
    kept = [rule for rule in found if rule.type.value in COUNTED_TYPES]
    return kept, sorted({rule.name for rule in found if rule not in kept})


class Historian:
    """Counts entries one after another; a commit takes what is counted and how far it was read together."""

    def __init__(
        self,
        *,
        settings: Settings,
        wish: Wish,
        rules: Sequence[Rule],
        grid: Grid,
        tallies: Tallies,
        positions: Mapping[str, Sequence[FilePosition]],
        monotonic: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`positions`: what a daemon counts itself, by identity."""
        self._settings = settings
        self._wish = wish
        self._grid = grid
        self._tallies = tallies
        self._positions = positions
        self._monotonic = monotonic
        self._clock = clock
        self._redactor = redactor(settings)
        functions = functions_of(settings)
        self._choice = Choice(since=wish.since, until=wish.until, where=wish.where, functions=functions)
        self._opener = Opener(limits=wish.limits)
        self._parsers: dict[str, Parser] = {}
        telemetry = Telemetry(registry=CollectorRegistry())
        self._exporter = Exporter(rules=rules, telemetry=RuleCounts(telemetry))
        self._exporter.restore(tallies.rows())
        self._exporter.take_changes()  # what rules announce before any line has no history
        self._last: dict[Series, Values] = {}
        self._contents = tallies.contents()
        self._pending: dict[int, Content] = {}
        self._zeros: dict[bytes, bytes] = {}
        self._increases: dict[tuple[bytes, int], Values] = {}
        self._open_step = 0
        self._lines = 0
        self._committed_at = monotonic()
        self.is_stopping = False
        self.problems: dict[str, str] = {}
        """By path: why a file was not counted to its end."""

    @property
    def facts(self) -> dict[str, int]:
        """Lines by what became of them, and the first and last event."""
        return self._tallies.facts

    def close(self) -> None:
        self._opener.close()

    def count(self, entry: Entry, *, advanced: Callable[[int], None]) -> None:
        """Counts what is not counted of an entry. Raises StateError; what is wrong with the file is in `problems`."""
        try:
            reading = Reading(
                entry=entry,
                opener=self._opener,
                parser=self._parser_of(entry),
                scope=self._settings.identity_scope,
                stem_name=self._wish.stem,
                identity_line=self._redactor.identity_line,
            )
        except (OSError, Damaged) as error:
            self.problems[entry.path] = f"cannot be read: {error}"
            return
        try:
            self._count(reading, advanced)
            self._note(entry.path, reading.opened.problem if not self.is_stopping else "")
        except ChangedError:
            self._note(entry.path, CHANGED)
        except (OSError, Damaged) as error:
            self._note(entry.path, f"read only up to offset {reading.position}: {error}")
        finally:
            reading.close()
        self.commit()

    def _note(self, path: str, problem: str) -> None:
        if problem:
            self.problems[path] = problem

    def _parser_of(self, entry: Entry) -> Parser:
        source = entry.source
        parser = self._parsers.get(source.name)
        if parser is None:
            parser = Parser(
                line_format=source.format,
                fields=self._exporter.fields | self._choice.fields | set(source.time),
                max_line_bytes=source.max_line_bytes,
                redact=self._redactor.redact,
            )
            self._parsers[source.name] = parser
        return parser

    def _count(self, reading: Reading, advanced: Callable[[int], None]) -> None:
        known = [content for content in self._contents if content.record.identity == reading.identity]
        record = reading.begin([content.record for content in known])
        if record is None and any(reading.has(content.marks) for content in known):
            advanced(reading.opened.size_bytes)  # the beginning of what is counted already
            return
        limit = self._limit(reading)
        last_time = record.last_time if record is not None else ""
        number = len(self._contents)
        content = Content(FileRecord(path=reading.entry.path, source=reading.entry.source.name), ())
        self._contents.append(content)
        content.record.identity = reading.identity
        passed = 0
        while not self.is_stopping and reading.position < limit and (read := reading.next()) is not None:
            batch = read.batch
            if batch.end > limit:
                batch = narrowed(batch, [i for i, at in enumerate(batch.offsets) if at < limit])
            last_time = self._observe(batch, last_time)
            one = content.record
            one.position, one.mark, one.last_time = reading.position, reading.mark, last_time
            content.marks = reading.marks_at(reading.position)
            self._pending[number] = content
            consumed = reading.opened.consumed_bytes(reading.position)
            advanced(consumed - passed)
            passed = consumed
            if self._lines >= _COMMIT_LINES or self._monotonic() >= self._committed_at + _COMMIT_SECONDS:
                self.commit()
        if not self.is_stopping:
            advanced(reading.opened.size_bytes - passed)

    def _limit(self, reading: Reading) -> int:
        """Where history ends in a file: at the offset at which a daemon's metrics began, if one counts it."""
        entry = reading.entry
        found = position_of(self._positions.get(reading.identity, ()), device=entry.device, inode=entry.inode)
        return NEVER if found is None or found.observed_from < 0 else min(found.observed_from, NEVER)

    # Lines

    def _observe(self, batch: Batch, last_time: str) -> str:
        """Counts a batch; returns the time that the next line inherits."""
        if not batch.count:
            return last_time
        columns = [batch.columns[name] for name in self._source_times(batch)]
        if batch.runtime_times is not None:
            columns.append(batch.runtime_times)
        times = first_times(columns, batch.count)
        for i, text in enumerate(times):
            last_time = times[i] = text or last_time
        self._lines += batch.count
        self._add_fact("lines", batch.count)
        positions = self._countable(batch, times)
        if not positions:
            return last_time
        moments = [milliseconds(times[i]) for i in positions]
        self.facts["first_ms"] = min(self.facts.get("first_ms", moments[0]), *moments)
        self.facts["last_ms"] = max(self.facts.get("last_ms", 0), *moments)
        steps = sorted(zip(map(self._grid.step_of, moments), positions, strict=True))
        for step, group in groupby(steps, key=itemgetter(0)):
            if step != self._open_step:
                self._flush()
                self._open_step = step
            chosen = [position for _, position in group]
            self._exporter.observe(batch if len(chosen) == batch.count else narrowed(batch, chosen))
        return last_time

    def _source_times(self, batch: Batch) -> Sequence[str]:
        return next(source.time for source in self._settings.sources if source.name == batch.source)

    def _countable(self, batch: Batch, times: Sequence[str]) -> list[int]:
        """The positions of lines that have a place in history."""
        unwanted = set(self._choice.unwanted(batch, times))
        limit = f"{datetime.fromtimestamp(self._clock(), UTC) + timedelta(seconds=FUTURE_SECONDS):%Y-%m-%dT%H:%M:%S}"
        undated = [i for i, text in enumerate(times) if not text and i not in unwanted]
        future = [i for i, text in enumerate(times) if text > limit and i not in unwanted]
        self._add_fact("unwanted", len(unwanted))
        self._add_fact("undated", len(undated))
        self._add_fact("future", len(future))
        left_out = unwanted.union(undated, future)
        self._add_fact("counted", batch.count - len(left_out))
        return [i for i in range(batch.count) if i not in left_out]

    def _add_fact(self, name: str, count: int) -> None:
        self.facts[name] = self.facts.get(name, 0) + count

    # Increases

    def _flush(self) -> None:
        """Takes what the rules have counted since as increases of the open step."""
        for series, snapshot in self._exporter.take_changes().snapshots:
            values: Values = snapshot if isinstance(snapshot, tuple) else (snapshot,)
            before = self._last.get(series)
            self._last[series] = values
            increase = values if before is None else tuple(a - b for a, b in zip(values, before, strict=True))
            key = series.key
            if before is None:
                self._zeros[key] = series.row(series.family.tally.zero)
            known = self._increases.get((key, self._open_step))
            if known is not None:
                increase = tuple(a + b for a, b in zip(known, increase, strict=True))
            self._increases[key, self._open_step] = increase

    def commit(self) -> None:
        """Makes durable what was counted, and how far. Raises StateError."""
        self._flush()
        self._tallies.commit(zeros=self._zeros, increases=self._increases, contents=self._pending)
        self._zeros, self._increases, self._pending = {}, {}, {}
        self._lines = 0
        self._committed_at = self._monotonic()


def narrowed(batch: Batch, positions: Sequence[int]) -> Batch:
    """Some lines of a batch, as the rules need them."""

    def pick(values: Sequence[Any]) -> list[Any]:
        return [values[i] for i in positions]

    return replace(
        batch,
        lines=pick(batch.lines),
        offsets=pick(batch.offsets),
        columns=Columns((name, pick(column)) for name, column in batch.columns.items()),
        problems={},
        raw_lines=None,
        runtime_times=None if batch.runtime_times is None else pick(batch.runtime_times),
        checksums={},
    )
