"""What a local output has: the directory's lock, the day files' committed lengths, and which offsets are in them.

One SQLite file in `DIR/.shipper/`, changed only in whole transactions. `dayfiles` writes the bytes before the commit
that covers them, `local` decides when to commit, `recovery` makes a lost ledger anew from the day files.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import sqlite3
import threading
from array import array
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from shipper.batch import Mark
from shipper.durable import sync_directory
from shipper.errors import InUseError, OutputError
from shipper.failpoints import failpoint
from shipper.identity import pack_marks, unpack_marks
from shipper.local.coverage import Coverage, Ranges, Record

SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE file (name TEXT PRIMARY KEY, index_name TEXT NOT NULL, length INTEGER NOT NULL, marks BLOB NOT NULL,
                   doomed INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE content (key INTEGER PRIMARY KEY, identity TEXT NOT NULL, ranges BLOB NOT NULL, marks BLOB NOT NULL);
CREATE INDEX content_identity ON content (identity);
CREATE TABLE known_id (identity TEXT NOT NULL, file TEXT NOT NULL, hashes BLOB NOT NULL, PRIMARY KEY (identity, file));
"""
_CORRUPT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_RANGES = msgspec.json.Decoder(Ranges)


class LostError(Exception):
    """Another ledger stands where ours was: this process no longer owns the directory and has to end."""


class FileRow(NamedTuple):
    """A day file as the ledger knows it: everything before `length` is committed, nothing behind it is."""

    name: str
    index_name: str
    length: int = 0
    marks: tuple[Mark, ...] = ()
    """One early mark and the one at `length`: is the file of this name still the one that was written?"""
    is_doomed: bool = False
    """True from the decision to delete it until it is gone."""


class Recovered(NamedTuple):
    """What a day file was found to hold when there was no ledger."""

    row: FileRow
    ids: Mapping[str, array[int]]
    """By identity, the ascending hashes of its ids."""
    is_packed: bool = False
    """Somebody has compressed it, and nothing is written into it."""


class Ledger:
    """Opened once, closed once. `contents` is asked by the pipeline's thread, everything else by the writer's.

    Only a commit changes it (WAL, synchronous=FULL), so a crash finds the state before or after one. Holding it open
    is the directory's lock: flock on the file that names the pid, and SQLite's own should that file be deleted.
    """

    def __init__(self, *, directory: Path) -> None:
        self.directory = directory
        self.path = directory / "ledger.db"
        self.pid_path = directory / "ledger.pid"
        self.is_lost = False
        """After `open`: a ledger was here and is missing or corrupt; `create` must be given what the day files say."""
        self.is_new = False
        """After `open`: no ledger was ever here, and `create` must be called."""
        self.set_aside: Path | None = None
        self._lock = threading.Lock()
        self._pid_file = -1
        self._is_closed = False
        self._keys = itertools.count(1)
        self._identities_by_id: frozenset[str] = frozenset()

    def open(self) -> None:
        """Takes the lock and opens the file. Raises InUseError, OutputError, OSError or sqlite3.OperationalError."""
        self.directory.mkdir(mode=0o700, exist_ok=True)
        self._pid_file, had_ledger = _locked(self.pid_path)
        try:
            self._open(had_ledger=had_ledger)
        except BaseException:
            os.close(self._pid_file)
            self._pid_file = -1
            raise

    def _open(self, *, had_ledger: bool) -> None:
        try:
            self._connection = _connected(self.path)
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _CORRUPT:
                raise
            self.set_aside = _set_aside(self.path)
            self._connection = _connected(self.path)
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version not in (0, SCHEMA_VERSION):
            self._connection.close()
            raise OutputError(f"{str(self.path)!r} was written by a newer version (schema {version}): use that one")
        self.is_lost = self.set_aside is not None or (version == 0 and had_ledger)
        self.is_new = version == 0 and not self.is_lost
        if version:
            self._load()

    def create(self, found: Iterable[Recovered]) -> None:
        """Makes the tables and fills them with what day files were found to hold, in one transaction.

        Day files are ours if a ledger was lost; of others only the ids are known, and they are never written to.
        """
        with self._lock, _transaction(self._connection) as run:
            for statement in _SCHEMA.split(";")[:-1]:
                run.execute(statement)
            for row, ids, is_packed in found:
                if self.is_lost and not is_packed:
                    _put_file(run, row)
                run.executemany(
                    "INSERT INTO known_id VALUES (?, ?, ?)",
                    ((identity, row.name, hashes.tobytes()) for identity, hashes in ids.items()),
                )
            run.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            failpoint("ledger.in_creation")
        self.is_lost = self.is_new = False
        self._load()

    def _load(self) -> None:
        (last_key,) = self._connection.execute("SELECT coalesce(max(key), 0) FROM content").fetchone()
        self._keys = itertools.count(last_key + 1)
        found = self._connection.execute("SELECT DISTINCT identity FROM known_id").fetchall()
        self._identities_by_id = frozenset(identity for (identity,) in found)
        self._take_place()

    def _take_place(self) -> None:
        self._stat = _place(self.path)
        os.ftruncate(self._pid_file, 0)
        os.pwrite(self._pid_file, b"%d\n" % os.getpid(), 0)
        os.fsync(self._pid_file)
        sync_directory(self.directory)
        sync_directory(self.directory.parent)

    def is_in_place(self) -> bool:
        """True if the path still leads to the open file, False if nothing is there. Raises LostError, OSError."""
        try:
            found = _place(self.path)
        except FileNotFoundError:
            return False
        if found != self._stat:
            raise LostError(f"{str(self.path)!r} was replaced by another ledger")
        return True

    def put_back(self) -> None:
        """Writes the open ledger, whose file was removed, to its path again. Raises as `open` does."""
        self.directory.mkdir(mode=0o700, exist_ok=True)
        pid_file = self._pid_file if _leads_to(self.pid_path, self._pid_file) else _locked(self.pid_path)[0]
        with self._lock:
            fresh = _connected(self.path)
            self._connection.backup(fresh)
            failpoint("ledger.put_back")
            self._connection.close()
            self._connection = fresh
        if pid_file != self._pid_file:
            os.close(self._pid_file)
            self._pid_file = pid_file
        self._take_place()

    def files(self) -> list[FileRow]:
        rows = self._connection.execute(
            "SELECT name, index_name, length, marks, doomed FROM file ORDER BY name"
        ).fetchall()
        return [
            FileRow(name, index_name, length, tuple(unpack_marks(marks)), bool(doomed))
            for name, index_name, length, marks, doomed in rows
        ]

    def contents(self, identity: str) -> list[Record]:
        """The committed contents of an identity, oldest first; none once it is closed, and nothing is written then."""
        question = "SELECT key, ranges, marks FROM content WHERE identity = ? ORDER BY key"
        with self._lock:
            if self._is_closed:
                return []
            rows = self._connection.execute(question, (identity,)).fetchall()
        return [_record(key, identity, ranges, marks) for key, ranges, marks in rows]

    def new_record(self, identity: str) -> Record:
        """A content that is not in the ledger before it is committed."""
        return Record(key=next(self._keys), identity=identity, coverage=Coverage(), committed=None)

    def known_ids(self, identity: str) -> list[array[int]]:
        """Hashes of the ids that day files were found to have when a lost ledger was made anew; each array ascends."""
        if identity not in self._identities_by_id:
            return []
        with self._lock:
            rows = self._connection.execute("SELECT hashes FROM known_id WHERE identity = ?", (identity,)).fetchall()
        return [array("Q", blob) for (blob,) in rows]

    def to_learn(self) -> set[str]:
        """Identities of which day files may have more ids than is known."""
        with self._lock:
            rows = self._connection.execute("SELECT identity FROM known_id WHERE file = ''").fetchall()
        return {identity for (identity,) in rows}

    def learn(self, identity: str, ids: Mapping[str, array[int]]) -> None:
        """Keeps the hashes of an identity's ids, by day file. Raises sqlite3.OperationalError."""
        with self._lock, _transaction(self._connection) as run:
            run.execute("DELETE FROM known_id WHERE identity = ? AND file = ''", (identity,))
            run.executemany(
                "INSERT OR REPLACE INTO known_id VALUES (?, ?, ?)",
                ((identity, name, hashes.tobytes()) for name, hashes in ids.items()),
            )
        self._identities_by_id |= {identity}

    def commit(
        self,
        *,
        files: Iterable[FileRow] = (),
        gone: Iterable[str] = (),
        contents: Iterable[tuple[Record, Coverage]] = (),
        to_learn: Iterable[str] = (),
    ) -> None:
        """Makes all of it durable, or nothing. Raises sqlite3.OperationalError where trying again may help."""
        with self._lock, _transaction(self._connection) as run:
            run.executemany("DELETE FROM file WHERE name = ?", ((name,) for name in gone))
            run.executemany("INSERT OR REPLACE INTO known_id VALUES (?, '', x'')", ((each,) for each in to_learn))
            for row in files:
                _put_file(run, row)
            run.executemany(
                "INSERT OR REPLACE INTO content VALUES (?, ?, ?, ?)",
                (
                    (record.key, record.identity, msgspec.json.encode(coverage.ranges), pack_marks(coverage.marks))
                    for record, coverage in contents
                ),
            )

    def close(self) -> None:
        """Lets go of the directory; may be repeated."""
        if self._pid_file >= 0:
            with self._lock:
                self._is_closed = True
                self._connection.close()
            os.close(self._pid_file)
            self._pid_file = -1


