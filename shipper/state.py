"""What survives the process: offsets, marks and series, committed together in one SQLite file.

One process at a time, one thread at a time. A commit is durable when `commit` returns. `statefile` has the file itself:
its lock, its schema, and what happens to one that cannot be used.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from shipper.batch import Mark
from shipper.errors import StateError
from shipper.failpoints import failpoint
from shipper.identity import pack_marks, unpack_marks
from shipper.statefile import connect, lock

_COLUMNS = (
    "id, source, path, device, inode, identity, size, mtime_ns, observed, observed_from, shipped, shipped_from, "
    "last_time, tail_start, marks, is_gone, seen_at, is_renamed, line_ends, unfolded_bytes"
)

_REPLACE = f"REPLACE INTO files ({_COLUMNS}) VALUES ({', '.join('?' * 20)})"  # noqa: S608 - our own constants
_UPDATE = (
    "UPDATE files SET size = ?, mtime_ns = ?, observed = ?, shipped = ?, last_time = ?, marks = ?, seen_at = ? "
    "WHERE id = ?"
)
"""What changes as a file is read on: half the cost of the whole row."""


class FileRecord(msgspec.Struct):
    """One content of one file. Offsets are decompressed bytes; `size` is the file's own, as last seen."""

    id: int
    source: str
    path: str
    device: int
    inode: int
    identity: str
    size: int
    mtime_ns: int
    observed: int
    """Metrics have counted up to here."""
    observed_from: int
    """Where its metrics began: the seam at which replayed history ends."""
    shipped: int
    """Acknowledged up to here."""
    shipped_from: int
    last_time: str
    """What a line at `shipped` inherits if it has no time of its own."""
    tail_start: int | None
    """Where an unterminated last line begins that was read although it may be continued."""
    marks: Sequence[Mark]
    is_gone: bool
    """The file has vanished: only kept so that its copy is not read again."""
    seen_at: int
    """Unix seconds."""
    is_renamed: bool = False
    """It had another name before: what it holds will hardly be continued."""
    line_ends: bytes = b""
    """Where its first lines end (`identity.Trail`)."""
    unfolded_bytes: int = 0
    """How much is in an archive, as far as that is known; 0 of a plain file."""

    @property
    def key(self) -> tuple[int, int]:
        return self.device, self.inode


class Commit(msgspec.Struct):
    """What changed since the last one; values are absolute, so that a commit can be repeated."""

    files: list[FileRecord] = msgspec.field(default_factory=list)
    forgotten: list[int] = msgspec.field(default_factory=list)
    series: Sequence[tuple[bytes, bytes | None]] = ()


class Snapshot(msgspec.Struct):
    """What the last process left."""

    files: list[FileRecord]
    series: list[tuple[bytes, bytes]]
    is_first_start: bool
    """Nothing was ever committed: an empty directory, or a state that had to be set aside."""


