"""Decides what a file that was found is to what is known: the one that was read, a copy of it, or another content.

The decisions are `identity.compare` and `kinship`; here the facts are gathered (first line, marks), and the outcome
becomes `Followed`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import Protocol

import msgspec

from shipper.batch import Mark
from shipper.checks import Kept, cut_to, is_intact, kept, what_is_kept
from shipper.contents import (
    Key,
    beginning_of,
    content_agrees,
    end_of_lines,
    has_line_after,
    has_mark,
    is_json_object,
    key_of,
    reaches,
    renewed,
)
from shipper.cursor import NEVER
from shipper.discover import COMPRESSED, Found
from shipper.followed import Followed, Replaced, end_of_archive
from shipper.identity import (
    FIRST_POWER,
    Known,
    Seen,
    Trail,
    Verdict,
    compare,
    identity_of,
    pack_marks,
    stem,
    unpack_marks,
)
from shipper.kinship import Kinship, kinship_of, shared_bytes
from shipper.records import Records
from shipper.settings import MetricsStart, SourceSettings, Start
from shipper.state import FileRecord
from shipper.tail import ByteReader, CompressedReader, PlainReader, bytes_before, first_line, open_log, reader_for

NOT_COUNTED = -1
"""`observed` of a file whose lines have not fed the metrics so far."""


class Live(Protocol):
    """What is followed at present (`register`)."""

    def live(self, identity: str) -> Sequence[Followed]: ...

    def beginning_as(self, beginning: bytes) -> Sequence[Followed]: ...


class Outcome(Enum):
    FOLLOW = "follow"
    NO_LINE = "no line"
    """It has no complete first line yet."""
    PARTIAL = "partial"
    """Equal to what was read of a file that is not there, and shorter."""
    TWIN = "twin"
    """A copy of what is followed."""
    LONGER = "longer"
    """A copy of what is followed, with more in it."""
    SUSPECT = "suspect"
    """It cannot be said, because the file that is followed has been replaced."""


class Attachment(msgspec.Struct):
    """What became of a found file."""

    outcome: Outcome
    identity: str = ""
    followed: Followed | None = None
    original: Followed | None = None
    """Of what it is a twin."""
    is_settled: bool = False
    """A twin that was compared to its end, and of which the original has given every line: what both had may yet be
    emptied there, unread and unnoticed."""
    equal_until: int = 0
    """So much of it is surely equal."""
    lost_bytes: int = 0
    """It was cut: so many bytes were never read."""


class Asked(msgspec.Struct, frozen=True):
    """What is known of a found file beside what it holds."""

    first_size: int | None = None
    """Its size when it was met, if this state began then."""
    is_settled: bool = False
    """It has not changed for a while. If it is an archive, or was renamed, it will not grow then: an unterminated only
    line is its first line. (An archive may look complete before its last member was written.)"""
    is_renamed: bool = False
    takes_objects: bool = False
    """An unterminated only line is its first line if it is a complete JSON object."""
    equal_until: int = 0
    """It has been a twin up to here; that much of it was read in the other file."""
    twin_of: str = ""
    """The identity of what it has been a twin of."""
    unreadable_bytes: Callable[[Key], int] = lambda _key: -1
    """How long a file is that lies somewhere and cannot be read at present; -1 if it is none."""


class Attacher:
    """Has the records of files that are not followed at present. Owned by the pipeline's thread."""

    def __init__(
        self,
        *,
        scope: str,
        metrics_start: MetricsStart,
        records: Iterable[FileRecord],
        identity_line: Callable[[bytes], bytes] = bytes,
    ) -> None:
        """`identity_line` gives the form in which a first line enters the identity (redacted)."""
        self._scope = scope
        self._identity_line = identity_line
        self._metrics_start = metrics_start
        self.records = Records(records)

    def attach(self, found: Found, *, live: Live, asked: Asked) -> Attachment:
        """What `found` is. `live`: what is followed. Raises OSError and Damaged if it cannot be read."""
        return self.attach_open(found, open_log(found.path), live=live, asked=asked)

    def attach_open(self, found: Found, descriptor: int, *, live: Live, asked: Asked) -> Attachment:
        """The same of a file that is open. The descriptor is the followed file's then, or closed."""
        try:
            facts = os.fstat(descriptor)
            if key_of(facts) != (found.device, found.inode):
                raise FileNotFoundError(errno.ENOENT, "another file has its place", found.path)
            if found.confinement is not None:
                found.confinement.check(descriptor, found.path)
            found = found._replace(size=facts.st_size, mtime_ns=facts.st_mtime_ns)
            attachment = self._attach(found, descriptor, live, asked)
        except BaseException:
            os.close(descriptor)
            raise
        if attachment.followed is None:
            os.close(descriptor)
        return attachment

    def _attach(self, found: Found, descriptor: int, live: Live, asked: Asked) -> Attachment:
        reader = reader_for(descriptor)
        beginning = beginning_of(reader)
        identity = self._identity(found, reader, asked)
        record, left_bytes = self._same_inode(found, identity, reader)
        if not identity:
            return Attachment(Outcome.NO_LINE)
        begin = 0
        if record is None or _says_little(record, found, reader):
            others = _others(live, found, identity, beginning)
            relation = self._relation(found, identity, reader, others, asked)
            if record is not None and relation.original is not None and _tells_more(relation.original, record):
                self.records.replaced(record)  # another file has its inode, a copy of what is followed
                return relation
            if record is not None and self._is_better_known(record, found, identity, reader):
                self.records.replaced(record)  # another file has its inode, with what was read elsewhere
                record = None
        if record is None:
            record, is_partial = self._same_content(found, identity, reader, asked)
            if record is not None and _farthest(record) < left_bytes:
                record = None  # more is left of what was read in this very file
            if relation.outcome is not Outcome.FOLLOW and not _is_farther(record, relation.original):
                return relation
            if is_partial:
                return Attachment(Outcome.PARTIAL, identity)
            if record is None and not relation.equal_until:
                left_bytes = max(left_bytes, self._left_of_copy(found, reader, asked))
            begin = max(relation.equal_until, left_bytes)
            if begin < asked.equal_until:
                left_bytes = begin  # a copy that was cut
        if record is None:
            followed = self._new(found, identity, reader, asked.first_size, begin=begin)
            followed.cut_at = end_of_lines(reader, left_bytes) if left_bytes else None
        else:
            followed = self._resumed(found, record, identity, reader)
        followed.beginning = beginning
        followed.adopt(descriptor)
        if isinstance(reader, CompressedReader) and reader.is_at_end():
            followed.unfolded_bytes, followed.is_end_known = reader.unfolded, True
        lost_bytes = 0 if record is None else _cut_bytes(record, followed)
        if record is not None and followed.is_plain and found.size < followed.farthest:
            cut_to(followed, what_is_kept(followed) or Kept(0, found.size))
        return Attachment(Outcome.FOLLOW, identity, followed, lost_bytes=lost_bytes)

    def _identity(self, found: Found, reader: ByteReader, asked: Asked) -> str:
        """'' while there is no first line."""
        line = first_line(reader)
        if line is None:
            may_end = asked.is_renamed if isinstance(reader, PlainReader) else reader.is_complete
            is_final = asked.is_settled and may_end
            if is_final or asked.takes_objects:
                line = first_line(reader, is_final=True)
            if line is None or not (is_final or is_json_object(line)):
                return ""
        return identity_of(scope=self._scope, stem_name=_stem_of(found.real_path), first_line=self._identity_line(line))

    def _same_inode(self, found: Found, identity: str, reader: ByteReader) -> tuple[FileRecord | None, int]:
        """The record of this very file. One whose file was emptied or replaced waits for a copy from now on; how much
        of that one's content surely is left in the file.
        """
        record = self.records.by_key((found.device, found.inode))
        if record is None:
            return None, 0
        if (record.size, record.mtime_ns) == (found.size, found.mtime_ns) and record.identity == identity:
            return record, 0
        is_unread = _farthest(record) == 0 and record.identity != identity
        verdict, agree = _compared(record, found, identity, reader, is_place_known=True)
        is_cut = agree and found.size < _farthest(record) and isinstance(reader, PlainReader)
        if not is_unread and (verdict is Verdict.SAME or is_cut):
            return record, 0
        self.records.replaced(record)
        return None, _left_of(record, found.size, reader) if record.identity == identity else 0

    def _is_better_known(self, record: FileRecord, found: Found, identity: str, reader: ByteReader) -> bool:
        """Whether the file holds what was read farther in another file, that is gone."""
        farther = [other for other in self.records.by_identity(identity) if _farthest(other) > _farthest(record)]
        compared = (_compared(other, found, identity, reader, is_place_known=False) for other in farther)
        return any(verdict is Verdict.SAME for verdict, _ in compared)

    def _left_of_copy(self, found: Found, reader: ByteReader, asked: Asked) -> int:
        """How much surely is left in a file that was a copy of what is gone, and was cut since."""
        known = self.records.by_identity(asked.twin_of) if asked.twin_of else ()
        left = max((_left_of(record, found.size, reader) for record in known), default=0)
        return min(left, asked.equal_until)

    def _relation(
        self, found: Found, identity: str, reader: ByteReader, others: Sequence[Followed], asked: Asked
    ) -> Attachment:
        """What the file is to those that are followed; to be followed itself if it is none of them."""
        best, equal_until = None, 0
        for other in sorted(others, key=_rank, reverse=True):
            if best is not None and _is_outdone(other, best, reader):
                break  # of thousands that have no more than a header in common, each would be looked into
            answer = _answer(other, reader, found.size, asked.equal_until)
            equal_until = max(equal_until, answer.equal_until)
            if answer.outcome is not Outcome.FOLLOW and (best is None or _evidence(answer) > _evidence(best)):
                best = answer
        return best if best is not None else Attachment(Outcome.FOLLOW, identity, equal_until=equal_until)

    def _same_content(
        self, found: Found, identity: str, reader: ByteReader, asked: Asked
    ) -> tuple[FileRecord | None, bool]:
        """The record of the same content that was read farthest, wherever it lay; or that this is a part of such.

        What is too short for any mark is another content that begins with the same line, until more of it says else;
        but an archive that is just being written is waited for.
        """
        may_grow = not (isinstance(reader, PlainReader) or asked.is_settled)
        is_partial = False
        known = [record for one in {identity, asked.twin_of} for record in self.records.by_identity(one)]
        for record in sorted(known, key=_farthest, reverse=True):
            if _is_first_line_alone(record) and asked.unreadable_bytes(record.key) >= _least_size(record):
                continue  # it lies there still, and what is equal is what others begin with, too
            verdict, agree = _compared(record, found, record.identity, reader, is_place_known=False)
            if verdict is Verdict.SAME:
                return record, False
            is_partial |= verdict is Verdict.WAIT and (agree is True or may_grow)
        return None, is_partial

    def _new(self, found: Found, identity: str, reader: ByteReader, first_size: int | None, *, begin: int) -> Followed:
        """`begin`: everything before it was read in another file."""
        source = found.source
        begin = end = end_of_lines(reader, min(begin, found.size)) if begin else 0
        if first_size is not None:
            is_plain = isinstance(reader, PlainReader)
            # a compressed file will not grow: all of it was there
            end = max(begin, end_of_lines(reader, min(first_size, found.size))) if is_plain else NEVER
        shipped = end if source.start is Start.END else 0
        observed = end if self._metrics_start is MetricsStart.NOW else begin
        followed = Followed(
            id=self.records.next_id,
            source=source,
            path=found.path,
            real_path=found.real_path,
            device=found.device,
            inode=found.inode,
            identity=identity,
            observed=observed if source.metrics else NOT_COUNTED,
            observed_from=observed,
            shipped=shipped,
            shipped_from=shipped,
            last_time="",
            trail=Trail(),
            size=found.size,
            mtime_ns=found.mtime_ns,
        )
        self.records.next_id += 1
        if followed.farthest:
            followed.trail.extend_by(reader.read, followed.farthest)
        return followed

    def _resumed(self, found: Found, record: FileRecord, identity: str, reader: ByteReader) -> Followed:
        self.records.take(record)
        source = found.source
        observed = record.observed if source.metrics else NOT_COUNTED
        observed_from = record.observed_from
        if source.metrics and observed == NOT_COUNTED:
            observed = observed_from = self._present_end(reader, found.size)
        shipped, tail_start = record.shipped, record.tail_start
        if tail_start == 0 and identity != record.identity:
            shipped = 0  # its only line had no end when it was read, and goes on: that is another first line
        else:
            identity = record.identity
        high = min(_farthest(record), found.size) if isinstance(reader, PlainReader) else _farthest(record)
        return Followed(
            id=record.id,
            source=source,
            path=found.path,
            real_path=found.real_path,
            device=found.device,
            inode=found.inode,
            identity=identity,
            observed=observed,
            observed_from=observed_from,
            shipped=shipped,
            shipped_from=min(record.shipped_from, shipped),
            last_time=record.last_time if shipped == record.shipped else "",
            trail=_trail_of(record, high, reader),
            size=found.size,
            mtime_ns=found.mtime_ns,
            tail_start=tail_start,
            is_renamed=record.path != found.path or record.is_renamed,
            unfolded_bytes=_unfolded_bytes(record, found),
        )

    def _present_end(self, reader: ByteReader, size: int) -> int:
        """Where the metrics of a file begin whose source begins to feed them."""
        if self._metrics_start is MetricsStart.BEGINNING:
            return 0
        return end_of_lines(reader, size) if isinstance(reader, PlainReader) else NEVER


