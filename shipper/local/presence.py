"""Which documents a directory has, for `audit`: by the ids in its day files; and what its ledger says of deleted ones.

Only reads, beside a running daemon too. `output` writes the day files, `ledger` knows what was committed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import IO

import msgspec

from shipper.batch import Content
from shipper.copied import copied
from shipper.errors import OutputError, StateError
from shipper.identity import unpack_marks
from shipper.idset import IdSet
from shipper.local.coverage import Contents, Coverage, Record
from shipper.local.coverage import Ranges as Covered
from shipper.local.standing import DAMAGED, PACKED, opened, readable_files
from shipper.presence import Presence, Ranges
from shipper.settings import LocalSettings

_START = re.compile(rb'\{"_index":"([^"\\]+)","_id":"([^"\\]+)","_source":')
_START_BYTES = 1024
_AT_ONCE = 4096
_RANGES = msgspec.json.Decoder(Covered)


class DirectoryShelf:
    """The day files of a directory as they stood when `read` was called."""

    def __init__(self, *, settings: LocalSettings, scratch: Path) -> None:
        """`scratch`: an empty directory for the ids."""
        self._directory = Path(settings.directory)
        self._deletes = bool(settings.keep_days or settings.max_bytes)
        self._ids = IdSet(directory=scratch)
        packed = scratch / "packed"
        packed.mkdir()
        self._packed_ids = IdSet(directory=packed)
        """Of files that were compressed; they may stand beside what they were made of."""
        self._indices: set[str] = set()
        self._records: dict[str, list[Record]] = {}
        self.problems: dict[str, str] = {}
        self.repeated = 0
        """Documents that are there twice."""

    def __str__(self) -> str:
        return str(self._directory)

    def read(self, *, identities: frozenset[str], advance: Callable[[int], None]) -> None:
        """Take in the ids of these identities; `advance` is told how many bytes were read.

        Raises OutputError and StateError.
        """
        for path in readable_files(self._directory):
            try:
                self._read(path, identities, advance)
            except (OSError, *DAMAGED) as error:
                raise _unreadable(path, error) from None
        self.repeated = self._ids.freeze()
        self._packed_ids.freeze()
        self._records = _recorded(self._directory / ".shipper" / "ledger.db", identities)

    def _read(self, path: Path, identities: frozenset[str], advance: Callable[[int], None]) -> None:
        keys: list[bytes] = []
        read = 0
        is_packed = path.suffix == PACKED
        known = self._packed_ids if is_packed else self._ids
        with opened(path) as file:
            for start, size in _starts_of_lines(file):
                read += 0 if is_packed else size
                found = _START.match(start)
                if found is None:
                    continue
                self._indices.add(found[1].decode("utf-8", "replace"))
                if found[2][:12].decode("ascii", "replace") in identities:
                    keys.append(_key(found[1], found[2]))
                if len(keys) == _AT_ONCE:
                    known.add(keys)
                    keys.clear()
                    advance(read)
                    read = 0
        known.add(keys)
        advance(path.stat().st_size if is_packed else read)

    def look_up(self, index: str, ids: Sequence[str]) -> list[Presence]:
        name = index.encode()
        keys = [_key(name, one.encode()) for one in ids]
        is_there = [key in self._ids or key in self._packed_ids for key in keys]
        return [Presence.THERE if there else Presence.ABSENT for there in is_there]

    def has_index(self, index: str) -> bool:
        return index in self._indices

    def deleted(self, content: Content) -> Ranges:
        """What the ledger says to have been delivered, if old day files are deleted at all."""
        if not self._deletes:
            return ()
        records = self._records.get(content.identity, [])
        return Contents(load=lambda _: records, new=_never).covered(content)


def _unreadable(path: Path, error: Exception) -> OutputError:
    return OutputError(f"{str(path)!r} cannot be read: {getattr(error, 'strerror', '') or error}")


def _starts_of_lines(file: IO[bytes]) -> Iterator[tuple[bytes, int]]:
    """The beginning of each line that is whole, and its size."""
    while start := file.readline(_START_BYTES):
        size, end = len(start), start
        while not end.endswith(b"\n") and (end := file.readline(1 << 16)):
            size += len(end)
        if end:
            yield start, size


def _key(index: bytes, document_id: bytes) -> bytes:
    return b"%b\0%b" % (index, document_id)


def _recorded(ledger: Path, identities: frozenset[str]) -> dict[str, list[Record]]:
    """What a ledger has of these identities; nothing if there is none. Raises StateError."""
    found: dict[str, list[Record]] = {}
    try:
        with copied(ledger) as connection:
            for key, identity, ranges, marks in connection.execute("SELECT key, identity, ranges, marks FROM content"):
                if identity in identities:
                    coverage = Coverage(_RANGES.decode(ranges), tuple(unpack_marks(marks)))
                    record = Record(key=key, identity=identity, coverage=coverage, committed=coverage)
                    found.setdefault(identity, []).append(record)
    except FileNotFoundError:
        pass
    return found


def _never(identity: str) -> Record:
    raise StateError(f"nothing is added to the ledger here ({identity})")


def ids_in(directory: Path, index: str, ids: Collection[str]) -> set[str]:
    """Those of the ids that day files have in this index. Raises OutputError."""
    wanted = {one.encode() for one in ids}
    found = set()
    for path in readable_files(directory):
        if not path.name.startswith(index):
            continue
        try:
            with opened(path) as file:
                starts = (_START.match(start) for start, _ in _starts_of_lines(file))
                found |= {one[2] for one in starts if one and one[1] == index.encode() and one[2] in wanted}
        except (OSError, *DAMAGED) as error:
            raise _unreadable(path, error) from None
    return {one.decode() for one in found}
