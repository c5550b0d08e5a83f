"""Replays one file after another into an output: reads, chooses, sends, and says how far each file is done for good.

Works in steps, in this process or in one of its own; `crew` gives the tasks and hears the messages. Loses nothing: a
record moves over acknowledged batches only. Repeats what was under way when it ended, which ids and ledgers undo.
"""

from __future__ import annotations

import copy
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from shipper.batch import Documents, Output
from shipper.delivered import whole_lines
from shipper.enrich import Enriched, Enricher
from shipper.parse import Parser
from shipper.redact.stage import redactor
from shipper.replay.choice import Choice
from shipper.replay.entries import Entry, Opener
from shipper.replay.messages import (
    Closed,
    Command,
    Message,
    NoMore,
    Report,
    Standing,
    Stop,
    Task,
    Wants,
    Wish,
)
from shipper.replay.pacing import Pace
from shipper.replay.parts import count_results, split
from shipper.replay.reading import ChangedError, Reading
from shipper.replay.records import FileRecord, Passed, add
from shipper.reread import Read, enricher_of
from shipper.routing import functions_of
from shipper.settings import Settings, SourceSettings
from shipper.tail import Damaged

log = logging.getLogger(__name__)

REPORT_SECONDS = 0.3
_WAIT_SECONDS = 0.02
_NOTING_SECONDS = 30.0
"""All is acknowledged then; the output's own threads may have to note it yet, which a busy machine lets wait."""
CHANGED = "was emptied or written anew while it was read; run the same command again for what it has now"


class _Stages(msgspec.Struct):
    """One source's own."""

    parser: Parser
    enricher: Enricher


class _Flight(msgspec.Struct, eq=False):
    """A batch that was handed to the output, in one part an index."""

    passed: Passed
    parts: list[Documents] = msgspec.field(default_factory=list)
    left: int = 0
    """Parts that are not acknowledged."""


class _File(msgspec.Struct, eq=False):
    """A file that is being read, or of which something is still under way."""

    task: Task
    record: FileRecord
    reading: Reading | None = None
    flights: deque[_Flight] = msgspec.field(default_factory=deque)
    last_time: str = ""
    covered: Sequence[tuple[int, int]] = ()
    known_powers: int = -1
    consumed_bytes: int = 0
    is_changed: bool = True
    """Since the last report."""


class Repairer(Protocol):
    """Makes reduced documents whole (`repair.Repairer`)."""

    def repair(self, documents: Documents) -> int:
        """How many of them it has replaced. Raises UndeliveredError."""

    def close(self) -> None: ...