class State:
    """The open state; `open_state` makes it. Used by one thread at a time."""

    def __init__(
        self,
        *,
        connection: sqlite3.Connection,
        lock: int,
        path: Path,
        is_first_start: bool,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._connection = connection
        self._lock = lock
        self._is_first_start = is_first_start
        self._clock = clock
        self._standing: dict[int, int] = {}  # of each row that was written: the hash of what `_UPDATE` leaves alone
        self.path = path

    def load(self) -> Snapshot:
        return Snapshot(*_read(self._connection), self._is_first_start)

    def commit(self, commit: Commit) -> None:
        """Makes `commit` durable, whole or not at all. Raises StateError, after which it can be repeated."""
        connection = self._connection
        whole: list[tuple[object, ...]] = []
        moved: list[tuple[object, ...]] = []
        standing: dict[int, int] = {}
        for record in commit.files:
            stands = _standing(record)
            if self._standing.get(record.id) == stands:
                moved.append(_moved_row(record))
            else:
                whole.append(_row(record))
                standing[record.id] = stands
        try:
            failpoint("state.before_commit")
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(_REPLACE, whole)
            connection.executemany(_UPDATE, moved)
            connection.executemany("DELETE FROM files WHERE id = ?", [(id_,) for id_ in commit.forgotten])
            _write_series(connection, commit.series)
            if self._is_first_start:
                connection.execute("INSERT OR IGNORE INTO meta VALUES ('started', ?)", (str(int(self._clock())),))
            failpoint("state.in_commit")
            connection.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            with contextlib.suppress(sqlite3.Error):  # SQLite has taken it back itself, or will when it is opened
                connection.rollback()
            raise StateError(f"cannot write {self.path}: {error}") from error
        self._is_first_start = False
        self._standing |= standing
        for id_ in commit.forgotten:
            self._standing.pop(id_, None)
        failpoint("state.after_commit")

    def close(self) -> None:
        self._connection.close()
        os.close(self._lock)


def open_state(directory: Path, *, clock: Callable[[], float] = time.time) -> State:
    """Opens or creates the state in `directory` (mode 0700) for this process alone.

    Raises InUseError if another process has it, StateError if the directory cannot be used.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = lock(directory / "lock")
    except OSError as error:
        raise StateError(f"cannot use the state directory {directory}: {error.strerror or error}") from error
    path = directory / "state.db"
    try:
        connection = connect(path, read=_read, clock=clock)
        started = connection.execute("SELECT value FROM meta WHERE key = 'started'").fetchone()
    except (sqlite3.Error, OSError) as error:
        os.close(descriptor)
        raise StateError(f"cannot open {path}: {error}") from error
    return State(connection=connection, lock=descriptor, path=path, is_first_start=started is None, clock=clock)


def _write_series(connection: sqlite3.Connection, series: Iterable[tuple[bytes, bytes | None]]) -> None:
    kept = [(key, value) for key, value in series if value is not None]
    connection.executemany("REPLACE INTO series (key, value) VALUES (?, ?)", kept)
    connection.executemany("DELETE FROM series WHERE key = ?", [(key,) for key, value in series if value is None])


def _row(record: FileRecord) -> tuple[object, ...]:
    return (
        record.id,
        record.source,
        os.fsencode(record.path),
        _signed(record.device),
        _signed(record.inode),
        record.identity,
        record.size,
        _bounded(record.mtime_ns),
        record.observed,
        record.observed_from,
        record.shipped,
        record.shipped_from,
        record.last_time,
        record.tail_start,
        pack_marks(record.marks),
        record.is_gone,
        record.seen_at,
        record.is_renamed,
        record.line_ends,
        record.unfolded_bytes,
    )


def _standing(record: FileRecord) -> int:
    """Says whether a row differs in more than how far its file was read."""
    return hash(
        (
            record.source,
            record.path,
            record.device,
            record.inode,
            record.identity,
            record.observed_from,
            record.shipped_from,
            record.tail_start,
            record.is_gone,
            record.is_renamed,
            record.line_ends,
            record.unfolded_bytes,
        )
    )


def _moved_row(record: FileRecord) -> tuple[object, ...]:
    return (
        record.size,
        _bounded(record.mtime_ns),
        record.observed,
        record.shipped,
        record.last_time,
        pack_marks(record.marks),
        record.seen_at,
        record.id,
    )


def _read(connection: sqlite3.Connection) -> tuple[list[FileRecord], list[tuple[bytes, bytes]]]:
    """All files and series. Raises sqlite3.Error, or another error where a row is not as it was written."""
    rows = connection.execute(" ".join(("SELECT", _COLUMNS, "FROM files")))
    return [_record(row) for row in rows], connection.execute("SELECT key, value FROM series").fetchall()


def _record(row: Sequence[Any]) -> FileRecord:
    """Raises TypeError or ValueError for a row that `_row` has not made."""
    id_, source, path, device, inode, *others, marks, is_gone, seen_at, is_renamed, line_ends, unfolded_bytes = row
    if tuple(map(type, (source, path, marks, line_ends, unfolded_bytes, *others))) not in _ROW_TYPES:
        raise TypeError(f"the row of file {id_!r} holds values of other types")
    head = (id_, source, os.fsdecode(path), device % (2 * _HALF), inode % (2 * _HALF))
    rest = (unpack_marks(marks), bool(is_gone), seen_at, bool(is_renamed), line_ends, unfolded_bytes)
    return FileRecord(*(*head, *others, *rest))


_FIXED_TYPES = (str, bytes, bytes, bytes, int, str, int, int, int, int, int, int, str)
_ROW_TYPES = ((*_FIXED_TYPES, int), (*_FIXED_TYPES, type(None)))
_HALF = 1 << 63


def _bounded(mtime_ns: int) -> int:
    """A file may claim to be of the year 2400."""
    return mtime_ns if -_HALF <= mtime_ns < _HALF else (_HALF - 1 if mtime_ns > 0 else -_HALF)


def _signed(number: int) -> int:
    """SQLite's integers are signed; some filesystems' inodes use all 64 bits."""
    return number - 2 * _HALF if number >= _HALF else number
