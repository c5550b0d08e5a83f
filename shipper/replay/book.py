"""The state of one replay, in a directory of its own: what it was asked for, and the record of each file.

One process at a time. Loses at most the last second: what is sent again then is there already.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from shipper.durable import make_private, sync_directory, write_all
from shipper.errors import InUseError, StateError
from shipper.replay.records import FileRecord

COMMIT_SECONDS = 1.0
LEDGER = "ledger.json"
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE file (number INTEGER PRIMARY KEY, record BLOB NOT NULL);
"""
_VERSION = 1


class Bookkeeper:
    """The open book; `close` it."""

    def __init__(self, directory: Path, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Raises InUseError if another process replays the same, and StateError."""
        self.directory = directory
        self._monotonic = monotonic
        self._changed: dict[int, FileRecord] = {}
        self._committed_at = monotonic()
        self.records: dict[int, FileRecord] = {}
        """Of this run, by number."""
        try:
            for one in (directory.parent.parent, directory.parent, directory):  # `mode` is of the last alone
                one.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.lock = _locked(directory / "lock")
        except OSError as error:
            raise StateError(f"cannot use the state directory {str(directory)!r}: {error.strerror}") from error
        try:
            self._connection = _connected(directory / "replay.db")
        except (sqlite3.Error, OSError) as error:
            os.close(self.lock)
            raise StateError(
                f"cannot use {str(directory / 'replay.db')!r}: {error}; delete it to begin anew"
            ) from error

    def close(self) -> None:
        self._connection.close()
        os.close(self.lock)

    def resumed(self) -> list[FileRecord]:
        """What an earlier run that did not finish left; nothing if there was none."""
        rows = self._connection.execute("SELECT record FROM file").fetchall()
        return [msgspec.json.decode(row, type=FileRecord) for (row,) in rows]

    def meta(self, key: str, default: str) -> str:
        """A value that was noted; `default` is noted if there is none. Raises StateError."""
        found = self._connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        if found is not None:
            return str(found[0])
        self._run("INSERT INTO meta VALUES (?, ?)", [(key, default)])
        return default

    def put(self, number: int, record: FileRecord) -> None:
        """Takes a record; the next commit makes it durable."""
        self.records[number] = record
        self._changed[number] = record

    def commit_if_due(self) -> None:
        """At most once a second. Raises StateError."""
        if self._monotonic() >= self._committed_at + COMMIT_SECONDS:
            self.commit()

    def commit(self) -> None:
        """Raises StateError."""
        rows = [(number, msgspec.json.encode(record)) for number, record in self._changed.items()]
        self._run("REPLACE INTO file VALUES (?, ?)", rows)
        self._changed.clear()
        self._committed_at = self._monotonic()

    def begin(self, records: dict[int, FileRecord]) -> None:
        """Only these are kept, under the numbers of this run. Raises StateError."""
        self._run("DELETE FROM file", [()])
        for number, record in records.items():
            self.put(number, record)
        self.commit()

    def finish(self, ledger: bytes, *, is_finished: bool) -> None:
        """Writes the ledger; what is finished begins anew the next time. Raises StateError."""
        self.commit()
        path = self.directory / LEDGER
        try:
            _write(path, ledger)
        except OSError as error:
            raise StateError(f"cannot write {str(path)!r}: {error.strerror}") from error
        if is_finished:
            self._run("DELETE FROM file", [()])
            self._run("DELETE FROM meta", [()])

    def _run(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        try:
            with self._connection:
                self._connection.executemany(statement, rows)
        except sqlite3.Error as error:
            raise StateError(f"cannot write {str(self.directory / 'replay.db')!r}: {error}") from error


def _connected(path: Path) -> sqlite3.Connection:
    make_private(path)
    connection = sqlite3.connect(path, timeout=1)
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL"):
            connection.execute(f"PRAGMA {pragma}")
        if not version:
            connection.executescript(f"{_SCHEMA}PRAGMA user_version={_VERSION};")
        elif version != _VERSION:
            raise sqlite3.DatabaseError(f"its version is {version}, this program knows {_VERSION}")
    except BaseException:
        connection.close()
        raise
    return connection


def _locked(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise InUseError(f"process {pid} does the same replay just now ({str(path.parent)!r})") from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def _write(path: Path, text: bytes) -> None:
    """Replaces a file, whole or not at all. Raises OSError."""
    fresh = path.with_name(f"{path.name}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        write_all(descriptor, text)
        os.fsync(descriptor)
    except OSError:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise
    finally:
        os.close(descriptor)
    fresh.replace(path)
    sync_directory(path.parent)
