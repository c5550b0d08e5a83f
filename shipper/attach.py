"""Decides what a file that was found is to what is known: the one that was read, a copy of it, or another content.

`relation` and `recall` say what it is to what is followed and to what was; here the one is weighed against the other,
and the outcome becomes `Followed`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable

import msgspec

from shipper.candidate import Asked, Attachment, Candidate, Outcome, stem_of
from shipper.checks import Kept, cut_to, what_is_kept
from shipper.contents import beginning_of, end_of_lines, is_json_object, key_of, renewed
from shipper.cursor import NEVER
from shipper.discover import COMPRESSED, Found
from shipper.followed import Followed, end_of_archive
from shipper.identity import Trail, identity_of, pack_marks, unpack_marks
from shipper.recall import farthest, has_changed, is_better_known, left_of_copy, same_content, same_file, says_little
from shipper.records import Records
from shipper.relation import Live, relation
from shipper.settings import MetricsStart, SourceSettings, Start
from shipper.state import FileRecord
from shipper.tail import ByteReader, CompressedReader, PlainReader, bytes_before, first_line, open_log, reader_for

NOT_COUNTED = -1
"""`observed` of a file whose lines have not fed the metrics so far; of one whose source feeds none any more, it is the
complement of how far they had."""


class Continuation(msgspec.Struct, frozen=True):
    """Where the reading of a file begins that is to be followed."""

    record: FileRecord | None = None
    """What was read of its content before, here or elsewhere."""
    begin: int = 0
    """If there is no record: everything before this was read in another file."""
    left_bytes: int = 0
    """If there is none: so much is left in it of what was read before it was cut."""


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
        candidate = self._candidate(found, reader_for(descriptor), asked)
        decision = self._decide(candidate, live)
        if isinstance(decision, Attachment):
            return decision
        record, reader = decision.record, candidate.reader
        followed = self._new(candidate, decision) if record is None else self._resumed(candidate, record)
        followed.beginning = candidate.beginning
        followed.adopt(descriptor)
        if isinstance(reader, CompressedReader) and reader.is_at_end():
            followed.unfolded_bytes, followed.is_end_known = reader.unfolded, True
        lost_bytes = 0 if record is None else _cut_bytes(record, followed)
        if record is not None and followed.is_plain and candidate.size < followed.farthest:
            cut_to(followed, what_is_kept(followed) or Kept(0, candidate.size))
        return Attachment(Outcome.FOLLOW, followed.identity, followed, lost_bytes=lost_bytes)

    def _candidate(self, found: Found, reader: ByteReader, asked: Asked) -> Candidate:
        beginning = beginning_of(reader)
        line = _first_line(reader, asked)
        identity = ""
        if line is not None:
            line = self._identity_line(line)
            identity = identity_of(scope=self._scope, stem_name=stem_of(found.real_path), first_line=line)
        return Candidate(found, asked, reader, beginning, identity)

    def _decide(self, candidate: Candidate, live: Live) -> Attachment | Continuation:
        """What the file is: something that is not followed, or where its reading begins."""
        record, left_bytes = same_file(self.records, candidate)
        if not candidate.identity:
            return Attachment(Outcome.NO_LINE)
        if record is not None and not says_little(record, candidate):
            return Continuation(record)
        answer = relation(candidate, live)
        if record is not None:
            if answer.original is not None and _tells_more(answer.original, record):
                self.records.replaced(record)  # another file has its inode, a copy of what is followed
                return answer
            if not is_better_known(self.records, record, candidate):
                return Continuation(record)
            self.records.replaced(record)  # another file has its inode, with what was read elsewhere
        return self._decide_by_content(candidate, answer, left_bytes)

    def _decide_by_content(
        self, candidate: Candidate, answer: Attachment, left_bytes: int
    ) -> Attachment | Continuation:
        """The same of a file of which nothing is remembered, but that so much is left in it of what was read there.
        `answer`: what it is to those that are followed.
        """
        record, is_partial = same_content(self.records, candidate)
        if record is not None and farthest(record) < left_bytes:
            record = None  # more is left of what was read in this very file
        if answer.outcome is not Outcome.FOLLOW and not _is_farther(record, answer.original):
            return answer
        if is_partial:
            return Attachment(Outcome.PARTIAL, candidate.identity)
        if record is not None:
            return Continuation(record)
        if not answer.equal_until:
            left_bytes = max(left_bytes, left_of_copy(self.records, candidate))
        begin = max(answer.equal_until, left_bytes)
        is_cut_copy = begin < candidate.asked.equal_until
        return Continuation(begin=begin, left_bytes=begin if is_cut_copy else left_bytes)

    def _new(self, candidate: Candidate, decision: Continuation) -> Followed:
        found, reader, first_size = candidate.found, candidate.reader, candidate.asked.first_size
        source = found.source
        begin = end = end_of_lines(reader, min(decision.begin, found.size)) if decision.begin else 0
        if first_size is not None:
            # a compressed file will not grow: all of it was there
            end = max(begin, end_of_lines(reader, min(first_size, found.size))) if candidate.is_plain else NEVER
        shipped = end if source.start is Start.END else 0
        observed = end if self._metrics_start is MetricsStart.NOW else begin
        followed = Followed(
            id=self.records.next_id,
            source=source,
            path=found.path,
            real_path=found.real_path,
            device=found.device,
            inode=found.inode,
            identity=candidate.identity,
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
        if decision.left_bytes:
            followed.cut_at = end_of_lines(reader, decision.left_bytes)
        return followed

    def _resumed(self, candidate: Candidate, record: FileRecord) -> Followed:
        self.records.take(record)
        found, reader, identity = candidate.found, candidate.reader, candidate.identity
        source = found.source
        observed, observed_from = self._observed(candidate, record)
        shipped, tail_start = record.shipped, record.tail_start
        if tail_start == 0 and identity != record.identity:
            shipped = 0  # its only line had no end when it was read, and goes on: that is another first line
        else:
            identity = record.identity
        high = min(farthest(record), found.size) if candidate.is_plain else farthest(record)
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
            unfolded_bytes=_unfolded_bytes(record, candidate),
        )

    def _observed(self, candidate: Candidate, record: FileRecord) -> tuple[int, int]:
        """Where the metrics of the record's content go on, and where they began."""
        observed, begun = record.observed, record.observed_from
        if not candidate.found.source.metrics:
            return (~observed if observed >= 0 else observed), begun
        if observed >= 0:
            return observed, begun
        counted = ~observed
        observed = max(counted, self._present_end(candidate.reader, candidate.size))
        return observed, observed if counted <= begun else begun

    def _present_end(self, reader: ByteReader, size: int) -> int:
        """Where the metrics of a file begin whose source begins to feed them."""
        if self._metrics_start is MetricsStart.BEGINNING:
            return 0
        return end_of_lines(reader, size) if isinstance(reader, PlainReader) else NEVER


