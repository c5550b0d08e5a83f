"""What survives the process: offsets, marks and series, committed together in one SQLite file.

One process at a time, one writer thread at a time. A commit is durable when `commit` returns (WAL, synchronous=FULL: with
NORMAL a power cut takes back commits that a scrape has already shown). A state file that cannot be used is set aside and
rebuilt: ids keep the index right, counters begin again.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from shipper.batch import Mark
from shipper.errors import InUseError, StateError
from shipper.failpoints import failpoint
from shipper.identity import pack_marks, unpack_marks

SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE files (
    id INTEGER PRIMARY KEY, source TEXT NOT NULL, path BLOB NOT NULL, device INTEGER NOT NULL, inode INTEGER NOT NULL,
    identity TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    observed INTEGER NOT NULL, observed_from INTEGER NOT NULL, shipped INTEGER NOT NULL, shipped_from INTEGER NOT NULL,
    last_time TEXT NOT NULL, tail_start INTEGER, marks BLOB NOT NULL, is_gone INTEGER NOT NULL, seen_at INTEGER NOT NULL
);
CREATE TABLE series (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
"""
_COLUMNS = (
    "id, source, path, device, inode, identity, size, mtime_ns, observed, observed_from, shipped, shipped_from, "
    "last_time, tail_start, marks, is_gone, seen_at"
)

log = logging.getLogger(__name__)


@dataclass(slots=True)
class FileRecord:
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


@dataclass(slots=True)
class Commit:
    """What changed since the last one; values are absolute, so that a commit can be repeated."""

    files: list[FileRecord] = field(default_factory=list)
    forgotten: list[int] = field(default_factory=list)
    series: Sequence[tuple[bytes, bytes | None]] = ()


@dataclass(slots=True)
class Snapshot:
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
        self.path = path

    def load(self) -> Snapshot:
        rows = self._connection.execute(f"SELECT {_COLUMNS} FROM files").fetchall()  # noqa: S608 - our own constant
        series = self._connection.execute("SELECT key, value FROM series").fetchall()
        return Snapshot([_record(row) for row in rows], series, self._is_first_start)

    def commit(self, commit: Commit) -> None:
        """Makes `commit` durable, whole or not at all. Raises StateError, after which it can be repeated."""
        connection = self._connection
        failpoint("state.before_commit")
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                f"REPLACE INTO files ({_COLUMNS}) VALUES ({', '.join('?' * 17)})",  # noqa: S608 - our own constants
                map(_row, commit.files),
            )
            connection.executemany("DELETE FROM files WHERE id = ?", [(id_,) for id_ in commit.forgotten])
            _write_series(connection, commit.series)
            if self._is_first_start:
                connection.execute("INSERT OR IGNORE INTO meta VALUES ('started', ?)", (str(int(self._clock())),))
            failpoint("state.in_commit")
            connection.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            if connection.in_transaction:
                connection.rollback()
            raise StateError(f"cannot write {self.path}: {error}") from error
        self._is_first_start = False
        failpoint("state.after_commit")

    def close(self) -> None:
        self._connection.close()
        os.close(self._lock)


def _write_series(connection: sqlite3.Connection, series: Iterable[tuple[bytes, bytes | None]]) -> None:
    kept = [(key, value) for key, value in series if value is not None]
    connection.executemany("REPLACE INTO series (key, value) VALUES (?, ?)", kept)
    connection.executemany("DELETE FROM series WHERE key = ?", [(key,) for key, value in series if value is None])


def _row(record: FileRecord) -> tuple[object, ...]:
    return (
        record.id,
        record.source,
        os.fsencode(record.path),
        record.device,
        _signed(record.inode),
        record.identity,
        record.size,
        record.mtime_ns,
        record.observed,
        record.observed_from,
        record.shipped,
        record.shipped_from,
        record.last_time,
        record.tail_start,
        pack_marks(record.marks),
        record.is_gone,
        record.seen_at,
    )


def _record(row: Sequence[object]) -> FileRecord:
    values = list(row)
    values[2] = os.fsdecode(values[2])  # type: ignore[arg-type] # a row is as _row wrote it
    values[4] = int(values[4]) & 0xFFFFFFFFFFFFFFFF  # type: ignore[call-overload]
    values[14] = unpack_marks(values[14])  # type: ignore[arg-type]
    values[15] = bool(values[15])
    return FileRecord(*values)  # type: ignore[arg-type]


def _signed(inode: int) -> int:
    """SQLite's integers are signed; some filesystems' inodes use all 64 bits."""
    return inode - (1 << 64) if inode >= 1 << 63 else inode


# Opening ------------------------------------------------------------------------------------------------------------


def open_state(directory: Path, *, clock: Callable[[], float] = time.time) -> State:
    """Opens or creates the state in `directory` (mode 0700) for this process alone.

    Raises InUseError if another process has it, StateError if the directory cannot be used.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = _lock(directory / "lock")
    except OSError as error:
        raise StateError(f"cannot use the state directory {directory}: {error.strerror or error}") from error
    path = directory / "state.db"
    try:
        connection = _open_or_set_aside(path, clock)
    except (sqlite3.Error, OSError) as error:
        os.close(lock)
        raise StateError(f"cannot open {path}: {error}") from error
    started = connection.execute("SELECT value FROM meta WHERE key = 'started'").fetchone()
    return State(connection=connection, lock=lock, path=path, is_first_start=started is None, clock=clock)


def _lock(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        pid = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise InUseError(f"the state in {path.parent} is in use by process {pid}; stop it, or use --state") from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def _open_or_set_aside(path: Path, clock: Callable[[], float]) -> sqlite3.Connection:
    try:
        return _connect(path)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError) and not _says_damage(error):
            raise
        aside = path.with_name(f"{path.name}.unusable-{int(clock())}")
        log.error(
            "%s cannot be used (%s); it is kept as %s. Shipping starts again from the beginning of the files (ids keep "
            "the index right), counters start again at 0 from now.",
            path,
            error,
            aside,
        )
        for suffix in ("", "-wal", "-shm"):
            old = path.with_name(path.name + suffix)
            if old.exists():
                old.rename(aside.with_name(aside.name + suffix))
        return _connect(path)


def _says_damage(error: sqlite3.Error) -> bool:
    return any(word in str(error) for word in ("malformed", "not a database", "corrupt", "no such table"))


def _connect(path: Path) -> sqlite3.Connection:
    """Raises sqlite3.DatabaseError for a file that is damaged, or of a version that this program does not know."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=1)
    try:
        for pragma in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=FULL", "cache_size=-512"):
            connection.execute(f"PRAGMA {pragma}")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if version == 0 and tables == 0:
            connection.executescript(f"BEGIN IMMEDIATE;{_SCHEMA}PRAGMA user_version={SCHEMA_VERSION};COMMIT")
        elif version != SCHEMA_VERSION:
            raise sqlite3.DatabaseError(f"its version is {version}, this program knows {SCHEMA_VERSION}")
        elif (answer := connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise sqlite3.DatabaseError(answer)
        connection.execute("SELECT count(*) FROM meta").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection
