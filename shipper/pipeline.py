"""Drives the stages: looks at files, reads them in turns, feeds metrics and output, and says what may be committed.

One thread runs `step` in a loop; everything it owns is touched by it alone. Outputs acknowledge from their own threads,
and the daemon commits; both only leave a note and wake the loop.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from typing import Any, Protocol

from shipper.attach import is_json_object
from shipper.batch import Batch, Documents, Output
from shipper.enrich import Enricher
from shipper.followed import NEVER, Cursor, Followed, UnderWay
from shipper.looks import Looks
from shipper.parse import Parser
from shipper.roster import Roster
from shipper.settings import SourceSettings
from shipper.state import Commit
from shipper.tail import CHUNK_BYTES, Chunk, Damaged, LineReader
from shipper.telemetry import Telemetry
from shipper.turn import Hold, Read, choose

log = logging.getLogger(__name__)

STALL_SECONDS = 3.0
"""So long shipping stands still before metrics read on alone. Shorter would read twice at a slight overload."""
FINAL_SECONDS = 5.0
"""An unterminated last line of a file that will not grow waits so long."""
AWAY_SECONDS = 60.0
"""A file that was moved where no pattern looks is followed so long after its last change."""
TURNS_A_STEP = 32
BLOCKED_SECONDS = 0.05
RETRY_SECONDS = 5.0


class Changes(Protocol):
    """Series that changed: `rows` for the state."""

    @property
    def rows(self) -> Sequence[tuple[bytes, bytes | None]]: ...


class Observer(Protocol):
    """What the pipeline needs of the exporter."""

    def observe(self, batch: Batch) -> None: ...

    def take_changes(self) -> Any: ...


@dataclass(slots=True)
class Pending:
    """What is to be made durable, and the series that may be shown then."""

    commit: Commit
    changes: Any


@dataclass(slots=True)
class Stages:
    """One source's own stages."""

    settings: SourceSettings
    parser: Parser
    enricher: Enricher


class _Turn(Enum):
    MORE = "more"
    END = "end"
    """Read to its present end."""
    HELD = "held"
    """Waits for room in the output."""
    GONE = "gone"


