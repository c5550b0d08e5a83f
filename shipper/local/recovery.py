"""A lost ledger made anew from the day files: their `_id`s say which lines they hold.

Certain: a line whose document is in a day file is not written again, for whole ids are compared (identity, offset,
checksum), and no line is skipped that is not there. Not certain: of lines that made no document (dropped, set aside)
and of day files that were deleted nothing is known; such lines are judged again, and come back if they are still in
the logs. Every complete line counts as committed, a torn last one is cut. Day files that somebody has compressed are
read as well; where one is damaged, what cannot be read any more is taken for gone.
"""

from __future__ import annotations

import logging
import re
from array import array
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from xxhash import xxh3_64_intdigest

from shipper.batch import Documents
from shipper.local.ledger import FileRow, Recovered
from shipper.local.standing import DAMAGED, PACKED, marks_of, opened, readable_files

log = logging.getLogger(__name__)

_LONGEST_START = 1 << 16
_START = re.compile(rb'\{"_index":"([^"\\\x00-\x1f]+)","_id":"(([0-9a-f]{12})-[0-9]{10,}-[0-9a-f]{8})","_source":\{')
_ID = b'","_id":"'


class KnownIds:
    """Ids that are in day files already; 8 bytes each."""

    def __init__(self, ascending: Sequence[array[int]]) -> None:
        self._ascending = ascending

    def has(self, wanted: int) -> bool:
        """Whether an id with this hash is."""
        return any(_is_in(hashes, wanted) for hashes in self._ascending)


def without(documents: Documents, known: KnownIds, taken: set[int] | None) -> tuple[list[tuple[str, bytes]], int]:
    """The segments as (index, body) without the documents that are known or `taken`, and how many those are.

    `taken` has the hashes of what else is to be written, and gets those of the rest; None where nothing comes twice.
    """
    kept: list[tuple[str, bytes]] = []
    duplicates = 0
    for index_name, start, end in documents.segments:
        lines = documents.body[start:end].split(b"\n")[:-1]
        new = [line for line in lines if _is_new(xxh3_64_intdigest(_id_of(line)), known, taken)]
        duplicates += len(lines) - len(new)
        if new:
            kept.append((index_name, b"\n".join((*new, b""))))
    return kept, duplicates


def _is_new(wanted: int, known: KnownIds, taken: set[int] | None) -> bool:
    if known.has(wanted) or (taken is not None and wanted in taken):
        return False
    if taken is not None:
        taken.add(wanted)
    return True


def _is_in(hashes: array[int], wanted: int) -> bool:
    at = bisect_left(hashes, wanted)
    return at < len(hashes) and hashes[at] == wanted


def _id_of(line: bytes) -> bytes:
    start = line.index(_ID) + len(_ID)
    return line[start : line.index(b'"', start)]


def recovered(directory: Path) -> Iterator[Recovered]:
    """What each day file of ours holds: named after the index of its first line, which has the form that we write.

    Raises OSError, also for a file that may not be read: to pass by it would double its lines.
    """
    for path in readable_files(directory):
        if found := _read(path):
            log.info("%r: %d ids found", str(path), sum(map(len, found.ids.values())))
            yield found


def ids_of(directory: Path, identity: str) -> dict[str, array[int]]:
    """Ascending hashes of the ids that each day file has of one identity. Raises OSError."""
    wanted = _ID + identity.encode() + b"-"
    found = {}
    for path in readable_files(directory):
        with opened(path) as file:
            starts = (_START.match(line) for line in _whole_lines(path, file) if wanted in line[:_LONGEST_START])
            hashes = array("Q", sorted(xxh3_64_intdigest(start[2]) for start in starts if start))
        if hashes:
            found[path.name] = hashes
    return found


def _read(path: Path) -> Recovered | None:
    is_packed = path.suffix == PACKED
    with opened(path) as file:
        index_name = _index_of(path, file)
        if index_name is None:
            return None
        file.seek(0)
        ids: defaultdict[str, array[int]] = defaultdict(lambda: array("Q"))
        length = 0
        for line in _whole_lines(path, file):
            length += len(line)
            if start := _START.match(line):
                ids[start[3].decode()].append(xxh3_64_intdigest(start[2]))
        row = FileRow(path.name, index_name, length, () if is_packed else marks_of(file.fileno(), length))
    return Recovered(row, {identity: array("Q", sorted(hashes)) for identity, hashes in ids.items()}, is_packed)


def _index_of(path: Path, file: IO[bytes]) -> str | None:
    """The index of a file's first line; None if it does not have our form, or the file another name."""
    try:
        first = _START.match(file.readline(_LONGEST_START))
    except DAMAGED as error:
        _say_damaged(path, error)
        return None
    if first is None:
        return None
    name = first[1].decode(errors="replace")
    return name if _is_named_after(path.name.removesuffix(PACKED), name) else None


def _whole_lines(path: Path, file: IO[bytes]) -> Iterator[bytes]:
    """The complete lines of a day file; of one that was compressed and is damaged, those before that. (It may be in the
    making, and what it is made of lies beside it.) Raises OSError.
    """
    try:
        for line in file:
            if line.endswith(b"\n"):
                yield line
    except DAMAGED as error:
        _say_damaged(path, error)


def _say_damaged(path: Path, error: Exception) -> None:
    log.warning("%r is damaged; what it held behind that is written again if it comes: %s", str(path), error)


def _is_named_after(name: str, index_name: str) -> bool:
    return re.fullmatch(re.escape(index_name) + r"(-[0-9]+)?\.ndjson", name) is not None
