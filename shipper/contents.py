"""What a file's content says about itself: does it agree with marks, is it equal to another, where do its lines end?

Readers and positions in, answers out; of descriptors, cursors and decisions nothing is known here.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import orjson

from shipper.batch import Mark
from shipper.identity import FIRST_POWER, MARK_BYTES, agrees, digests, fits, mark_of, window
from shipper.oddlines import BOM
from shipper.tail import ByteReader, Damaged, PlainReader, bytes_before

WINDOW_BYTES = 64 << 10
"""So much is read at a time, and compared at the beginning of two files and at the end of what both have."""

Key = tuple[int, int]
"""Device and inode."""


def key_of(facts: os.stat_result) -> Key:
    return facts.st_dev, facts.st_ino


def end_of_lines(reader: ByteReader, size: int) -> int:
    """Where the line that is not complete at `size` begins. Raises OSError, Damaged."""
    end = size
    while end > 0:
        start = max(0, end - WINDOW_BYTES)
        newline = reader.read(start, end - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def content_agrees(reader: ByteReader, marks: Sequence[Mark], size: int) -> bool | None:
    """Whether a file's content agrees with `marks`; None if it is too short to say. Raises OSError, Damaged.

    A compressed stream is read once, forwards; `size` (in bytes on disk) matters only for a plain file.
    """
    if isinstance(reader, PlainReader):
        return agrees(marks, size, lambda mark: has_mark(reader, mark))
    answer: bool | None = None
    for mark in sorted(marks):
        if not reaches(reader, mark.position):
            break
        answer = fits(mark, bytes_before(reader, mark.position))
        if not answer:
            break
    return answer


def has_mark(reader: ByteReader, mark: Mark) -> bool | None:
    """Whether a content has a mark; None where its place cannot be read. Raises OSError."""
    found = digests_at(reader, mark.position)
    return mark.digest in found if found else None


def digests_at(reader: ByteReader, position: int) -> Sequence[int]:
    """What a mark at a position may say; nothing where that cannot be read. Raises OSError."""
    try:
        before = bytes_before(reader, position)
    except Damaged:
        return ()
    return digests(position, before) if len(before) == window(position) else ()


def renewed(reader: ByteReader, marks: Sequence[Mark]) -> list[Mark]:
    """The marks; where those of the first kilobyte were noted when they were made of less, made anew if they fit.

    Raises OSError, Damaged.
    """
    early = next((mark for mark in marks if MARK_BYTES < mark.position <= FIRST_POWER), None)
    if early is None:
        return [*marks]
    data = reader.read(0, FIRST_POWER)
    if early == mark_of(early.position, data[: early.position]):
        return [*marks]
    return [mark_of(mark.position, data[: mark.position]) if _is_early_in(data, mark) else mark for mark in marks]


def _is_early_in(data: bytes, mark: Mark) -> bool:
    return mark.position <= len(data) and fits(mark, data[: mark.position])


def reaches(reader: ByteReader, position: int) -> bool:
    """Whether a compressed stream can be read up to `position`. Raises OSError."""
    try:
        return len(bytes_before(reader, position)) == window(position)
    except Damaged:
        return False


def is_equal_so_far(one: ByteReader, other: ByteReader, length: int) -> bool:
    """Whether two plain contents are equal in their first `length` bytes, as far as their beginnings and ends say."""
    head = min(length, WINDOW_BYTES)
    if one.read(0, head) != other.read(0, head):
        return False
    start = max(head, length - WINDOW_BYTES)
    return one.read(start, length - start) == other.read(start, length - start)


def beginning_of(reader: ByteReader) -> bytes:
    """The first MARK_BYTES, or as many as there are and can be read. Raises OSError."""
    try:
        return reader.read(0, MARK_BYTES)
    except Damaged:
        return b""


def has_one_line(reader: ByteReader, size: int) -> bool:
    """Whether there is nothing in a plain content of `size` bytes behind its first line, as far as is looked."""
    return reader.read(0, min(size, WINDOW_BYTES)).find(b"\n") in (-1, size - 1)


def begins_equally(one: ByteReader, other: ByteReader) -> bool:
    """Whether two contents begin with the same bytes, as far as both can be read."""
    pieces = [_head(one), _head(other)]
    shared = min(map(len, pieces))
    return pieces[0][:shared] == pieces[1][:shared]


def _head(reader: ByteReader) -> bytes:
    try:
        return reader.read(0, WINDOW_BYTES)
    except Damaged:
        return b""


def goes_on(reader: ByteReader, position: int) -> bool:
    """Whether there is anything behind `position`."""
    try:
        return reader.read(position, 1) != b""
    except Damaged:
        return False


def has_line_after(reader: ByteReader, position: int) -> bool:
    """Whether a line ends behind `position`, as far as can be read. Raises OSError."""
    try:
        while piece := reader.read(position, WINDOW_BYTES):
            if b"\n" in piece:
                return True
            position += len(piece)
    except Damaged:
        return False
    return False


def end_of(reader: ByteReader, position: int) -> int:
    """Where a content ends that goes at least to `position`."""
    end = position
    try:
        while piece := reader.read(end, WINDOW_BYTES):
            end += len(piece)
    except Damaged:
        return end
    return end


def is_json_object(line: bytes) -> bool:
    """Whether an unterminated line can be taken as whole: it is a JSON object that is closed."""
    try:
        return isinstance(orjson.loads(line.lstrip(b"\0").removeprefix(BOM)), dict)
    except orjson.JSONDecodeError:
        return False
