"""Is a day file still the one that was written, and where does it end? Decided from lengths and marks alone.

Inodes are not asked, so that a copied or restored directory goes on as well. `dayfiles` acts on the answer.
"""

from __future__ import annotations

import gzip
import os
import zlib
from enum import Enum
from pathlib import Path
from typing import IO, Final, cast

from shipper.batch import Mark
from shipper.identity import FIRST_POWER, fits, mark_of, window
from shipper.local.ledger import FileRow


def day_files(directory: Path) -> list[Path]:
    """Files that may hold documents; not what only leads to one, perhaps no more."""
    return sorted(path for path in directory.glob("*.ndjson") if path.is_file() and not path.is_symlink())


PACKED: Final = ".gz"
DAMAGED: Final = (gzip.BadGzipFile, EOFError, zlib.error)
"""What reading a day file raises that was compressed and is not whole; the first is an OSError."""


def readable_files(directory: Path) -> list[Path]:
    """Day files, also those that somebody has compressed to keep them; into those nothing is ever written."""
    packed = (path for path in directory.glob(f"*.ndjson{PACKED}") if path.is_file() and not path.is_symlink())
    return sorted([*day_files(directory), *packed])


def opened(path: Path) -> IO[bytes]:
    """The documents of a day file. Raises OSError, and while it is read DAMAGED too."""
    if path.suffix == PACKED:
        return cast(IO[bytes], gzip.open(path))
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")


class Standing(Enum):
    """What a file is to the ledger's row of its name."""

    OURS = "as long as the ledger says"
    LONGER = "ours with a tail that no commit covers"
    SHORTER = "ours, but committed bytes are gone"
    OTHER = "not the file that was written"


def standing(*, length: int, size: int, has_early_mark: bool, has_last_mark: bool) -> Standing:
    """`length` is the committed one. An emptied file is ours: there is nothing in it that could be harmed."""
    if size < length:
        return Standing.SHORTER if size == 0 or has_early_mark else Standing.OTHER
    if not has_last_mark:
        return Standing.OTHER
    return Standing.OURS if size == length else Standing.LONGER


def standing_of(row: FileRow, descriptor: int, size: int) -> Standing:
    """What the open file of `size` bytes is to `row`. Raises OSError."""

    def has(mark: Mark) -> bool:
        return mark.position <= size and fits(mark, _before(descriptor, mark.position))

    return standing(
        length=row.length,
        size=size,
        has_early_mark=bool(row.marks) and has(row.marks[0]),
        has_last_mark=has(row.marks[-1]) if row.marks else _begins_as_ours(descriptor, row.index_name),
    )


def marks_of(descriptor: int, length: int) -> tuple[Mark, ...]:
    """The marks of a file's first `length` bytes that its row keeps."""
    positions = (min(length, FIRST_POWER), length) if length else ()
    return tuple(mark_of(position, _before(descriptor, position)) for position in positions)


def _before(descriptor: int, position: int) -> bytes:
    size = window(position)
    return os.pread(descriptor, size, position - size)


def _begins_as_ours(descriptor: int, index_name: str) -> bool:
    """Is this what a first, uncommitted write leaves, whole or in part?"""
    expected = b'{"_index":"%s","_id":"' % index_name.encode()
    return expected.startswith(os.pread(descriptor, len(expected), 0))


def end_of_last_line(descriptor: int, size: int) -> int:
    """The offset behind the last newline before `size`."""
    step = 1 << 16
    for end in range(size, 0, -step):
        start = max(0, end - step)
        at = os.pread(descriptor, end - start, start).rfind(b"\n")
        if at >= 0:
            return start + at + 1
    return 0
