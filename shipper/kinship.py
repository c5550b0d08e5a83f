"""What two files that begin with the same line are to each other: a file and its copy, or two contents.

Copies come from copytruncate, from compression in place, from backups beside the file; different contents with equal
first lines from services that begin each file with the same header. Asked by `relation` of a file that is followed.
"""

from __future__ import annotations

from enum import Enum

from shipper.contents import begins_equally, content_agrees, end_of, goes_on, has_one_line, is_equal_so_far
from shipper.followed import Followed
from shipper.tail import ByteReader, PlainReader


class Kinship(Enum):
    """What a file is to the one that is followed."""

    OTHER = "other"
    """Another content."""
    COPY = "copy"
    """Equal, and nothing more in it."""
    SO_FAR = "so far"
    """Equal as far as the followed one was read; to be asked again when more of it was."""
    LONGER = "longer"
    """Equal, and more in it: reading goes on there."""


def kinship(*, is_equal: bool | None, is_conclusive: bool, has_more: bool) -> Kinship:
    """`is_equal` as far as both go (None: nothing to compare yet). `is_conclusive`: the comparison went to the end of
    the followed file or of the other. `has_more`: the other goes on behind the end of the followed one.
    """
    if is_equal is False:
        return Kinship.OTHER
    if not is_conclusive:
        return Kinship.SO_FAR
    return Kinship.LONGER if has_more else Kinship.COPY


def shared_bytes(followed: Followed, reader: ByteReader, size: int, *, earlier: int) -> int:
    """How many bytes two plain files surely share: all of the other's `size`, all of the followed one's, or as many as
    `earlier`; else 0. Raises OSError.
    """
    own = followed.reader
    if own is None or not followed.is_plain or not isinstance(reader, PlainReader):
        return 0
    lengths = (size, followed.stat().st_size, earlier)
    return next((length for length in lengths if 0 < length <= size and is_equal_so_far(own, reader, length)), 0)


def kinship_of(followed: Followed, reader: ByteReader, size: int) -> Kinship:
    """What the file behind `reader`, `size` bytes on disk, is to an intact `followed`. Raises OSError, Damaged."""
    agree = content_agrees(reader, followed.trail.known_marks(), size)
    if agree is False:
        return Kinship.OTHER
    own = followed.reader
    if own is None:  # gone, and waiting for its last acknowledgements
        return Kinship.SO_FAR
    if followed.is_plain and isinstance(reader, PlainReader):
        own_size = followed.stat().st_size  # after `size` was taken: a copy of a file that grows is never longer
        is_equal = is_equal_so_far(own, reader, min(size, own_size))
        if size > own_size and has_one_line(own, own_size):
            return Kinship.OTHER  # the same header is no sign: each may be written on by itself
        return kinship(is_equal=is_equal, is_conclusive=True, has_more=size > own_size)
    if not begins_equally(own, reader):
        return Kinship.OTHER
    if not followed.is_at_end:
        return kinship(is_equal=agree, is_conclusive=False, has_more=False)
    end = followed.stat().st_size if followed.is_plain else end_of(own, followed.farthest)
    return kinship(is_equal=agree, is_conclusive=True, has_more=goes_on(reader, end))
