"""The file that the state is in: locked for one process, checked, brought up to the present schema, and opened.

A commit is durable when it returns (WAL, synchronous=FULL: with NORMAL a power cut takes back commits that a scrape has
already shown). A file that cannot be used is set aside and begun anew: ids keep the index right, counters begin again.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import logging
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final

from shipper.errors import InUseError
from shipper.failpoints import failpoint

SCHEMA_VERSION: Final = 4
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE files (
    id INTEGER PRIMARY KEY, source TEXT NOT NULL, path BLOB NOT NULL, device INTEGER NOT NULL, inode INTEGER NOT NULL,
    identity TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    observed INTEGER NOT NULL, observed_from INTEGER NOT NULL, shipped INTEGER NOT NULL, shipped_from INTEGER NOT NULL,
    last_time TEXT NOT NULL, tail_start INTEGER, marks BLOB NOT NULL, is_gone INTEGER NOT NULL,
    seen_at INTEGER NOT NULL, is_renamed INTEGER NOT NULL, line_ends BLOB NOT NULL, unfolded_bytes INTEGER NOT NULL
);
CREATE TABLE series (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
"""
_MIGRATIONS: Final = {
    1: "ALTER TABLE files ADD COLUMN is_renamed INTEGER NOT NULL DEFAULT 0",
    2: "ALTER TABLE files ADD COLUMN line_ends BLOB NOT NULL DEFAULT x''",
    3: "ALTER TABLE files ADD COLUMN unfolded_bytes INTEGER NOT NULL DEFAULT 0",
}
"""What makes the next version of each older one. A newer one is set aside as damage is: to go back to an earlier
release must not stop shipping."""

_HEADER_BYTES = 100

log = logging.getLogger(__name__)


def lock(path: Path) -> int:
    """Locks a file for this process; the descriptor holds the lock until it is closed.

    Raises InUseError if another process has it, OSError where files cannot be locked.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except BlockingIOError:
        pid = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise InUseError(f"the state in {path.parent} is in use by process {pid}; stop it, or use --state") from None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def connect(
    path: Path, *, read: Callable[[sqlite3.Connection], object], clock: Callable[[], float]
) -> sqlite3.Connection:
    """The state in `path`; a new one if there is none, or none that can be used. Raises sqlite3.Error or OSError.

    `read` reads all rows, and raises TypeError or ValueError for one that is not as it was written.
    """
    try:
        return _connect(path, read)
    except sqlite3.DatabaseError as error:
        if not _is_damage(error):
            raise
        aside = _free_name(path.with_name(f"{path.name}.unusable-{int(clock())}"))
        log.error(  # noqa: TRY400 - what is wrong is said; where it was found helps nobody
            "%s cannot be used (%s); it is kept as %s. Shipping starts again from the beginning of the files (ids keep "
            "the index right), counters start again at 0 from now.",
            path,
            str(error).replace("\n", " "),
            aside,
        )
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
                failpoint("state.half_set_aside")
        return _connect(path, read)


def _free_name(path: Path) -> Path:
    names = (path.with_name(f"{path.name}.{number}") if number else path for number in itertools.count())
    return next(name for name in names if not name.exists())


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    """Whether another file would help. (A full disk, a lock or a permission are operational errors.)"""
    words = ("malformed", "not a database", "corrupt", "no such", "duplicate column", "Could not decode")
    return not isinstance(error, sqlite3.OperationalError) or any(word in str(error) for word in words)


def _connect(path: Path, read: Callable[[sqlite3.Connection], object]) -> sqlite3.Connection:
    """Raises sqlite3.DatabaseError for a file that is damaged, or of a version that this program does not know."""
    _refuse_remains(path)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=1)
    try:
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if version not in ((*_MIGRATIONS, SCHEMA_VERSION) if tables else (0,)):
            raise sqlite3.DatabaseError(f"its version is {version}, this program knows {SCHEMA_VERSION}")
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "cache_size=-512"):
            connection.execute(f"PRAGMA {pragma}")
        if not tables:
            _change(connection, _SCHEMA, "state.in_creation")
        elif version != SCHEMA_VERSION:
            _migrate(connection, version)
        _check(connection, read)
    except BaseException:
        connection.close()
        raise
    return connection


def _migrate(connection: sqlite3.Connection, version: int) -> None:
    _check_integrity(connection)
    _change(connection, ";".join(_MIGRATIONS[each] for each in range(version, SCHEMA_VERSION)), "state.in_migration")
    log.info("the state of an earlier release (schema %d) was taken over", version)


def _change(connection: sqlite3.Connection, statements: str, place: str) -> None:
    """Makes the present schema, whole or not at all."""
    connection.executescript(f"BEGIN IMMEDIATE;{statements};PRAGMA user_version={SCHEMA_VERSION}")
    failpoint(place)
    connection.execute("COMMIT")


def _refuse_remains(path: Path) -> None:
    """SQLite takes an empty file for a new one, and silently deletes the log that belonged to what it was."""
    if path.exists():
        if path.stat().st_size < _HEADER_BYTES:
            raise sqlite3.DatabaseError("it has been emptied")
    elif path.with_name(path.name + "-wal").exists():
        raise sqlite3.DatabaseError("it is gone, only its log is there")


def _check(connection: sqlite3.Connection, read: Callable[[sqlite3.Connection], object]) -> None:
    """Raises sqlite3.DatabaseError if the state cannot be read from end to end."""
    _check_integrity(connection)
    connection.execute("SELECT key, value FROM meta").fetchall()
    try:
        read(connection)
    except (TypeError, ValueError) as error:
        raise sqlite3.DatabaseError(str(error)) from error


def _check_integrity(connection: sqlite3.Connection) -> None:
    answer = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if answer != "ok":
        raise sqlite3.DatabaseError(answer)
