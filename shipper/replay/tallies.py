"""What history has counted so far: by series and step of the grid, on disk, with the places up to which it has read.

One SQLite file. Increases and places are committed together, so that nothing is counted twice, whenever it ended.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from shipper.batch import Mark
from shipper.durable import make_private
from shipper.errors import StateError
from shipper.failpoints import failpoint
from shipper.identity import pack_marks, unpack_marks
from shipper.replay.records import FileRecord

_SCHEMA = """
CREATE TABLE series (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, zero BLOB NOT NULL);
CREATE TABLE increase (series INTEGER NOT NULL, step INTEGER NOT NULL, turn INTEGER NOT NULL, value BLOB NOT NULL,
                       PRIMARY KEY (series, step, turn)) WITHOUT ROWID;
CREATE TABLE content (number INTEGER PRIMARY KEY, record BLOB NOT NULL, marks BLOB NOT NULL);
CREATE TABLE fact (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""
_VERSION = 1

Values = tuple[float | int, ...]
"""An increase: one number, or a histogram's buckets and sum."""


class Content(msgspec.Struct):
    """A content as far as it is counted."""

    record: FileRecord
    marks: Sequence[Mark]


class Tallies:
    """Used by one thread. Everything raises StateError where the file cannot be written or read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._connection = _connected(path)
            (turn,) = self._connection.execute("SELECT coalesce(max(turn), 0) FROM increase").fetchone()
            self._ids = {bytes(key): one for one, key in self._connection.execute("SELECT id, key FROM series")}
            self.facts: dict[str, int] = dict(self._connection.execute("SELECT name, value FROM fact"))
        except (sqlite3.Error, OSError) as error:
            raise self._unusable(error) from error
        self._turn = int(turn)

    def close(self) -> None:
        self._connection.close()

    def delete(self) -> None:
        """What was counted is written: the next time it begins anew."""
        self.close()
        for suffix in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    def rows(self) -> list[tuple[bytes, bytes]]:
        """All series as `Exporter.restore` wants them, at 0."""
        return [(bytes(key), bytes(zero)) for key, zero in self._all("SELECT key, zero FROM series ORDER BY id")]

    def contents(self) -> list[Content]:
        """What is counted already."""
        rows = self._all("SELECT record, marks FROM content ORDER BY number")
        return [Content(msgspec.json.decode(record, type=FileRecord), unpack_marks(marks)) for record, marks in rows]

    def commit(
        self,
        *,
        zeros: dict[bytes, bytes],
        increases: dict[tuple[bytes, int], Values],
        contents: dict[int, Content],
    ) -> None:
        """Adds increases by series (its key) and step; `zeros` has the row of each series that is new, at 0."""
        self._turn += 1
        failpoint("tallies.before_commit")
        try:
            with self._connection as connection:
                for key, zero in zeros.items():
                    if key not in self._ids:
                        self._ids[key] = len(self._ids) + 1
                        connection.execute("INSERT INTO series VALUES (?, ?, ?)", (self._ids[key], key, zero))
                connection.executemany(
                    "INSERT INTO increase VALUES (?, ?, ?, ?)",
                    (
                        (self._ids[key], step, self._turn, msgspec.json.encode(values))
                        for (key, step), values in increases.items()
                    ),
                )
                connection.executemany(
                    "REPLACE INTO content VALUES (?, ?, ?)",
                    (
                        (number, msgspec.json.encode(content.record), pack_marks(content.marks))
                        for number, content in contents.items()
                    ),
                )
                connection.executemany("REPLACE INTO fact VALUES (?, ?)", self.facts.items())
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    # Reading

    def days(self, step_ms: int, day_ms: int) -> list[int]:
        """The days that have an increase, numbered from 1970 on."""
        rows = self._all("SELECT DISTINCT step * ? / ? FROM increase ORDER BY 1", step_ms, day_ms)
        return [day for (day,) in rows]

    def first_steps(self) -> dict[int, int]:
        """The first step of each series, by its id."""
        return dict(self._all("SELECT series, min(step) FROM increase GROUP BY series"))

    def series(self) -> list[tuple[int, list[str]]]:
        """Ids and keys (the metric's name, label values) in the order of the keys."""
        found = [(one, msgspec.json.decode(key, type=list[str])) for key, one in self._ids.items()]
        return sorted(found, key=lambda pair: pair[1])

    def increases(self, series: int, first: int, last: int) -> Iterator[tuple[int, Values]]:
        """Steps and increases of one series, ascending."""
        question = "SELECT step, value FROM increase WHERE series = ? AND step BETWEEN ? AND ? ORDER BY step"
        for step, value in self._connection.execute(question, (series, first, last)):
            yield step, tuple(msgspec.json.decode(value))

    def _all(self, question: str, *values: object) -> list[Any]:
        try:
            return self._connection.execute(question, values).fetchall()
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> StateError:
        return StateError(f"cannot keep the history at {str(self.path)!r}: {error}")


def _connected(path: Path) -> sqlite3.Connection:
    make_private(path)
    connection = sqlite3.connect(path, timeout=1)
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "cache_size=-8192"):
            connection.execute(f"PRAGMA {pragma}")
        if not version:
            connection.executescript(f"{_SCHEMA}PRAGMA user_version={_VERSION};")
    except BaseException:
        connection.close()
        raise
    return connection
