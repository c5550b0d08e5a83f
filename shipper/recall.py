"""What a file that was found is to those that were followed once: the same file, the same content elsewhere, or new.

`identity.compare` decides it for each record; here those that come into question are asked, and what is left of a
content in a file that was cut or written anew is measured.
"""

from __future__ import annotations

from shipper.candidate import Candidate
from shipper.contents import content_agrees, goes_on, reaches
from shipper.cursor import NEVER
from shipper.discover import COMPRESSED
from shipper.identity import FIRST_POWER, Known, Seen, Verdict, compare
from shipper.records import Records
from shipper.state import FileRecord
from shipper.tail import CompressedReader


def farthest(record: FileRecord) -> int:
    """Everything before this was read by one of the cursors."""
    return max(position for position in (record.observed, record.shipped, 0) if position < NEVER)


def same_file(records: Records, candidate: Candidate) -> tuple[FileRecord | None, int]:
    """The record of this very file. One whose file was emptied or replaced waits for a copy from now on; how much
    of that one's content surely is left in the file. Raises OSError and Damaged.
    """
    found, identity = candidate.found, candidate.identity
    record = records.by_key((found.device, found.inode))
    if record is None:
        return None, 0
    if not has_changed(record, candidate) and record.identity == identity:
        return record, 0
    is_unread = farthest(record) == 0 and record.identity != identity
    verdict, agree = _compared(record, candidate, identity, is_place_known=True)
    is_cut = agree and candidate.size < farthest(record) and candidate.is_plain
    if not is_unread and (verdict is Verdict.SAME or is_cut):
        return record, 0
    records.replaced(record)
    return None, _left_of(record, candidate) if record.identity == identity else 0


def same_content(records: Records, candidate: Candidate) -> tuple[FileRecord | None, bool]:
    """The record of the same content that was read farthest, wherever it lay; or that this is a part of such.

    What is too short for any mark is another content that begins with the same line, until more of it says else;
    but an archive that is just being written is waited for. Raises OSError and Damaged.
    """
    asked = candidate.asked
    may_grow = not (candidate.is_plain or asked.is_settled)
    is_partial = False
    known = [record for one in {candidate.identity, asked.twin_of} for record in records.by_identity(one)]
    for record in sorted(known, key=farthest, reverse=True):
        is_there = asked.unreadable_bytes(record.key) >= _least_size(record)
        if is_there and _is_first_line_alone(record) and _has_more(candidate, farthest(record)):
            continue  # what is equal is what others begin with, too
        verdict, agree = _compared(record, candidate, record.identity, is_place_known=False)
        if record.identity != candidate.identity and not agree:
            continue  # what lay there was a copy of it: another file may have the inode now
        if verdict is Verdict.SAME:
            return record, False
        is_partial |= verdict is Verdict.WAIT and (agree is True or may_grow)
    return None, is_partial


def is_better_known(records: Records, record: FileRecord, candidate: Candidate) -> bool:
    """Whether the file holds what was read farther in another file, that is gone, than what `record` says of it."""
    identity = candidate.identity
    farther = [other for other in records.by_identity(identity) if farthest(other) > farthest(record)]
    compared = (_compared(other, candidate, identity, is_place_known=False) for other in farther)
    return any(verdict is Verdict.SAME for verdict, _ in compared)


def left_of_copy(records: Records, candidate: Candidate) -> int:
    """How many bytes surely are left in a file that was a copy of what is gone, and was cut since."""
    asked = candidate.asked
    known = records.by_identity(asked.twin_of) if asked.twin_of else ()
    return min(asked.equal_until, max((_left_of(record, candidate) for record in known), default=0))


def has_changed(record: FileRecord, candidate: Candidate) -> bool:
    """Whether the file has another size or time than when it was last seen."""
    return (record.size, record.mtime_ns) != (candidate.found.size, candidate.found.mtime_ns)


def says_little(record: FileRecord, candidate: Candidate) -> bool:
    """Whether the file has changed since, and what was read of it then, if anything, may be what others begin with."""
    read = farthest(record)
    is_longer = candidate.size > read or not candidate.is_plain
    return has_changed(record, candidate) and (not read or (_is_first_line_alone(record) and is_longer))


def _is_first_line_alone(record: FileRecord) -> bool:
    """Whether no more was read of a file than its first line, as far as is known."""
    return farthest(record) < FIRST_POWER and not record.line_ends


def _has_more(candidate: Candidate, length: int) -> bool:
    """Whether it holds more than so many bytes, which may be those of a file that lies beside it, or may yet."""
    reader = candidate.reader
    if isinstance(reader, CompressedReader):
        return goes_on(reader, length) or not reader.is_complete
    return candidate.size != length


def _least_size(record: FileRecord) -> int:
    """How long its file is at least, on disk, if it still holds what was read of it."""
    return 0 if record.unfolded_bytes or record.path.endswith(COMPRESSED) else farthest(record)


def _left_of(record: FileRecord, candidate: Candidate) -> int:
    return candidate.left_of(record.marks, record.line_ends, farthest(record))


def _compared(
    record: FileRecord, candidate: Candidate, identity: str, *, is_place_known: bool
) -> tuple[Verdict, bool | None]:
    """What the file is to the record's, and whether the marks agree. `is_place_known`: device and inode matter."""
    found, reader, cursor = candidate.found, candidate.reader, farthest(record)
    agree = content_agrees(reader, record.marks, candidate.size) if record.marks else None
    if candidate.is_plain:
        size = candidate.size
    else:
        size = cursor if reaches(reader, cursor) else 0
    key = record.key if is_place_known else (-1, -1)
    known = Known(*key, record.identity, cursor, is_alive=False)
    return compare(known, Seen(found.device, found.inode, identity, size), agree), agree