def _trail_of(record: FileRecord, high: int, reader: ByteReader) -> Trail:
    """What is known of the first `high` bytes of the record's content, which is behind `reader` now."""
    line_ends = unpack_marks(record.line_ends)
    marks = renewed(reader, [*line_ends, *record.marks])  # at once, for an archive is begun anew for each look
    count = len(line_ends)
    return Trail.of_marks(marks[count:], high, bytes_before(reader, high), line_ends=pack_marks(marks[:count]))


def _others(live: Live, found: Found, identity: str, beginning: bytes) -> list[Followed]:
    """What is followed and may be what the file is, or a copy of it.

    Also what has another identity, although it begins with the same line under the same stem: it is the one that it had
    before the scope was changed, or the redaction of that line.
    """
    alike = [other for other in live.live(identity) if other.may_begin_as(beginning)]
    earlier = [other for other in live.beginning_as(beginning) if other.identity != identity and other.tail_start != 0]
    name = _stem_of(found.real_path) if earlier else ""
    return alike + [other for other in earlier if _stem_of(other.real_path) == name]


def _stem_of(path: str) -> str:
    return stem(os.path.basename(path))


def _left_of(record: FileRecord, size: int, reader: ByteReader) -> int:
    return _left(record.marks, record.line_ends, _farthest(record), size, reader)


