"""A file that was found, opened and looked into, before it is decided what it is.

`relation` says what it is to those that are followed, `recall` what it is to those that were; `attach` makes candidates
and does what follows.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from enum import Enum

import msgspec

from shipper.batch import Mark
from shipper.checks import kept
from shipper.contents import Key, has_mark
from shipper.discover import Found
from shipper.followed import Followed
from shipper.identity import stem, unpack_marks
from shipper.tail import ByteReader, PlainReader


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


class Candidate(msgspec.Struct, frozen=True):
    """What is known of the file, with its size as it was when it was opened."""

    found: Found
    asked: Asked
    reader: ByteReader
    beginning: bytes
    identity: str
    """'' while there is no first line."""

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return self.found.size

    @property
    def is_plain(self) -> bool:
        return isinstance(self.reader, PlainReader)

    @property
    def stem(self) -> str:
        return stem_of(self.found.real_path)

    def left_of(self, marks: Sequence[Mark], line_ends: bytes, read: int) -> int:
        """How many bytes surely are left in it of a content of which so many were read, if it is a plain file that
        holds another content now. Raises OSError.
        """
        if not self.is_plain:
            return 0
        ends = unpack_marks(line_ends)
        left = kept(marks, self.size, lambda mark: has_mark(self.reader, mark), read=read, line_ends=ends)
        return left.sure if left is not None else 0


def stem_of(real_path: str) -> str:
    """The name by which a file goes through its rotations; symlinks are resolved in it."""
    return stem(os.path.basename(real_path))
