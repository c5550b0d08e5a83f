"""Which logs are replayed, in which order, and which are not, and why: looks at the beginning of each.

`entries` finds them, `choice` says which are out of the range for certain, `crew` gives them out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import msgspec

from shipper.discover import Found
from shipper.errors import ConfigError
from shipper.parse import Parser
from shipper.redact.stage import redactor
from shipper.replay.choice import why_left_out
from shipper.replay.entries import STANDARD_INPUT, Entry, Opened, Opener, entries_of, identity_in
from shipper.replay.messages import Task, Wish
from shipper.replay.records import FileRecord
from shipper.settings import Settings, SourceSettings
from shipper.tail import Chunk, Damaged, LineReader
from shipper.times import first_times

_SHARD = re.compile(r"(\d{1,6})/(\d{1,6})")


class Shard(msgspec.Struct, frozen=True):
    """One of `count` parts, from 0."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def has(self, identity: str) -> bool:
        """Whether a file is in it; by its content, so that each machine says the same."""
        return int(identity or "0", 16) % self.count == self.number


WHOLE = Shard(0, 1)


def shard_of(text: str) -> Shard:
    """`I/N`. Raises ConfigError."""
    match = _SHARD.fullmatch(text.strip())
    if match is None or not int(match[1]) < int(match[2]):
        raise ConfigError([f"--shard: {text!r} is not I/N with I from 0 to N-1, such as 0/4"])
    return Shard(int(match[1]), int(match[2]))


class Planned(msgspec.Struct, frozen=True):
    """A log that is to be read."""

    entry: Entry
    identity: str
    first_time: str
    """Of its first line that has one near its beginning; '' if none has."""


class Plan(msgspec.Struct):
    """The logs in order, the oldest first by event time."""

    files: list[Planned] = msgspec.field(default_factory=list)
    left_out: dict[str, str] = msgspec.field(default_factory=dict)
    """By path: why it is not read."""
    broken: list[FileRecord] = msgspec.field(default_factory=list)
    """What cannot be read from its beginning."""

    @property
    def size_bytes(self) -> int:
        return sum(planned.entry.size_bytes for planned in self.files)


class Planner:
    """Looks at files one by one: `add` each, then `finish`."""

    def __init__(self, *, settings: Settings, wish: Wish, shard: Shard) -> None:
        self._settings = settings
        self._wish = wish
        self._shard = shard
        self._opener = Opener(limits=wish.limits)
        self._identity_line = redactor(settings).identity_line
        self._parsers: dict[str, Parser] = {}
        self._plan = Plan()

    def add(self, found: Found) -> None:
        """A file, and what it holds if it is an archive."""
        if not found.source.ship and not found.source.metrics:
            self._plan.left_out[found.path] = f"source {found.source.name} has neither ship nor metrics"
            return
        try:
            for entry in entries_of(found, self._settings, self._opener, self._plan.left_out):
                self.add_entry(entry)
        except (Damaged, OSError) as error:
            self._break(found.path, found.source.name, found.size, error)

    def add_entry(self, entry: Entry) -> None:
        """One log."""
        if entry.file == STANDARD_INPUT:
            self._plan.files.append(Planned(entry, "", ""))
            return
        try:
            with self._opener.open(entry) as opened:
                planned = self._planned(entry, opened)
        except (Damaged, OSError) as error:
            self._break(entry.path, entry.source.name, entry.size_bytes, error)
            return
        why = why_left_out(first=planned.first_time, mtime=entry.mtime, since=self._wish.since, until=self._wish.until)
        if why:
            self._plan.left_out[entry.path] = why
        elif self._shard.has(planned.identity):
            self._plan.files.append(planned)

    def finish(self) -> Plan:
        """The plan."""
        self._opener.close()
        self._plan.files.sort(key=lambda planned: (planned.first_time or _unknown(planned.entry), planned.entry.path))
        return self._plan

    def _break(self, path: str, source: str, size_bytes: int, error: Exception) -> None:
        if self._shard.number == 0:  # what cannot be read has no content to say whose it is
            problem = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            self._plan.broken.append(
                FileRecord(path=path, source=source, size_bytes=size_bytes, problem=f"cannot be read: {problem}")
            )

    def _planned(self, entry: Entry, opened: Opened) -> Planned:
        """Raises OSError, and Damaged where nothing can be read."""
        identity = identity_in(
            opened,
            scope=self._settings.identity_scope,
            stem_name=self._wish.stem,
            identity_line=self._identity_line,
        )
        if not identity and opened.problem:  # before its first line; later, whoever reads it says so
            raise Damaged(opened.problem)
        return Planned(entry, identity, self._first_time(entry, opened) if identity else "")

    def _first_time(self, entry: Entry, opened: Opened) -> str:
        source = entry.source
        lines = LineReader(opened.reader, position=0, max_line_bytes=source.max_line_bytes)
        chunk = lines.patient_chunk() or lines.tail_chunk()
        if chunk is None:
            return ""
        return next(filter(None, self._times(source, chunk)), "")

    def _times(self, source: SourceSettings, chunk: Chunk) -> Iterable[str]:
        parser = self._parsers.get(source.name)
        if parser is None:
            parser = Parser(
                line_format=source.format, fields=frozenset(source.time), max_line_bytes=source.max_line_bytes
            )
            self._parsers[source.name] = parser
        batch = parser.parse(chunk, source=source.name, path="", identity="", content=None, is_final=True)
        if batch is None:
            return ()
        columns = [batch.columns[name] for name in source.time]
        if batch.runtime_times is not None:
            columns.append(batch.runtime_times)
        return first_times(columns, batch.count)


def _unknown(entry: Entry) -> str:
    """Where a log stands that does not say when it began: at its last change, before those of that time."""
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(max(0.0, entry.mtime), UTC):%Y-%m-%dT%H:%M:%S}"


# Going on -----------------------------------------------------------------------------------------------------------


def tasks_of(plan: Plan, earlier: Sequence[FileRecord]) -> tuple[list[Task], dict[int, FileRecord]]:
    """What is still to do, and what every file's record is before that, by its number in the plan.

    A file that an earlier run has done, and that is as it was, is no task. A record goes to the file of its path, else
    to one of its identity (it was renamed or compressed meanwhile).
    """
    by_path = {(record.path, record.identity): record for record in earlier}
    claimed = {id(by_path[key]) for planned in plan.files if (key := (planned.entry.path, planned.identity)) in by_path}
    tasks = []
    records: dict[int, FileRecord] = {}
    for number, planned in enumerate(plan.files):
        entry = planned.entry
        own = by_path.get((entry.path, planned.identity))
        others = [one for one in earlier if one.identity == planned.identity and id(one) not in claimed]
        known = [own] if own is not None else others if planned.identity else []
        if own is not None and own.is_done and own.size_bytes == entry.size_bytes:
            records[number] = own
            continue
        blank = FileRecord(
            path=entry.path, source=entry.source.name, identity=planned.identity, size_bytes=entry.size_bytes
        )
        records[number] = known[0] if known else blank
        if planned.identity or entry.file == STANDARD_INPUT:
            tasks.append(Task(number, entry, tuple(known)))
        else:
            records[number].is_done = True
    return tasks, records