def _record(key: int, identity: str, ranges: bytes, marks: bytes) -> Record:
    coverage = Coverage(_RANGES.decode(ranges), tuple(unpack_marks(marks)))
    return Record(key=key, identity=identity, coverage=coverage, committed=coverage)


def _put_file(run: sqlite3.Connection, row: FileRow) -> None:
    values = (row.name, row.index_name, row.length, pack_marks(row.marks), row.is_doomed)
    run.execute("INSERT OR REPLACE INTO file VALUES (?, ?, ?, ?, ?)", values)


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """BEGIN … COMMIT; whatever goes wrong, COMMIT itself too, leaves no transaction open."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _connected(path: Path) -> sqlite3.Connection:
    """An open, sound ledger file with the exclusive lock held. Raises InUseError, OSError, sqlite3.DatabaseError."""
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    # timeout 0: who holds the lock holds it for good; two threads, but never at once
    connection = sqlite3.connect(path, isolation_level=None, timeout=0, check_same_thread=False)
    try:
        _take(connection)
    except sqlite3.OperationalError as error:
        connection.close()
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
            raise InUseError(f"{str(path)!r} is in use by another process: a directory has one writer") from error
        raise
    except BaseException:
        connection.close()
        raise
    return connection


def _take(connection: sqlite3.Connection) -> None:
    for pragma in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=FULL", "journal_size_limit=4194304"):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    with _transaction(connection):
        (answer,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if answer != "ok":
        damage = sqlite3.DatabaseError(str(answer))
        damage.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise damage


def _locked(path: Path) -> tuple[int, bool]:
    """The descriptor that holds the lock, and whether an earlier owner has left its pid (then there was a ledger)."""
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    pid = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        owner = f"process {pid}" if pid.isdigit() else "another process"
        raise InUseError(f"{str(path.parent.parent)!r} is in use by {owner}: a directory has one writer") from error
    return descriptor, bool(pid)


def _set_aside(path: Path) -> Path:
    """Renames a ledger that cannot be read, with its journal; returns the new name."""
    stamp = datetime.now(tz=UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    aside = path.with_name(f"{path.name}.corrupt-{stamp}")
    for suffix in ("", "-wal"):
        old = path.with_name(path.name + suffix)
        if old.exists():
            old.rename(aside.with_name(aside.name + suffix))
            failpoint("ledger.half_set_aside")
    sync_directory(path.parent)
    failpoint("ledger.set_aside")
    return aside


def _leads_to(path: Path, descriptor: int) -> bool:
    found = os.fstat(descriptor)
    try:
        return _place(path) == (found.st_dev, found.st_ino)
    except FileNotFoundError:
        return False


def _place(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino
