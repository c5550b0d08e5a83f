"""Decides what a file that was found is to what is known: the one that was read, a copy of it, or another content.

The decision is `identity.compare`; here the facts are gathered (first line, marks) and the outcome becomes `Followed`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

import orjson

from shipper.discover import Found
from shipper.followed import NEVER, Followed, content_agrees
from shipper.identity import MARK_BYTES, Known, Seen, Trail, Verdict, compare, identity_of, stem
from shipper.parse import BOM
from shipper.settings import MetricsStart, SourceSettings, Start
from shipper.state import FileRecord
from shipper.tail import ByteReader, Damaged, PlainReader, bytes_before, first_line, open_log, reader_for

log = logging.getLogger(__name__)

NOT_COUNTED = -1
"""`observed` of a file whose lines have not fed the metrics so far."""
TOMBSTONES = 20_000
"""So many files that are gone are remembered; then the oldest tenth is forgotten."""


Live = Callable[[str], Sequence[Followed]]


class Outcome(Enum):
    FOLLOW = "follow"
    WAIT = "wait"
    """Not yet: no first line, or a copy in progress."""
    TWIN = "twin"
    """A copy of what is read already."""


@dataclass(slots=True)
class Attachment:
    """What became of a found file."""

    outcome: Outcome
    followed: Followed | None = None
    original: Followed | None = None
    """Of what it is a twin."""
    lost_bytes: int = 0
    lost_reason: str = ""


class Attacher:
    """Knows the records of files that are not followed at present. Owned by the pipeline's thread."""

    def __init__(self, *, scope: str, metrics_start: MetricsStart, records: Iterable[FileRecord]) -> None:
        self._scope = scope
        self._metrics_start = metrics_start
        self._by_inode: dict[tuple[int, int], FileRecord] = {}
        self._by_identity: dict[str, list[FileRecord]] = {}
        self._next_id = 1
        self._gone = 0
        for record in records:
            self.remember(record)

    def remember(self, record: FileRecord) -> list[int]:
        """Keeps the record of a file that is not followed (any more); returns the ids of those forgotten for it."""
        self._next_id = max(self._next_id, record.id + 1)
        if not record.is_gone:
            self._by_inode[record.device, record.inode] = record
        self._by_identity.setdefault(record.identity, []).append(record)
        self._gone += record.is_gone
        if self._gone <= TOMBSTONES:
            return []
        oldest = sorted((other for other in self._all() if other.is_gone), key=lambda other: other.seen_at)
        forgotten = oldest[: TOMBSTONES // 10]
        for other in forgotten:
            self._take(other)
        return [other.id for other in forgotten]

    def _take(self, record: FileRecord) -> None:
        if self._by_inode.get((record.device, record.inode)) is record:
            del self._by_inode[record.device, record.inode]
        records = self._by_identity[record.identity]
        records.remove(record)
        if not records:
            del self._by_identity[record.identity]
        self._gone -= record.is_gone

    def _all(self) -> Iterator[FileRecord]:
        for records in self._by_identity.values():
            yield from records

    def unattached(self) -> list[FileRecord]:
        """Records of files that were there when they were last seen, and that nothing has continued."""
        return list(self._by_inode.values())

    def remembered(self) -> list[FileRecord]:
        """All records of files that are not followed; from any thread."""
        return [record for records in list(self._by_identity.values()) for record in list(records)]

    def retire(self, record: FileRecord) -> None:
        """Its file is gone; it is kept so that a copy is not read again."""
        self._take(record)
        record.is_gone = True
        self.remember(record)

    def attach(self, found: Found, *, live: Live, is_first_start: bool, is_final: bool = False) -> Attachment:
        """What `found` is. `live`: what is followed, by identity. Raises OSError and Damaged if it cannot be read.

        `is_first_start`: the file lay there when this state began. `is_final`: it will not grow, so an unterminated
        only line is its first line.
        """
        descriptor = open_log(found.path)
        try:
            attachment = self._attach(found, descriptor, live, is_first_start=is_first_start, is_final=is_final)
        except BaseException:
            os.close(descriptor)
            raise
        if attachment.followed is None:
            os.close(descriptor)
        return attachment

    def _attach(self, found: Found, descriptor: int, live: Live, *, is_first_start: bool, is_final: bool) -> Attachment:
        facts = os.fstat(descriptor)
        found = found._replace(device=facts.st_dev, inode=facts.st_ino, size=facts.st_size, mtime_ns=facts.st_mtime_ns)
        reader = reader_for(descriptor)
        line = first_line(reader, is_final=is_final)
        identity = "" if line is None else self._identity(found, line)
        if is_final and line is not None and not has_complete_first_line(reader) and not is_json_object(line):
            identity = ""
        record, verdict = self._same_inode(found, identity, reader)
        attachment = Attachment(Outcome.FOLLOW)
        if verdict is Verdict.TRUNCATED and record is not None:
            attachment.lost_bytes = max(0, record.size - _farthest(record))
            attachment.lost_reason = "truncated"
            self.retire(record)
            record = None
        if record is None and identity:
            original = self._twin_of(found, identity, reader, live)
            if original is not None:
                attachment.outcome, attachment.original = Outcome.TWIN, original
                return attachment
            record, verdict = self._same_content(found, identity, reader)
        if verdict is Verdict.WAIT or not identity:
            attachment.outcome = Outcome.WAIT
            return attachment
        attachment.followed = (
            self._new(found, identity, reader, is_first_start=is_first_start)
            if record is None
            else self._resumed(found, record, reader)
        )
        attachment.followed.adopt(descriptor)
        return attachment

    def _identity(self, found: Found, line: bytes) -> str:
        return identity_of(scope=self._scope, stem_name=stem(os.path.basename(found.real_path)), first_line=line)

    def _same_inode(self, found: Found, identity: str, reader: ByteReader) -> tuple[FileRecord | None, Verdict | None]:
        record = self._by_inode.get((found.device, found.inode))
        if record is None:
            return None, None
        if (record.size, record.mtime_ns) == (found.size, found.mtime_ns) and record.identity == identity:
            return record, Verdict.SAME
        return record, _compared(record, found, identity, reader, is_alive=False)

    def _same_content(
        self, found: Found, identity: str, reader: ByteReader
    ) -> tuple[FileRecord | None, Verdict | None]:
        """The record of the same content that was read farthest, wherever it lay."""
        is_waited_for = False
        for record in sorted(self._by_identity.get(identity, ()), key=_farthest, reverse=True):
            verdict = _compared(record, found, identity, reader, is_alive=False)
            if verdict is Verdict.SAME:
                return record, verdict
            is_waited_for |= verdict is Verdict.WAIT
        return None, Verdict.WAIT if is_waited_for else None

    def _twin_of(self, found: Found, identity: str, reader: ByteReader, live: Live) -> Followed | None:
        for other in live(identity):
            if (other.device, other.inode) == (found.device, found.inode):
                continue
            if content_agrees(reader, other.trail.known_marks(), found.size) is not False:
                return other
        return None

    def _new(self, found: Found, identity: str, reader: ByteReader, *, is_first_start: bool) -> Followed:
        source = found.source
        end = _present_end(reader, found.size) if is_first_start else 0
        shipped = end if source.start is Start.END else 0
        observed = end if self._metrics_start is MetricsStart.NOW else 0
        followed = Followed(
            id=self._next_id,
            source=source,
            path=found.path,
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
        self._next_id += 1
        if 0 < followed.nearest < NEVER:
            followed.trail.extend_by(reader.read, followed.nearest)
            followed.trail.remember_here()
        return followed

    def resume(self, record: FileRecord, source: SourceSettings, descriptor: int) -> Followed:
        """Goes on in a file that has no name any more but is open. The descriptor is the followed file's then."""
        facts = os.fstat(descriptor)
        found = Found(source, record.path, record.path, record.device, record.inode, facts.st_size, facts.st_mtime_ns)
        followed = self._resumed(found, record, reader_for(descriptor))
        followed.adopt(descriptor)
        return followed

    def _resumed(self, found: Found, record: FileRecord, reader: ByteReader) -> Followed:
        self._take(record)
        source = found.source
        observed = record.observed
        if source.metrics and observed == NOT_COUNTED:
            observed = _present_end(reader, found.size) if self._metrics_start is MetricsStart.NOW else 0
        high = min(_farthest(record), found.size) if isinstance(reader, PlainReader) else _farthest(record)
        return Followed(
            id=record.id,
            source=source,
            path=found.path,
            device=found.device,
            inode=found.inode,
            identity=record.identity,
            observed=observed,
            observed_from=record.observed_from if observed == record.observed else observed,
            shipped=record.shipped,
            shipped_from=record.shipped_from,
            last_time=record.last_time,
            ship_time=record.last_time,
            trail=Trail.of_marks(record.marks, high, bytes_before(reader, high)),
            size=found.size,
            mtime_ns=found.mtime_ns,
            tail_start=record.tail_start,
        )


def has_complete_first_line(reader: ByteReader) -> bool:
    return first_line(reader) is not None


def is_json_object(line: bytes) -> bool:
    """Whether an unterminated line can be taken as whole: it is a JSON object that is closed."""
    try:
        return isinstance(orjson.loads(line.lstrip(b"\0").removeprefix(BOM)), dict)
    except orjson.JSONDecodeError:
        return False


def _farthest(record: FileRecord) -> int:
    return max((position for position in (record.observed, record.shipped) if position < NEVER), default=0)


def _compared(record: FileRecord, found: Found, identity: str, reader: ByteReader, *, is_alive: bool) -> Verdict:
    cursor = _farthest(record)
    agree = content_agrees(reader, record.marks, found.size) if record.marks else None
    if isinstance(reader, PlainReader):
        size = found.size
    else:
        size = cursor if _reaches(reader, cursor) else 0
    known = Known(record.device, record.inode, record.identity, cursor, is_alive)
    return compare(known, Seen(found.device, found.inode, identity, size), agree)


def _reaches(reader: ByteReader, position: int) -> bool:
    """Whether a compressed stream can be read up to `position`."""
    try:
        return len(bytes_before(reader, position)) == min(position, MARK_BYTES)
    except Damaged:
        return False


def _present_end(reader: ByteReader, size: int) -> int:
    """Where the next line will begin: behind the last newline; NEVER for a compressed file, which will not grow."""
    if not isinstance(reader, PlainReader):
        return NEVER
    step = 64 << 10
    end = size
    while end > 0:
        start = max(0, end - step)
        newline = reader.read(start, end - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
