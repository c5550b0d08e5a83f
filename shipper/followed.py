"""One content of one file while it is followed: descriptor, two cursors, marks, and what is under way of it.

`attach` makes these, `pipeline` drives them, `state` keeps their records. Guarded by nothing: the pipeline's thread
owns them; only `marks_at` is asked from elsewhere.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from shipper.batch import Mark
from shipper.identity import MARK_BYTES, Trail, agrees, mark_of
from shipper.settings import SourceSettings
from shipper.state import FileRecord
from shipper.tail import ByteReader, Chunk, Damaged, LineReader, PlainReader, bytes_before, open_log, reader_for

NEVER = 1 << 62
"""A cursor that has nothing to read: behind every end."""


@dataclass(slots=True)
class UnderWay:
    """A batch that was handed to the output. Acknowledged in any order, counted in file order."""

    end: int
    last_time: str
    is_done: bool = False


class Cursor:
    """A place in a file, and the reader that gets on from there."""

    __slots__ = ("before", "lines")

    def __init__(self, lines: LineReader) -> None:
        self.lines = lines
        self.before: bytes | None = None  # the bytes that stand before the position, once they are known

    @property
    def position(self) -> int:
        return self.lines.position

    def passed(self, chunk: Chunk) -> None:
        """Remembers what stands before the place to which `chunk` led."""
        if len(chunk.data) >= MARK_BYTES and not chunk.is_cut:
            self.before = chunk.data[-MARK_BYTES:]
        elif self.before is not None and not chunk.is_cut and not chunk.leading_nuls:
            self.before = (self.before + chunk.data)[-MARK_BYTES:]
        else:
            self.before = None


@dataclass(slots=True)
class Followed:
    """A file that is read. Vanishes from memory when it is gone and everything of it is acknowledged."""

    id: int
    source: SourceSettings
    path: str
    device: int
    inode: int
    identity: str
    observed: int
    observed_from: int
    shipped: int
    shipped_from: int
    last_time: str
    """At `shipped`."""
    trail: Trail
    ship_time: str = ""
    """At the shipping cursor, ahead of `last_time` by what is under way."""
    size: int = 0
    mtime_ns: int = 0
    descriptor: int = -1
    reader: ByteReader | None = None
    ship: Cursor | None = None
    observe: Cursor | None = None
    under_way: deque[UnderWay] = field(default_factory=deque)
    covered: Sequence[tuple[int, int]] = ()
    tail_start: int | None = None
    is_gone: bool = False
    """Deleted, truncated, or given up: nothing more will come, what is there is read to its end if it is open."""
    is_moved: bool = False
    """It has been renamed since it was met."""
    is_damaged: bool = False
    changed_at: float = 0.0
    """When a look last found it changed (monotonic)."""
    ends: list[tuple[float, int]] = field(default_factory=list)
    """When a look found it grown, and to which size (monotonic): says how long a cursor has been behind."""
    looked_at_size: int = -1
    next_look: float | None = None
    interval: float = 0.0

    # Opening

    def open(self) -> None:
        """Opens the file and places the cursors. Raises OSError, and Damaged for a broken archive."""
        if self.descriptor >= 0:
            return
        self.adopt(open_log(self.path))

    def adopt(self, descriptor: int) -> None:
        """Takes over an open descriptor."""
        self.descriptor = descriptor
        self.reader = reader_for(descriptor)
        limit = self.source.max_line_bytes
        if self.source.ship:
            self.ship = Cursor(LineReader(self._own_reader(), position=self.shipped, max_line_bytes=limit))
        if self.source.metrics:
            self.observe = Cursor(LineReader(self._own_reader(), position=self.observed, max_line_bytes=limit))

    def _own_reader(self) -> ByteReader:
        """A reader for one cursor: positions in a compressed stream cannot be shared."""
        return self.reader if isinstance(self.reader, PlainReader) else reader_for(self.descriptor)

    def close(self) -> None:
        """Closes the descriptor; the cursors stay where they are for the next `open`.

        (With batches under way only for a file that is gone: shipping would go on from what is acknowledged.)
        """
        if self.descriptor >= 0:
            self.observed = self.observe_position
            os.close(self.descriptor)
        self.descriptor = -1
        self.reader = self.ship = self.observe = None

    def move_to(self, path: str, key: tuple[int, int]) -> bool:
        """Goes on in another file that holds the same content at least as far as it was read; False if it does not.

        Raises OSError, Damaged.
        """
        ship_position, farthest = self.ship_position, self.farthest
        descriptor = open_log(path)
        facts = os.fstat(descriptor)
        reader = reader_for(descriptor)
        is_whole = len(bytes_before(reader, farthest)) == min(farthest, MARK_BYTES)
        if not is_whole or content_agrees(reader, self.trail.known_marks(), facts.st_size) is False:
            os.close(descriptor)
            return False
        self.close()
        self.path, (self.device, self.inode) = path, key
        self.size, self.mtime_ns, self.looked_at_size = facts.st_size, facts.st_mtime_ns, -1
        self.is_moved = False
        self.adopt(descriptor)
        if self.ship is not None:
            self.ship.lines.jump(ship_position)
        return True

    @property
    def is_open(self) -> bool:
        return self.descriptor >= 0

    @property
    def is_plain(self) -> bool:
        return isinstance(self.reader, PlainReader)

    @property
    def is_compressed(self) -> bool:
        return self.path.endswith((".gz", ".zst")) if self.reader is None else not self.is_plain

    def ship_again(self) -> None:
        """Ships from the beginning, for an output that lacks what was shipped."""
        self.last_time = self.ship_time = ""
        self._ship_from(self.shipped_from)

    def _ship_from(self, position: int) -> None:
        self.shipped = position
        if self.ship is not None:
            self.ship.lines.jump(position)
            self.ship.before = None

    def tail_was_continued(self) -> bool:
        """Whether the unterminated line that was read as the last goes on. Then shipping stands at its beginning again.

        To be asked before reading, as long as there is a `tail_start`. (The metrics have counted the line.)
        """
        start = self.tail_start
        if start is None or self.reader is None:
            return False
        if self.ship is not None and self.ship.position <= start:
            return False
        following = self.reader.read(self.farthest, 1)
        if following == b"\n":
            self.tail_start = None
        if following in (b"", b"\n"):
            return False
        self._ship_from(start)
        return True

    # Positions

    @property
    def ship_position(self) -> int:
        """Handed to the output up to here."""
        if self.ship is not None:
            return self.ship.position
        return self.under_way[-1].end if self.under_way else self.shipped

    @property
    def observe_position(self) -> int:
        return self.observe.position if self.observe is not None else self.observed

    @property
    def farthest(self) -> int:
        """Everything before this was read by one of the cursors."""
        observed = self.observe_position if self.source.metrics else 0
        shipped = self.ship_position if self.source.ship else 0
        return max(0 if observed >= NEVER else observed, 0 if shipped >= NEVER else shipped)

    @property
    def nearest(self) -> int:
        """Everything before this was read by both."""
        observed = self.observe_position if self.source.metrics else NEVER
        shipped = self.ship_position if self.source.ship else NEVER
        return min(observed, shipped)

    def acknowledge(self) -> None:
        """Moves `shipped` over the longest acknowledged prefix of what is under way."""
        while self.under_way and self.under_way[0].is_done:
            batch = self.under_way.popleft()
            self.shipped, self.last_time = batch.end, batch.last_time
        self.trail.forget_ends_below(min(self.shipped, self.farthest))

    def note_growth(self, now: float, size: int) -> None:
        """Remembers when the file had which size, as far as a cursor is behind it; seldomer the longer that is."""
        nearest = min(self.nearest, self.shipped if self.source.ship else NEVER)
        while self.ends and self.ends[0][1] <= nearest:
            del self.ends[0]
        if not self.ends or now - self.ends[-1][0] >= max(1.0, (now - self.ends[0][0]) / 16):
            self.ends.append((now, size))

    def behind_since(self, cursor: str, now: float) -> float:
        """Since when a cursor that is behind has been so."""
        at = self.observe_position if cursor == "observed" else self.shipped
        return next((when for when, size in list(self.ends) if size > at), now)

    @property
    def is_joined(self) -> bool:
        """Whether no cursor lags behind the other."""
        observed = self.observe_position if self.source.metrics else NEVER
        shipped = self.ship_position if self.source.ship else NEVER
        return observed == shipped or NEVER in (observed, shipped)

    @property
    def is_complete(self) -> bool:
        """Whether it is a compressed file that was read to its footer."""
        cursors = [cursor for cursor in (self.ship, self.observe) if cursor is not None]
        return any(cursor.lines.reader.is_complete for cursor in cursors)

    # Marks

    def note(self, chunk: Chunk, cursor: Cursor) -> None:
        """Takes the marks of a chunk that `cursor` has passed."""
        if chunk.is_cut or chunk.leading_nuls:
            self._note_by_reading(chunk)
        else:
            self.trail.extend(chunk.start, chunk.data)
        cursor.passed(chunk)
        if chunk.end == self.trail.position:
            self.trail.remember_here()
        elif cursor.before is not None:
            self.trail.remember_end(chunk.end, cursor.before)
        else:
            self.trail.remember_end(chunk.end, bytes_before(cursor.lines.reader, chunk.end))

    def _note_by_reading(self, chunk: Chunk) -> None:
        """For a line whose bytes were not all kept: reads what marks need of it."""
        if self.reader is None or chunk.end <= self.trail.position:
            return
        self.trail.extend_by(self.reader.read, chunk.end)

    @property
    def looks_replaced(self) -> bool:
        """Whether other bytes stand before the cursors than were read there: the content was replaced in place.

        Asked after a read: a file that only grows still has them, so what was read was of the same content.
        """
        if not self.is_plain or self.reader is None:
            return False
        for cursor in (self.ship, self.observe):
            if cursor is None or not 0 < cursor.position < NEVER:
                continue
            if cursor.before is None:
                mark = self.trail.mark_at(cursor.position)
                if mark is None:
                    continue
                return mark_of(mark.position, bytes_before(self.reader, mark.position)) != mark
            start = cursor.position - len(cursor.before)
            if self.reader.read(start, len(cursor.before)) != cursor.before:
                return True
        return False

    def has(self, marks: Sequence[Mark]) -> bool | None:
        """Whether the content agrees with marks that somebody else has of it (Content)."""
        if self.reader is None:
            return None
        return content_agrees(self.reader, marks, os.fstat(self.descriptor).st_size)

    def marks_at(self, position: int) -> Sequence[Mark]:
        """The marks up to `position`, where a batch ended (Content)."""
        return self.trail.marks_at(position)

    def record(self, now: float) -> FileRecord:
        """What the state keeps of it."""
        observed = self.observe_position
        high = max(position for position in (observed, self.shipped, 0) if position < NEVER)
        marks = self.trail.marks_at(high) or self.trail.marks_at(self.trail.position)
        return FileRecord(
            self.id,
            self.source.name,
            self.path,
            self.device,
            self.inode,
            self.identity,
            self.size,
            self.mtime_ns,
            observed,
            self.observed_from,
            self.shipped,
            self.shipped_from,
            self.last_time,
            self.tail_start,
            marks,
            self.is_gone,
            int(now),
        )


def content_agrees(reader: ByteReader, marks: Sequence[Mark], size: int) -> bool | None:
    """Whether a file's content agrees with `marks`; None if it is too short to say. Raises OSError, Damaged.

    A compressed stream is read once, forwards; `size` (in bytes on disk) matters only for a plain file.
    """
    if isinstance(reader, PlainReader):

        def digest_at(position: int) -> int | None:
            before = bytes_before(reader, position)
            return mark_of(position, before).digest if len(before) == min(position, MARK_BYTES) else None

        return agrees(marks, size, digest_at)
    answer: bool | None = None
    for mark in sorted(marks):
        try:
            before = bytes_before(reader, mark.position)
        except Damaged:
            break
        if len(before) < min(mark.position, MARK_BYTES):
            break
        answer = mark_of(mark.position, before) == mark
        if not answer:
            break
    return answer