def _left(marks: Sequence[Mark], line_ends: bytes, read: int, size: int, reader: ByteReader) -> int:
    """How many bytes of a content surely are left in a plain file that holds another one now."""
    if not isinstance(reader, PlainReader):
        return 0
    ends = unpack_marks(line_ends)
    left = kept(marks, size, lambda mark: has_mark(reader, mark), read=read, line_ends=ends)
    return left.sure if left is not None else 0


def _answer(other: Followed, reader: ByteReader, size: int, equal_until: int) -> Attachment:
    """What a file is to one that is followed. Raises OSError and Damaged of the file."""
    was_open = other.is_open
    try:
        if not other.is_gone:
            other.open()
        is_sound = other.is_gone or is_intact(other)
    except (OSError, Replaced):
        is_sound = False
    try:
        if not is_sound:
            is_other = content_agrees(reader, other.trail.known_marks(), size) is False
            return Attachment(Outcome.FOLLOW if is_other else Outcome.SUSPECT, other.identity, original=other)
        kind = kinship_of(other, reader, size)
        shared = shared_bytes(other, reader, size, earlier=equal_until)
        if kind is Kinship.OTHER and not shared and equal_until:  # a copy that was cut
            trail = other.trail
            shared = min(equal_until, _left(trail.known_marks(), trail.line_ends, trail.position, size, reader))
        is_settled = kind is Kinship.COPY and not (_is_reading(other) and has_line_after(reader, other.farthest))
        return Attachment(_OUTCOME[kind], other.identity, None, other, is_settled, shared)
    finally:
        if not was_open:
            other.close()


