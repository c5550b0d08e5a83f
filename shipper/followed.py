"""One content of one file while it is followed: descriptor, two cursors, marks, and what is under way of it.

`attach` makes these, `pipeline` drives them, `state` keeps their records. Guarded by nothing: the pipeline's thread
owns them, others only read single values.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from shipper.batch import Mark
from shipper.contents import Key, content_agrees, digests_at, has_mark, key_of
from shipper.cursor import CLOSED, NEVER, Cursor, UnderWay
from shipper.grouping import lines_of
from shipper.identity import FIRST_POWER, MARK_BYTES, Trail, mark_of, unpack_marks, window
from shipper.settings import SourceSettings
from shipper.state import FileRecord
from shipper.tail import (
    ByteReader,
    Chunk,
    CompressedReader,
    PlainReader,
    bytes_before,
    open_log,
    reader_for,
    told_by,
)


class Replaced(Exception):  # noqa: N818 - an outcome of reading, not of the program
    """Other bytes stand before a cursor than were read there: the file was emptied and written again."""


@dataclass(slots=True, eq=False)
class Followed:
    """A file that is read. Vanishes from memory when it is gone and everything of it is acknowledged.

    Closing it and opening it again changes nothing: cursors and what is under way stay.
    """

    id: int
    source: SourceSettings
    path: str
    real_path: str
    """Behind symlinks: where it is opened."""
    device: int
    inode: int
    identity: str
    observed: int
    """Where the metrics begin now; `observe_position` moves on from there."""
    observed_from: int
    shipped: int
    """Acknowledged up to here."""
    shipped_from: int
    last_time: str
    """At `shipped`."""
    trail: Trail
    size: int = 0
    mtime_ns: int = 0
    tail_start: int | None = None
    is_renamed: bool = False
    """It has had another name since it was met."""

    is_listed: bool = True
    """The last scan saw it."""
    is_deleted: bool = False
    """It has no name any more, as far as the last look could tell."""
    is_gone: bool = False
    """Truncated, let go or given up: nothing more is read of it."""
    is_damaged: bool = False
    is_complete: bool = False
    """A compressed file that was read to its footer."""
    unfolded_bytes: int = 0
    """At least so much is in a compressed file, as far as that is known."""
    is_end_known: bool = False
    """It was asked how much that is, and has not changed since."""
    has_rest: bool = False
    """There was something behind the last whole line when it was read to its end."""
    is_within_line: bool = False
    """Shipping waits for the rest of a line in parts; the metrics may have begun within it."""
    is_ready: bool = False
    """Waits for its next turn."""
    is_held: bool = False
    """Waits for room in the output."""

    sure_size: int = 0
    """The greatest size that surely was of this content: the bytes before the cursor were right when it was seen."""
    looked_at_size: int = -1
    """The size at the look after which everything was read; another than `size` while there is something to read."""
    changed_at: float = 0.0
    """When a look last found it changed (monotonic)."""
    next_look: float | None = None
    interval: float = 0.0
    ends: list[tuple[float, int]] = field(default_factory=list)
    """When a look found it grown, and to which size (monotonic): says how long a cursor has been behind."""

    descriptor: int = -1
    reader: ByteReader | None = None
    is_plain: bool = True
    head: bytes = b""
    """How it begins, as far as it was there when it was met; known as long as nothing has been read of it."""
    ship: Cursor | None = None
    observe: Cursor | None = None
    ship_time: str = ""
    """At the shipping cursor, ahead of `last_time` by what is under way."""
    shipped_mark: Mark | None = None
    under_way: deque[UnderWay] = field(default_factory=deque)
    counted: int = 0
    """Lines before this are in `shipper_lines_total`: one of the cursors has passed them."""
    covered: Sequence[tuple[int, int]] = ()
    """Offsets that the output has already."""
    asked_marks: int = -1
    """How many marks of powers there were when the output was asked for that."""
    beginning: bytes = b""
    """How it began when it was met: at most MARK_BYTES."""
    begun: bytes = b""
    """The same, as it was read since: until then, it may have been emptied unnoticed."""
    is_beginning_sure: bool = True
    """It was not cut to less since."""
    cut_at: int | None = None
    """It was cut there, and the output has not been told yet."""

    def __post_init__(self) -> None:
        self.ship_time = self.last_time
        self.sure_size = self.size
        self.counted = self.trail.position
        if self.shipped == self.trail.position > 0:
            self.shipped_mark = mark_of(self.shipped, self.trail.tail)
        if self.source.ship:
            self.ship = self._cursor(self.shipped)
        if self.source.metrics:
            self.observe = self._cursor(self.observed)

    def _cursor(self, position: int) -> Cursor:
        return Cursor(lines_of(CLOSED, source=self.source, position=position))

    # Opening

    @property
    def key(self) -> Key:
        return self.device, self.inode

    @property
    def is_open(self) -> bool:
        return self.descriptor >= 0

    @property
    def is_compressed(self) -> bool:
        return not self.is_plain

    @property
    def is_pinned(self) -> bool:
        """Whether nothing but its open descriptor leads to it, as far as is known."""
        return self.is_deleted or not self.is_listed

    @property
    def is_moved(self) -> bool:
        """Whether it lies elsewhere than where it is written to."""
        return self.is_renamed or not self.is_listed

    @property
    def is_final(self) -> bool:
        """Whether what it holds will hardly be continued."""
        return self.is_moved or self.is_deleted or self.is_complete

    @property
    def may_end_here(self) -> bool:
        """Whether what stands behind the last whole line can be a line: not where an archive breaks off."""
        return self.is_plain or self.is_complete

    def open(self) -> None:
        """Opens the file again.

        Raises OSError, FileNotFoundError also if another file has its place; Replaced if it has another content.
        """
        if self.descriptor >= 0:
            return
        descriptor = open_log(self.real_path)
        try:
            facts = os.fstat(descriptor)
            if key_of(facts) != self.key:
                raise FileNotFoundError(errno.ENOENT, "another file has its place", self.real_path)
            reader = reader_for(descriptor)
            is_other = isinstance(reader, PlainReader) != self.is_plain
            if is_other or content_agrees(reader, self.trail.known_marks(), facts.st_size) is False:
                raise Replaced  # another file has the inode of one that was deleted while it was closed
        except BaseException:
            os.close(descriptor)
            raise
        self.adopt(descriptor)

    def adopt(self, descriptor: int) -> None:
        """Takes over an open descriptor. Raises OSError."""
        self.descriptor = descriptor
        self.reader = reader_for(descriptor)
        self.is_plain = isinstance(self.reader, PlainReader)
        for cursor in self.cursors():
            # positions in a compressed stream cannot be shared
            cursor.lines.reader = self.reader if self.is_plain else reader_for(descriptor)
            if cursor.before is None and self.is_plain and cursor.is_reading:
                cursor.before = self._bytes_before(cursor.position)
        if self.is_plain and not self.nearest:
            self.head = self.head or self.beginning or self.reader.read(0, MARK_BYTES)

    def _bytes_before(self, position: int) -> bytes | None:
        """What stands before a place at which reading begins; None if that would cost much or the file is closed."""
        if position == self.trail.position:
            return self.trail.tail
        return bytes_before(self.reader, position) if self.is_plain and self.reader is not None else None

    def close(self) -> None:
        """Closes the descriptor; the cursors stay where they are for the next `open`."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
        self.descriptor = -1
        self.reader = None
        for cursor in self.cursors():
            cursor.lines.reader = CLOSED

    def stat(self) -> os.stat_result:
        """Raises OSError."""
        return os.fstat(self.descriptor) if self.descriptor >= 0 else os.stat(self.real_path)

    def move_to(self, path: str) -> bool:
        """Goes on in another file that holds the same content at least as far as it was read; False if it does not.

        Raises OSError, Damaged.
        """
        descriptor = open_log(path)
        try:
            facts = os.fstat(descriptor)
            reader = reader_for(descriptor)
            is_same = self._is_whole_in(reader, facts.st_size)
        except BaseException:
            os.close(descriptor)
            raise
        if not is_same:
            os.close(descriptor)
            return False
        self.close()
        if self.is_plain:
            self.unfolded_bytes, self.is_end_known = self.sure_size, False  # if it is an archive, so much is in it
        self.path, self.real_path = path, path
        self.device, self.inode = key_of(facts)
        self.size = self.sure_size = facts.st_size
        self.mtime_ns, self.looked_at_size = facts.st_mtime_ns, -1
        self.is_deleted = self.is_damaged = self.is_complete = False
        self.is_listed = True
        self.adopt(descriptor)
        return True

    def _is_whole_in(self, reader: ByteReader, size: int) -> bool:
        """Whether everything that was read is there."""
        farthest = self.farthest
        if not farthest:
            return reader.read(0, len(self.head)) == self.head
        if len(bytes_before(reader, farthest)) < window(farthest):
            return False
        return content_agrees(reader, self.trail.known_marks(), size) is not False

    # Positions

    def cursors(self) -> Iterator[Cursor]:
        if self.ship is not None:
            yield self.ship
        if self.observe is not None:
            yield self.observe

    @property
    def ship_position(self) -> int:
        """Handed to the output up to here."""
        return self.ship.lines.position if self.ship is not None else self.shipped

    @property
    def observe_position(self) -> int:
        return self.observe.lines.position if self.observe is not None else self.observed

    @property
    def farthest(self) -> int:
        """Everything before this was read by one of the cursors."""
        farthest = 0
        for cursor in (self.ship, self.observe):
            if cursor is not None and farthest < cursor.lines.position < NEVER:
                farthest = cursor.lines.position
        return farthest

    @property
    def nearest(self) -> int:
        """Everything before this was read by both."""
        return min((cursor.position for cursor in self.cursors()), default=NEVER)

    def may_begin_as(self, beginning: bytes) -> bool:
        """Whether a content that begins so can be this one, or a copy of it. (Of thousands that have the first line in
        common, for it is a header, most are told apart by what comes next, without a look into each.)
        """
        met = self.beginning[: self.farthest] if self.farthest else self.head or self.beginning
        own = (self.begun or met) if self.is_beginning_sure else b""
        return own.startswith(beginning) or beginning.startswith(own)

    def nuls_in(self, start: int, end: int) -> int:
        """How many bytes of this range are known to be NULs at the end of the file, which are no text."""
        known = [cursor.lines.nuls for cursor in self.cursors()]
        return max((max(0, min(end, stop) - max(start, begin)) for begin, stop in known), default=0)

    @property
    def is_joined(self) -> bool:
        """Whether no cursor lags behind the other."""
        ship, observe = self.ship, self.observe
        if ship is None or observe is None:
            return True
        shipped, observed = ship.lines.position, observe.lines.position
        return shipped == observed or shipped >= NEVER or observed >= NEVER

    @property
    def may_take_tail(self) -> bool:
        """Whether what the file ends in can be taken, if it is final: both cursors stand there, or the metrics have
        begun behind it.
        """
        return self.is_joined or self.is_within_line

    @property
    def is_at_end(self) -> bool:
        """Whether everything that the last look saw has been read, by one of the cursors at least."""
        return self.looked_at_size == self.size

    def is_resting(self, facts: os.stat_result) -> bool:
        """Whether these facts say nothing new of a file that is where it is written to, and of which all has been read.

        What nearly every look finds, so it is asked first, and costs little: `is_final` is written out, for its
        properties were a tenth of a look.
        """
        return (
            facts.st_size == self.size == self.looked_at_size
            and facts.st_mtime_ns == self.mtime_ns
            and facts.st_ino == self.inode
            and facts.st_dev == self.device
            and facts.st_nlink > 0
            and not (self.is_renamed or self.is_deleted or self.is_complete or self.is_gone or self.has_rest)
            and self.is_listed
            and self.is_joined
        )

    def acknowledge(self) -> None:
        """Moves `shipped` over the longest acknowledged prefix of what is under way."""
        while self.under_way and self.under_way[0].is_done:
            batch = self.under_way.popleft()
            self.shipped, self.shipped_mark, self.last_time = batch.end, batch.mark, batch.last_time

    def ship_again(self) -> None:
        """Ships from the beginning, for an output that lacks what was shipped. Raises OSError."""
        self.last_time = self.ship_time = ""
        self.ship_from(self.shipped_from)

    def ship_from(self, position: int) -> None:
        """Ships again from the beginning of a line. Raises OSError."""
        if not position:
            self.note_head()
        self.shipped, self.shipped_mark = position, None
        if self.ship is not None:
            self.ship.jump(position, self._bytes_before(position))

    def note_head(self) -> None:
        """What it begins with now is what it began with: before anything was read, more was known of that, and a file
        that was emptied since, unnoticed, begins otherwise. Raises OSError.
        """
        readable = self.reader if self.is_plain else None
        self.head = readable.read(0, MARK_BYTES) if readable is not None else b""

    def note_growth(self, now: float, size: int) -> None:
        """Remembers when the file had which size, as far as a cursor is behind it; seldomer the longer that is."""
        nearest = min(self.nearest, self.shipped if self.ship is not None else NEVER)
        while self.ends and self.ends[0][1] <= nearest:
            del self.ends[0]
        if not self.ends or now - self.ends[-1][0] >= max(1.0, (now - self.ends[0][0]) / 16):
            self.ends.append((now, size))

    def behind_since(self, cursor: str, otherwise: float) -> float:
        """Since when a cursor that is behind has been so; `otherwise` if it has not grown since it was met."""
        at = self.observe_position if cursor == "observed" else self.shipped
        return next((when for when, size in list(self.ends) if size > at), otherwise)

    # What it holds

    def is_torn_at(self, position: int) -> bool:
        """Whether the line before this place has no end. Raises OSError and Damaged."""
        return self.reader is not None and self.reader.read(position - 1, 1) != b"\n"

    def verify(self, position: int, before: bytes | None) -> None:
        """Raises Replaced if other bytes stand before `position` than were read there.

        Asked after a read and before anything is done with what was read: a file that only grows still has them then,
        so what was read is of the same content.
        """
        reader = self.reader
        if not self.is_plain:
            self._verify_archive()
        elif reader is not None:
            expected = before if position else self.head
            if expected:
                size = len(expected)
                if reader.read(position - size if position else 0, size) != expected:
                    raise Replaced
            if position > FIRST_POWER and not self._has_first_mark(reader):
                raise Replaced  # lines of the same lengths that end alike would pass for those that were read
        self.sure_size = self.size

    def _has_first_mark(self, reader: ByteReader) -> bool:
        return all(has_mark(reader, mark) for mark in self.trail.powers[:1])

    def _verify_archive(self) -> None:
        """Raises Replaced if the file was written anew: a stream that goes on in it gives nothing, or garbage."""
        for cursor in self.cursors():
            reader = cursor.lines.reader
            if isinstance(reader, CompressedReader) and not reader.is_unchanged():
                raise Replaced

    def note_end(self) -> None:
        """Of an archive everything was read that can be, by one of the cursors at least."""
        readers = [cursor.lines.reader for cursor in self.cursors()]
        self.unfolded_bytes = max((each.unfolded for each in readers if isinstance(each, CompressedReader)), default=0)
        self.is_end_known = True

    def ask_end(self) -> None:
        """Asks an archive that nobody writes any more how much is in it. Raises OSError."""
        descriptor = self.descriptor if self.is_open else open_log(self.real_path)
        try:
            if key_of(os.fstat(descriptor)) == self.key:
                self.unfolded_bytes, self.is_end_known = max(self.unfolded_bytes, told_by(descriptor)), True
        finally:
            if not self.is_open:
                os.close(descriptor)

    @property
    def known_end(self) -> int:
        """Where what is known of an archive ends."""
        return end_of_archive(self.farthest, self.unfolded_bytes, self.size)

    # Marks

    def note(self, chunk: Chunk, cursor: Cursor) -> None:
        """Takes the marks of a chunk that `cursor` has passed. Raises OSError, Damaged."""
        reader = self.reader
        if reader is None:
            return
        passed = self.trail.position
        if not chunk.is_cut and not chunk.leading_nuls:
            self.trail.extend(chunk.start, chunk.data)
        elif chunk.end > self.trail.position:
            self.trail.extend_by(reader.read, chunk.end)
        if passed < MARK_BYTES and passed < self.trail.position:
            self.begun = reader.read(0, min(MARK_BYTES, self.trail.position))
        cursor.passed(chunk, reader)

    def has(self, marks: Sequence[Mark]) -> bool | None:
        """Whether the content agrees with marks that somebody else has of it (Content)."""
        if self.reader is None:
            return None
        return content_agrees(self.reader, marks, os.fstat(self.descriptor).st_size)

    def digests_at(self, position: int) -> Sequence[int] | None:
        """What a mark there must say (Content)."""
        return digests_at(self.reader, position) if self.reader is not None else None

    def marks_at(self, position: int) -> Sequence[Mark]:
        """The marks up to `position`, where a batch ended, and where its first lines end (Content)."""
        line_ends = [mark for mark in unpack_marks(self.trail.line_ends) if mark.position < position]
        return line_ends + self._marks_until(position)

    def _marks_until(self, position: int) -> list[Mark]:
        powers = self.trail.powers
        marks = powers.copy() if position >= self.trail.position else [m for m in powers if m.position <= position]
        end = self._mark_at(position)
        if end is not None and (not marks or end != marks[-1]):
            marks.append(end)
        return marks

    def _mark_at(self, position: int) -> Mark | None:
        for cursor in self.cursors():
            if cursor.position == position and cursor.before:
                return mark_of(position, cursor.before)
        if self.shipped_mark is not None and self.shipped_mark.position == position:
            return self.shipped_mark
        return mark_of(position, self.trail.tail) if position == self.trail.position > 0 else None

    def record(self, now: float) -> FileRecord:
        """What the state keeps of it."""
        observed = self.observe_position
        shipped = self.shipped
        high = max(observed if observed < NEVER else 0, shipped if shipped < NEVER else 0)
        expected = self.under_way[-1].end if self.under_way else 0
        return FileRecord(
            self.id,
            self.source.name,
            self.path,
            self.device,
            self.inode,
            self.identity,
            expected if self.is_gone else self.size - self.nuls_in(0, self.size),
            self.mtime_ns,
            observed,
            self.observed_from,
            self.shipped,
            self.shipped_from,
            self.last_time,
            self.tail_start,
            self._marks_until(min(high, self.trail.position)),
            self.is_gone,
            int(now),
            self.is_renamed,
            self.trail.line_ends,
            0 if self.is_plain else self.unfolded_bytes - self.nuls_in(0, self.unfolded_bytes),
        )


def end_of_archive(farthest: int, unfolded_bytes: int, size: int) -> int:
    """Where what is known of an archive ends: by what it says of itself, or by what was read of it. Where both are
    nothing, its bytes on disk stand for what is in it.
    """
    return max(farthest, unfolded_bytes) or size