class Worker:
    """`take` commands, `step` until `is_closed`. The output's threads only call `_note_done`."""

    def __init__(
        self,
        *,
        settings: Settings,
        wish: Wish,
        output: Output,
        pace: Pace,
        send: Callable[[Message], None],
        repairer: Repairer | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._wish = wish
        self._output = output
        self._pace = pace
        self._send = send
        self._repairer = repairer
        self._monotonic = monotonic
        functions = functions_of(settings)
        self._choice = Choice(since=wish.since, until=wish.until, where=wish.where, functions=functions)
        self._redactor = redactor(settings)
        self._stages: dict[str, _Stages] = {}
        frame = output.frame
        self._document_lines = frame.before_source.count(b"\n") + frame.end.count(b"\n")
        self._opener = Opener(limits=wish.limits, is_stopping=lambda: self._stop is not None)
        self._tasks: deque[Task] = deque()
        self._has_more = True
        self._has_asked = False
        self._stop: Stop | None = None
        self._current: _File | None = None
        self._files: list[_File] = []
        self._acknowledged: deque[tuple[_File, _Flight]] = deque()
        self._wake = threading.Event()
        self._not_before = 0.0
        self._report_at = 0.0
        self.is_closed = False

    def take(self, command: Command) -> None:
        """What it is told. A signal handler may call it: it takes no lock."""
        match command:
            case Task():
                self._has_asked = False
                self._tasks.append(command)
            case NoMore():
                self._has_more = False
            case Stop():
                self._stop = command

    @property
    def is_idle(self) -> bool:
        """Whether it has no file, and waits to be given one."""
        return self._current is None and self._has_asked

    def wait(self, seconds: float) -> None:
        """Waits until something is acknowledged."""
        self._wake.wait(seconds)
        self._wake.clear()

    def step(self) -> float:
        """Does what can be done; returns the seconds until there is more, unless `wait` ends before."""
        self._take_acknowledgements()
        if self._stop is not None:
            self._close(self._stop.deadline)
            return 0.0
        self._report()
        if self._current is None and not self._begin():
            if not self._has_more and not self._files:
                self._close(self._monotonic() + _NOTING_SECONDS)
                return 0.0
            if not self._has_more:  # else company may come with the next file
                self._output.flush()
            return _WAIT_SECONDS
        now = self._monotonic()
        if now < self._not_before:
            return min(self._not_before - now, 0.2)
        if not self._output.has_room():
            return _WAIT_SECONDS
        self._advance()
        return 0.0

    # One file

    def _begin(self) -> bool:
        """Begins the next file; False if there is none now."""
        if not self._tasks:
            if self._has_more and not self._has_asked:
                self._has_asked = True
                self._send(Wants())
            return False
        task = self._tasks.popleft()
        entry = task.entry
        record = FileRecord(path=entry.path, source=entry.source.name, size_bytes=entry.size_bytes)
        file = _File(task, record)
        self._current = file
        self._files.append(file)
        try:
            file.reading = reading = self._open(entry)
            known = reading.begin(task.known)
            if known is not None:
                file.record = replace_place(known, record)
                file.last_time = known.last_time
            file.record.identity = reading.identity
            self._ask_ledger(file)
        except Damaged as error:
            self._end(file, f"damaged from its beginning: {error}")
        except OSError as error:
            self._end(file, f"cannot be read: {error.strerror or error}")
        return True

    def _open(self, entry: Entry) -> Reading:
        return Reading(
            entry=entry,
            opener=self._opener,
            parser=self._stages_of(entry.source).parser,
            scope=self._settings.identity_scope,
            stem_name=self._wish.stem,
            identity_line=self._redactor.identity_line,
        )

    def _stages_of(self, source: SourceSettings) -> _Stages:
        stages = self._stages.get(source.name)
        if stages is not None:
            return stages
        enricher = enricher_of(self._settings, source, frame=self._output.frame, choice=self._choice)
        parser = Parser(
            line_format=source.format,
            fields=enricher.fields,
            max_line_bytes=source.max_line_bytes,
            redact=self._redactor.redact,
        )
        stages = _Stages(parser, enricher)
        self._stages[source.name] = stages
        return stages

    def _ask_ledger(self, file: _File) -> None:
        """What the output itself knows to have of a file. Raises OSError and Damaged."""
        reading = file.reading
        if reading is None or not self._output.has_ledger:
            return
        file.known_powers = reading.position.bit_length()
        covered = self._output.covered(reading)
        file.covered = whole_lines(covered, reading.opened.reader) if covered and reading.opened.is_plain else covered

    def _advance(self) -> None:
        """Sends one batch of the present file."""
        file = self._current
        if file is None or file.reading is None:
            self._current = None
            return
        try:
            read = file.reading.next()
            if read is not None and self._is_to_be_asked_again(file, file.reading):
                self._ask_ledger(file)
        except ChangedError:
            self._end(file, CHANGED)
        except Damaged as error:
            self._end(file, f"damaged, and read only up to offset {file.reading.position}: {error}")
        except OSError as error:
            self._end(file, f"cannot be read on at offset {file.reading.position}: {error.strerror or error}")
        else:
            if self._stop is not None:
                return  # what a stream gave before it was told to stop may be half a line
            if read is None:
                self._end(file, file.reading.opened.problem)
            else:
                self._ship(file, file.reading, read)

    def _is_to_be_asked_again(self, file: _File, reading: Reading) -> bool:
        """Whether more is known of a content that can only be read forwards."""
        return (
            self._output.has_ledger
            and not reading.knows_all_marks
            and file.known_powers != reading.position.bit_length()
        )

    def _ship(self, file: _File, reading: Reading, read: Read) -> None:
        batch = read.batch
        file.consumed_bytes = reading.opened.consumed_bytes(reading.position)
        self._not_before = self._pace.take(batch.count, now=self._monotonic())
        enriched = self._stages_of(file.task.entry.source).enricher.enrich(
            batch, last_time=file.last_time, covered=file.covered, done=lambda _: None
        )
        flight = _Flight(_passed(reading, read, enriched, self._choice.take_span() if batch.count else ("", "")))
        file.last_time = enriched.last_time
        flight.parts = (
            [enriched.documents] if self._output.has_ledger else split(enriched.documents, self._document_lines)
        )
        flight.left = len(flight.parts)
        file.flights.append(flight)
        for part in flight.parts:
            part.done = lambda _: self._note_done(file, flight)
        for part in flight.parts:
            self._output.submit(part)

    def _end(self, file: _File, problem: str) -> None:
        """Nothing more is read of it."""
        if file.reading is not None:
            file.consumed_bytes = file.record.size_bytes
            file.reading.close()
        file.record.problem = problem
        if problem:
            log.error("%r %s", file.record.path, problem)
        file.is_changed = True
        self._current = None

    # What is done

    def _note_done(self, file: _File, flight: _Flight) -> None:
        """Called by the output, from its threads."""
        self._acknowledged.append((file, flight))
        self._wake.set()

    def _take_acknowledgements(self) -> None:
        while self._acknowledged:
            file, flight = self._acknowledged.popleft()
            flight.left -= 1
            while file.flights and not file.flights[0].left:
                done = file.flights.popleft()
                for part in done.parts:
                    self._repair(part)
                    count_results(part, done.passed.indices)
                done.parts.clear()  # each leads back here by its `done`: a circle that would wait for the collector
                add(file.record, done.passed)
                file.is_changed = True

    def _repair(self, part: Documents) -> None:
        had = part.results.get("duplicate", 0)
        if self._repairer is not None and had:
            repaired = self._repairer.repair(part)
            part.results |= {"duplicate": had - repaired, "repaired": repaired}

    def _report(self) -> None:
        now = self._monotonic()
        for file in [file for file in self._files if file is not self._current and not file.flights]:
            file.record.is_done = not file.record.problem
            self._send(Report(file.task.number, file.record, file.consumed_bytes, is_ended=True))
            self._files.remove(file)
        if now < self._report_at:
            return
        self._report_at = now + REPORT_SECONDS
        for file in self._files:
            if file.is_changed:
                file.is_changed = False
                self._send(Report(file.task.number, file.record, file.consumed_bytes, is_ended=False))
        self._send(Standing(self._output.status()))

    def _close(self, deadline: float) -> None:
        is_delivered = self._output.close(deadline=deadline)
        self._take_acknowledgements()
        for file in self._files:
            self._send(Report(file.task.number, file.record, file.consumed_bytes, is_ended=False))
            if file.reading is not None:
                file.reading.close()
        self._opener.close()
        self._pace.close()
        if self._repairer is not None:
            self._repairer.close()
        self.is_closed = True
        self._send(Closed(is_delivered, self._output.status()))


def replace_place(known: FileRecord, fresh: FileRecord) -> FileRecord:
    """What is known of a content, under the name and size that its file has now."""
    record = copy.deepcopy(known)
    record.path, record.source, record.size_bytes = fresh.path, fresh.source, fresh.size_bytes
    record.is_done, record.problem = False, ""
    return record


def _passed(reading: Reading, read: Read, enriched: Enriched, span: tuple[str, str]) -> Passed:
    """What a batch adds to its record. A last line that may be continued is not passed: it is looked at again."""
    start = read.batch.start
    is_open = read.is_tail and not reading.opened.reader.is_complete
    return Passed(
        end=start if is_open else reading.position,
        mark=reading.mark_before if is_open else reading.mark,
        last_time=enriched.last_time,
        lines=read.batch.count,
        unwanted=enriched.unwanted,
        dropped=enriched.dropped,
        duplicates=enriched.duplicates,
        span=span,
        indices={},
    )