def _is_reading(followed: Followed) -> bool:
    return any(cursor.is_reading for cursor in followed.cursors())


_OUTCOME = {
    Kinship.OTHER: Outcome.FOLLOW,
    Kinship.COPY: Outcome.TWIN,
    Kinship.SO_FAR: Outcome.TWIN,
    Kinship.LONGER: Outcome.LONGER,
}


def _rank(followed: Followed) -> tuple[int, bool]:
    """Whose answer goes before another's, as far as that can be known without asking."""
    return followed.farthest, not _is_reading(followed)


def _is_outdone(other: Followed, best: Attachment, reader: ByteReader) -> bool:
    """Whether nothing that `other` and those ranked below it may answer goes before `best`."""
    original = best.original
    if original is None or other.farthest != original.farthest:
        return True
    are_plain = other.is_plain and original.is_plain and isinstance(reader, PlainReader)
    return are_plain and best.outcome is Outcome.TWIN and _rank(other) == _rank(original)


def _evidence(answer: Attachment) -> tuple[int, bool, bool]:
    """By how much an answer goes before another: by how much is known to be equal, then a copy before a longer file."""
    known = answer.original.farthest if answer.original is not None else 0
    return known, answer.is_settled, answer.outcome is Outcome.TWIN


def unread(record: FileRecord, source: SourceSettings) -> int:
    """How many bytes of a file that is gone one of the cursors had not passed, as far as that can be known."""
    positions = [record.shipped] if source.ship else []
    if source.metrics and record.observed != NOT_COUNTED:
        positions.append(record.observed)
    is_archive = (record.path.endswith(COMPRESSED) or record.unfolded_bytes > 0) and not record.is_gone
    end = end_of_archive(_farthest(record), record.unfolded_bytes, record.size) if is_archive else record.size
    return max(0, end - min(positions, default=NEVER))