class Pipeline:
    """From files to metrics and output. Loses nothing of what is followed; repeats at most what was not committed."""

    def __init__(
        self,
        *,
        stages: Mapping[str, Stages],
        roster: Roster,
        observer: Observer,
        output: Output,
        telemetry: Telemetry,
        open_limit: int = 512,
        reads_once: bool = False,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stages = stages
        self.roster = roster
        self._observer = observer
        self._output = output
        self._telemetry = telemetry
        self._open_limit = open_limit
        self._reads_once = reads_once
        self._clock = clock
        self._monotonic = monotonic
        self._wake = threading.Event()
        self._looks = Looks()
        self._ready: deque[Followed] = deque()
        self._held: list[Followed] = []
        self._queued: set[int] = set()  # ids of files that are ready or held
        self._acknowledged: deque[tuple[Followed, UnderWay]] = deque()
        self._dirty: dict[int, Followed] = {}
        self._open_files = 0
        self._room_since: float | None = None  # without room since
        self._was_stalled = False
        self._is_stopping = False
        self._has_handed_over = False
        self._lines = {name: telemetry.lines.labels(name) for name in stages}
        self._bytes = {name: telemetry.bytes.labels(name) for name in stages}

    # Life

    def begin_stop(self) -> None:
        """No more reading; what is under way goes on."""
        self._is_stopping = True
        self.wake()

    def wake(self) -> None:
        """Ends the present `wait`; from any thread."""
        self._wake.set()

    def wait(self, seconds: float) -> None:
        self._wake.wait(seconds)
        self._wake.clear()

    def step(self) -> float:
        """Does what is due; returns the seconds until something is, unless woken earlier."""
        now = self._monotonic()
        self._take_acknowledgements()
        if self._is_stopping:
            return 0.5
        for followed in self.roster.update():
            self._looks.put(followed, now)
        for followed in self._looks.due(now):
            self._look(followed, now)
        if self._take_turns(now):
            return 0.0
        return self._seconds_to_next(now)

    def _seconds_to_next(self, now: float) -> float:
        times = [self.roster.next_at()]
        if (look := self._looks.next_at()) is not None:
            times.append(look)
        if self._held or self._ready:
            times.append(now + BLOCKED_SECONDS)
        return max(0.0, min(times) - now)

    @property
    def is_idle(self) -> bool:
        """Whether everything that is there has been read and acknowledged."""
        return (
            not self._queued
            and not self.roster.has_fading
            and not self._acknowledged
            and all(
                not followed.under_way and followed.looked_at_size == followed.size
                for followed in self.roster.followed.values()
            )
        )

    # Looking

    def _look(self, followed: Followed, now: float) -> None:
        """Has it grown, shrunk, gone? One `fstat`, or one `stat` where it is not open."""
        key = (followed.device, followed.inode)
        if self.roster.followed.get(key) is not followed:
            return
        try:
            facts = os.fstat(followed.descriptor) if followed.is_open else os.stat(followed.path)
        except FileNotFoundError:
            self.roster.give_up(followed, "deleted")
            return
        except OSError as error:
            self._cannot_read(followed, error, now)
            return
        if (facts.st_dev, facts.st_ino) != key:
            self.roster.scan_soon()
            self._looks.put(followed, now + RETRY_SECONDS)
            return
        if (facts.st_size, facts.st_mtime_ns) != (followed.size, followed.mtime_ns):
            followed.changed_at, followed.interval = now, 0.0
            followed.mtime_ns = facts.st_mtime_ns
            self._dirty[id(followed)] = followed
        if facts.st_size < min(followed.size, followed.farthest) and not followed.is_compressed:
            self.roster.truncated(followed)
            return
        if facts.st_size > followed.nearest or facts.st_size > followed.shipped:
            followed.note_growth(now, facts.st_size)
        followed.size = facts.st_size
        if followed.looked_at_size != facts.st_size:
            self._make_ready(followed)
        else:
            self._rest(followed, now, is_deleted=facts.st_nlink == 0)

    def _rest(self, followed: Followed, now: float, *, is_deleted: bool) -> None:
        """Nothing new: takes what will not be continued, lets go of what is gone, else looks later."""
        quiet = now - followed.changed_at
        is_final = followed.is_moved or is_deleted or followed.is_complete
        if is_final and quiet >= FINAL_SECONDS and not self._is_queued(followed):
            if followed.is_open and self._read_tail(followed):
                return
            is_away = followed.is_moved and quiet >= AWAY_SECONDS and self.roster.is_away(followed)
            if (is_deleted or is_away) and followed.is_joined:
                self.roster.let_go(followed)
                return
        if self._open_files > self._open_limit and not followed.under_way and not is_deleted:
            self._close(followed)
        self._looks.later(followed, now, files=len(self.roster.followed))

    def _close(self, followed: Followed) -> None:
        if followed.is_open:
            followed.close()
            self._open_files -= 1

    def _open(self, followed: Followed) -> None:
        if not followed.is_open:
            followed.open()
            self._open_files += 1

    def _cannot_read(self, followed: Followed, error: Exception, now: float) -> None:
        if not followed.is_damaged:
            followed.is_damaged = True
            reason = getattr(error, "strerror", None) or error
            log.error("cannot read on in %r at offset %d: %s", followed.path, followed.nearest, reason)
            self._telemetry.parse_failures.labels(followed.source.name, "damaged_file").inc()
        followed.looked_at_size = followed.size
        self._looks.put(followed, now + RETRY_SECONDS)

    # Turns

    def _is_queued(self, followed: Followed) -> bool:
        return id(followed) in self._queued

    def _make_ready(self, followed: Followed) -> None:
        if not self._is_queued(followed):
            self._queued.add(id(followed))
            self._ready.append(followed)

    def _take_turns(self, now: float) -> int:
        """Gives each file that has something one batch at a time; returns how many were read."""
        has_room, is_stalled = self._room(now)
        if self._held and (has_room or is_stalled):
            self._ready.extend(self._held)
            self._held.clear()
        batches = 0
        for _ in range(min(len(self._ready), TURNS_A_STEP)):
            followed = self._ready.popleft()
            self._queued.discard(id(followed))
            turn = self._take_turn(followed, now, has_room=has_room, is_stalled=is_stalled)
            if turn is _Turn.MORE:
                batches += 1
                self._make_ready(followed)
                has_room, is_stalled = self._room(now)
            elif turn is _Turn.HELD:
                self._queued.add(id(followed))
                self._held.append(followed)
                self._looks.later(followed, now, files=len(self.roster.followed))
            elif turn is _Turn.END:
                followed.interval = 0.0
                self._looks.later(followed, now, files=len(self.roster.followed))
        return batches

    def _room(self, now: float) -> tuple[bool, bool]:
        """Whether the output has room, and whether it has had none for long."""
        if self._output.has_room():
            self._room_since = None
            return True, False
        if self._room_since is None:
            self._room_since = now
        return False, now - self._room_since >= STALL_SECONDS

    def _take_turn(self, followed: Followed, now: float, *, has_room: bool, is_stalled: bool) -> _Turn:
        if self.roster.followed.get((followed.device, followed.inode)) is not followed:
            return _Turn.GONE
        try:
            self._open(followed)
            if followed.tail_start is not None and followed.tail_was_continued():
                self._telemetry.unexpected_tails.inc()
            turn = self._read(followed, has_room=has_room, is_stalled=is_stalled)
        except (OSError, Damaged) as error:
            self._cannot_read(followed, error, now)
            return _Turn.GONE
        if turn is _Turn.MORE and followed.looks_replaced:
            self.roster.truncated(followed)
            return _Turn.GONE
        return turn

    def _read(self, followed: Followed, *, has_room: bool, is_stalled: bool) -> _Turn:
        ship, observe = followed.ship, followed.observe
        choice = choose(
            observed=None if observe is None else observe.position,
            shipped=None if ship is None else ship.position,
            has_room=has_room,
            is_stalled=is_stalled,
        )
        if isinstance(choice, Hold):
            return _Turn.HELD if choice is Hold.NO_ROOM else self._at_end(followed)
        cursor = ship if choice.ships else observe
        if cursor is None:
            return self._at_end(followed)
        turn = self._read_batch(followed, cursor, choice)
        is_behind = ship is not None and observe is not None and ship.position < observe.position < NEVER
        if is_behind and choice.ships and followed.size > observe.position:  # type: ignore[union-attr] # is_behind
            self._read_batch(followed, observe, Read(ships=False, observes=True))  # type: ignore[arg-type]
        return _Turn.HELD if turn is _Turn.END and is_behind and not choice.ships else turn

    def _at_end(self, followed: Followed) -> _Turn:
        followed.looked_at_size = followed.size
        if self._reads_once and followed.is_open and self._read_tail(followed):
            return _Turn.MORE
        return _Turn.END

    def _read_batch(self, followed: Followed, cursor: Cursor, choice: Read) -> _Turn:
        lines = cursor.lines
        chunk = lines.next_chunk(limit=choice.limit)
        if chunk is None:
            is_scanning = lines.scanned > lines.position and lines.scanned < followed.size and followed.is_plain
            return _Turn.MORE if is_scanning else self._at_end(followed)
        batch = self._parse(followed, lines, chunk)
        if batch is None:
            return self._at_end(followed)
        self._hand_over(followed, cursor, chunk, batch, choice)
        return _Turn.MORE

    def _read_tail(self, followed: Followed) -> bool:
        """Takes the unterminated last line of a file that will not be continued; True if there was one."""
        cursor = followed.ship or followed.observe
        if cursor is None or (followed.ship is not None and not self._output.has_room()):
            return False
        if (
            followed.ship is not None
            and followed.observe is not None
            and followed.ship_position != followed.observe_position
        ):
            return False
        chunk = cursor.lines.tail_chunk()
        if chunk is None or (self._reads_once and not is_json_object(chunk.data)):
            return False
        batch = self._parse(followed, cursor.lines, chunk)
        if batch is None:
            return False
        cursor.lines.jump(chunk.end)
        self._hand_over(followed, cursor, chunk, batch, Read(followed.ship is not None, followed.observe is not None))
        self._looks.put(followed, self._monotonic())
        return True

    def _parse(self, followed: Followed, lines: LineReader, chunk: Chunk) -> Batch | None:
        """The batch of a chunk, made shorter or longer where a line has many parts; None if more of it must come."""
        parser = self._stages[followed.source.name].parser
        size = CHUNK_BYTES
        while True:
            batch = parser.parse(
                chunk,
                source=followed.source.name,
                path=followed.path,
                identity=followed.identity,
                content=followed,
                is_final=chunk.is_tail or size > 8 * followed.source.max_line_bytes,
            )
            if batch is not None:
                if batch.end < chunk.end:
                    chunk.data = chunk.data[: batch.end - chunk.start]
                    chunk.end = batch.end
                    lines.jump(batch.end)
                return batch
            lines.jump(chunk.start)
            size *= 4
            longer = lines.next_chunk(size=size)
            if longer is None or longer.end <= chunk.end:
                lines.jump(chunk.start)
                return None
            chunk.end, chunk.data = longer.end, longer.data

    # Handing over

    def _hand_over(self, followed: Followed, cursor: Cursor, chunk: Chunk, batch: Batch, choice: Read) -> None:
        """Counts and ships a batch, and moves the cursors over it."""
        if chunk.end > followed.trail.position:
            self._count(batch, chunk.end - chunk.start)
        followed.note(chunk, cursor)
        if choice.observes:
            is_rest_of_tail = followed.tail_start is not None and chunk.start > followed.tail_start
            self._observer.observe(without_first_line(batch) if is_rest_of_tail else batch)
            if followed.observe is not None and followed.observe is not cursor:
                followed.observe.lines.jump(chunk.end)
                followed.observe.before = cursor.before
        if choice.ships:
            self._ship(followed, batch)
        if chunk.is_tail:
            followed.tail_start = chunk.start
        elif followed.tail_start is not None and followed.nearest > followed.tail_start and followed.is_joined:
            followed.tail_start = None
        self._dirty[id(followed)] = followed

    def _count(self, batch: Batch, size: int) -> None:
        self._lines[batch.source].inc(batch.count)
        self._bytes[batch.source].inc(size)
        for problems in batch.problems.values():
            for problem in problems:
                self._telemetry.parse_failures.labels(batch.source, problem.reason).inc()

    def _ship(self, followed: Followed, batch: Batch) -> None:
        under_way = UnderWay(batch.end, "")
        enriched = self._stages[batch.source].enricher.enrich(
            batch,
            last_time=followed.ship_time,
            covered=followed.covered,
            done=partial(self._note_done, followed, under_way),
        )
        followed.ship_time = under_way.last_time = enriched.last_time
        followed.under_way.append(under_way)
        documents = self._telemetry.documents
        if enriched.dropped:
            documents.labels(batch.source, "dropped").inc(enriched.dropped)
        if enriched.duplicates:
            documents.labels(batch.source, "duplicate").inc(enriched.duplicates)
        if enriched.documents.dead_letters:
            documents.labels(batch.source, "dead_letter").inc(len(enriched.documents.dead_letters))
        self._output.submit(enriched.documents)

    def _note_done(self, followed: Followed, under_way: UnderWay, _documents: Documents) -> None:
        """Called by the output, from its threads."""
        self._acknowledged.append((followed, under_way))
        self._wake.set()

    def _take_acknowledgements(self) -> None:
        if not self._acknowledged:
            return
        while self._acknowledged:
            followed, under_way = self._acknowledged.popleft()
            under_way.is_done = True
            followed.acknowledge()
            self._dirty[id(followed)] = followed
        self.roster.bury_acknowledged()

    # Committing

    def take_pending(self) -> Pending | None:
        """What changed since the last call, for one commit; None if nothing did.

        Offsets and series are taken at the same place between two batches, so they belong together.
        """
        changes = self._observer.take_changes()
        now = self._clock()
        records = {followed.id: followed.record(now) for followed in self._dirty.values() if not followed.is_gone}
        self._dirty = {}
        for followed in self.roster.take_dirty():
            records[followed.id] = followed.record(now)
        kept = self.roster.take_changes()
        records.update(kept.records)
        commit = Commit(list(records.values()), kept.forgotten, changes.rows)
        is_empty = not records and not kept.forgotten and not commit.series
        if is_empty and self._has_handed_over:
            return None
        self._has_handed_over = True  # the first commit says that this state has begun, whatever there is to follow
        return Pending(commit, changes)


def without_first_line(batch: Batch) -> Batch:
    """The batch without its first line, which the metrics have counted in a shorter form."""
    return replace(
        batch,
        lines=batch.lines[1:],
        offsets=batch.offsets[1:],
        columns={name: column[1:] for name, column in batch.columns.items()},
        problems={i - 1: problems for i, problems in batch.problems.items() if i},
        raw_lines=None,
        runtime_times=None,
    )