def _first_line(reader: ByteReader, asked: Asked) -> bytes | None:
    """None while there is none."""
    line = first_line(reader)
    if line is not None:
        return line
    may_end = asked.is_renamed if isinstance(reader, PlainReader) else reader.is_complete
    is_final = asked.is_settled and may_end
    if is_final or asked.takes_objects:
        line = first_line(reader, is_final=True)
    return line if line is not None and (is_final or is_json_object(line)) else None


def _trail_of(record: FileRecord, high: int, reader: ByteReader) -> Trail:
    """What is known of the first `high` bytes of the record's content, which is behind `reader` now."""
    line_ends = unpack_marks(record.line_ends)
    marks = renewed(reader, [*line_ends, *record.marks])  # at once, for an archive is begun anew for each look
    count = len(line_ends)
    return Trail.of_marks(marks[count:], high, bytes_before(reader, high), line_ends=pack_marks(marks[:count]))


def unread(record: FileRecord, source: SourceSettings) -> int:
    """How many bytes of a file that is gone one of the cursors had not passed, as far as that can be known."""
    positions = [record.shipped] if source.ship else []
    if source.metrics and record.observed >= 0:
        positions.append(record.observed)
    is_archive = (record.path.endswith(COMPRESSED) or record.unfolded_bytes > 0) and not record.is_gone
    end = end_of_archive(farthest(record), record.unfolded_bytes, record.size) if is_archive else record.size
    return max(0, end - min(positions, default=NEVER))


def _cut_bytes(record: FileRecord, followed: Followed) -> int:
    """How many bytes of a file were never read that it had and has no more. (A copy may be in the making.)"""
    is_cut = followed.is_plain and (record.key == followed.key or followed.size < followed.farthest)
    return max(0, record.size - max(followed.size, followed.nearest)) if is_cut else 0


def _unfolded_bytes(record: FileRecord, candidate: Candidate) -> int:
    """At least so much is in a file that is an archive, by the record of the same content."""
    if record.unfolded_bytes or record.path.endswith(COMPRESSED):
        return 0 if has_changed(record, candidate) else record.unfolded_bytes
    return record.size  # it was no archive then


def _tells_more(original: Followed, record: FileRecord) -> bool:
    """Whether more was read of what is followed than of what lay where its likeness lies now."""
    return not farthest(record) or original.farthest > farthest(record)


def _is_farther(record: FileRecord | None, original: Followed | None) -> bool:
    """Whether a record of the same content was read farther than what is followed of it."""
    return record is not None and original is not None and farthest(record) > original.farthest