def _cut_bytes(record: FileRecord, followed: Followed) -> int:
    """How many bytes of a file were never read that it had and has no more. (A copy may be in the making.)"""
    is_cut = followed.is_plain and (record.key == followed.key or followed.size < followed.farthest)
    return max(0, record.size - max(followed.size, followed.nearest)) if is_cut else 0


def _unfolded_bytes(record: FileRecord, found: Found) -> int:
    """At least so much is in a file that is an archive, by the record of the same content."""
    if record.unfolded_bytes or record.path.endswith(COMPRESSED):
        is_unchanged = (record.size, record.mtime_ns) == (found.size, found.mtime_ns)
        return record.unfolded_bytes if is_unchanged else 0
    return record.size  # it was no archive then


def _farthest(record: FileRecord) -> int:
    return max(position for position in (record.observed, record.shipped, 0) if position < NEVER)


def _least_size(record: FileRecord) -> int:
    """How long its file is at least, on disk, if it still holds what was read of it."""
    return 0 if record.unfolded_bytes or record.path.endswith(COMPRESSED) else _farthest(record)


def _says_little(record: FileRecord, found: Found, reader: ByteReader) -> bool:
    """Whether the file has changed since, and what was read of it then, if anything, may be what others begin with."""
    has_changed = (record.size, record.mtime_ns) != (found.size, found.mtime_ns)
    read = _farthest(record)
    is_longer = found.size > read or not isinstance(reader, PlainReader)
    return has_changed and (not read or (_is_first_line_alone(record) and is_longer))


def _is_first_line_alone(record: FileRecord) -> bool:
    """Whether no more was read of a file than its first line, as far as is known."""
    return _farthest(record) < FIRST_POWER and not record.line_ends


def _tells_more(original: Followed, record: FileRecord) -> bool:
    """Whether more was read of what is followed than of what lay where its likeness lies now."""
    return not _farthest(record) or original.farthest > _farthest(record)


def _is_farther(record: FileRecord | None, original: Followed | None) -> bool:
    """Whether a record of the same content was read farther than what is followed of it."""
    return record is not None and original is not None and _farthest(record) > original.farthest


def _compared(
    record: FileRecord, found: Found, identity: str, reader: ByteReader, *, is_place_known: bool
) -> tuple[Verdict, bool | None]:
    """What the file is to the record's, and whether the marks agree. `is_place_known`: device and inode matter."""
    cursor = _farthest(record)
    agree = content_agrees(reader, record.marks, found.size) if record.marks else None
    if isinstance(reader, PlainReader):
        size = found.size
    else:
        size = cursor if reaches(reader, cursor) else 0
    key = record.key if is_place_known else (-1, -1)
    known = Known(*key, record.identity, cursor, is_alive=False)
    return compare(known, Seen(found.device, found.inode, identity, size), agree), agree
