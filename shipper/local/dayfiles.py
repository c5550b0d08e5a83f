"""The NDJSON files of a local output: which file an index goes to, what may be cut from it, and when it is deleted.

Files that the ledger does not know are never opened for writing: an index whose name such a file has taken goes to a
numbered sibling (`logs-2024.01.15-2.ndjson`). `local` decides when to write and commits what `write` returns.
"""

from __future__ import annotations

import errno
import itertools
import logging
import os
import stat
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from shipper.errors import OutputError
from shipper.failpoints import failpoint
from shipper.local.ledger import FileRow, Ledger
from shipper.local.retention import Aged, day_of, expired
from shipper.local.standing import Standing, end_of_last_line, marks_of, standing_of

log = logging.getLogger(__name__)

SUFFIX = ".ndjson"
INDEX_BYTES = 240
"""Longest index name: with suffix and number it has to fit into a file name of 255 bytes."""
_PARTS_A_WRITE = 512
_NO_FILE = (errno.ELOOP, errno.EISDIR, errno.ENXIO)
_REFUSED = (errno.EACCES, errno.EPERM)

Part = bytes | memoryview


def index_problem(index_name: str) -> str:
    """Why an index name cannot be a file's name, '' if it can."""
    if not index_name:
        return "is empty"
    if index_name[0] in ".-_+":
        return "must not begin with '.', '-', '_' or '+'"
    if any(char in '/\\"' or not char.isprintable() for char in index_name):
        return "must not hold slashes, quotes or control characters"
    if len(index_name.encode(errors="surrogatepass")) > INDEX_BYTES:
        return f"is longer than {INDEX_BYTES} bytes"
    return ""


def check_pattern(pattern: str) -> None:
    """Raises OutputError if the pattern of index names does not give file names."""
    try:
        example = datetime(2024, 12, 31, tzinfo=UTC).strftime(pattern.replace("\0", "\n"))  # strftime would end there
    except ValueError as error:
        raise OutputError(f"index pattern {pattern!r}: {error}") from error
    if problem := index_problem(example):
        raise OutputError(f"index pattern {pattern!r}: the name {problem}, as in {example!r}")


class DayFiles:
    """Used by one thread after `start`. Every write begins with what stands on disk, so what follows a failed write is
    what follows a crash: bytes behind the committed length are cut, then written again.

    Loses committed lines only if somebody else takes them away (said at ERROR); repeats none.
    """

    def __init__(self, *, directory: Path, ledger: Ledger, pattern: str) -> None:
        self._directory = directory
        self._ledger = ledger
        self._pattern = pattern
        self._rows: dict[str, FileRow] = {}
        self._gone: set[str] = set()
        """Names that the ledger still has to forget."""
        self._unfinished: set[str] = set()
        """Names to which bytes were appended that are not committed."""
        self._passed_by: set[str] = set()
        """Names whose files may not be written at the moment; said once."""
        self._folder = -1

    def start(self) -> None:
        """Opens the directory and cuts uncommitted tails. Raises OSError."""
        self.reopen()
        self._rows = {row.name: row for row in self._ledger.files()}
        for row in self._living():
            descriptor = self._open_known(row)
            if descriptor is not None:
                os.close(descriptor)

    def reopen(self) -> None:
        """Works in the directory that is now at the path; by descriptor, so that a rename meanwhile changes nothing."""
        folder = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.close()
        self._folder = folder

    def close(self) -> None:
        if self._folder >= 0:
            os.close(self._folder)
            self._folder = -1

    @property
    def size_bytes(self) -> int:
        """Committed bytes of all day files."""
        return sum(row.length for row in self._rows.values())

    def write(self, index_name: str, parts: Sequence[Part]) -> FileRow:
        """Appends to the file of an index, syncs it, returns its row to be committed. Raises OSError, sqlite3.Error."""
        row, descriptor = self._file_of(index_name)
        try:
            self._unfinished.add(row.name)
            length = row.length + _write_all(descriptor, parts)
            failpoint("local.after_write")
            os.fsync(descriptor)
            return row._replace(length=length, marks=marks_of(descriptor, length))
        finally:
            os.close(descriptor)

    def gone(self) -> list[str]:
        """Names whose rows have to go in the next commit."""
        return list(self._gone)

    def committed(self, rows: Sequence[FileRow], gone: Sequence[str]) -> None:
        """Takes note that a commit holds these rows."""
        for row in rows:
            self._rows[row.name] = row
            self._unfinished.discard(row.name)
        self._gone.difference_update(gone)

    # Which file -------------------------------------------------------------------------------------------

    def _file_of(self, index_name: str) -> tuple[FileRow, int]:
        """The row and open descriptor of the first name that is ours, or free and made ours."""
        for name in _names(index_name):
            row = self._rows.get(name)
            if row is not None and row.is_doomed:
                continue
            if row is not None and (descriptor := self._open_known(row)) is not None:
                return self._rows[name], descriptor
            if name not in self._rows and not self._exists(name) and (created := self._create(name, index_name)):
                return created
        raise AssertionError("names do not end")

    def _open_known(self, row: FileRow) -> int | None:
        """The descriptor of a file of ours, cut to its committed length.

        None if it may not be written, and, then without a row from now on, if it is gone or another.
        """
        try:
            descriptor = self._open(row.name, os.O_RDWR | os.O_APPEND | os.O_NONBLOCK)
        except FileNotFoundError:
            self._miss(row)
            return None
        except OSError as error:
            if error.errno in _REFUSED:
                self._pass_by(row, error)
            elif error.errno in _NO_FILE:
                self._disown(row)
            else:
                raise
            return None
        try:
            if self._settle(row, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None

    def _settle(self, row: FileRow, descriptor: int) -> bool:
        """True if the file is ours; then it ends where its row says (which is corrected if bytes are gone)."""
        found = os.fstat(descriptor)
        size = found.st_size
        if not stat.S_ISREG(found.st_mode) or (verdict := standing_of(row, descriptor, size)) is Standing.OTHER:
            self._disown(row)
            return False
        if verdict is Standing.LONGER:
            self._cut(row, descriptor, size)
        elif verdict is Standing.SHORTER:
            self._accept_loss(row, descriptor, size)
        return True

    def _cut(self, row: FileRow, descriptor: int, size: int) -> None:
        if row.name not in self._unfinished:
            log.warning("%r: cut %d bytes behind the last commit", self._path(row.name), size - row.length)
        os.ftruncate(descriptor, row.length)

    def _accept_loss(self, row: FileRow, descriptor: int, size: int) -> None:
        length = end_of_last_line(descriptor, size)
        os.ftruncate(descriptor, length)
        self._rows[row.name] = row._replace(length=length, marks=marks_of(descriptor, length))
        log.error(
            "%r was shortened by somebody else: %d bytes that had been delivered are gone; going on at its end",
            self._path(row.name),
            row.length - length,
        )

    def _pass_by(self, row: FileRow, error: OSError) -> None:
        if row.name not in self._passed_by:
            self._passed_by.add(row.name)
            log.warning("%r: %s; a numbered file takes its lines", self._path(row.name), error.strerror)

    def _miss(self, row: FileRow) -> None:
        self._forget(row)
        if row.length and not row.is_doomed:
            log.warning(
                "%r was removed by somebody else, with %d bytes; its lines are not written again",
                self._path(row.name),
                row.length,
            )

    def _disown(self, row: FileRow) -> None:
        self._forget(row)
        log.error(
            "%r is no longer the file that was written (%d bytes are gone); it is left alone, a numbered one follows",
            self._path(row.name),
            row.length,
        )

    def _forget(self, row: FileRow) -> None:
        self._rows.pop(row.name, None)
        self._unfinished.discard(row.name)
        self._gone.add(row.name)

    def _create(self, name: str, index_name: str) -> tuple[FileRow, int] | None:
        """A new file, known to the ledger before it exists: after a crash it must not look like somebody else's."""
        if problem := index_problem(index_name):
            raise OutputError(f"index name {index_name!r} {problem}")
        row = FileRow(name, index_name)
        self._ledger.commit(files=[row], gone=self.gone())
        self._gone.clear()
        failpoint("local.created")
        try:
            descriptor = self._open(name, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL)
        except FileExistsError:
            self._gone.add(name)
            return None
        self._rows[name] = row
        os.fsync(self._folder)
        return row, descriptor

    def _exists(self, name: str) -> bool:
        try:
            os.stat(name, dir_fd=self._folder, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def _open(self, name: str, flags: int) -> int:
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666, dir_fd=self._folder)

    def _path(self, name: str) -> str:
        return str(self._directory / name)

    # Retention --------------------------------------------------------------------------------------------

    def expire(self, *, now: float, keep_days: int, max_bytes: int) -> None:
        """Deletes what is too old or too much: decided in one commit, forgotten in another once it is gone.

        A crash between the two leaves a doomed row, and the next call ends what it says. Raises OSError, sqlite3.Error.
        """
        names = expired(self._aged(), now=now, keep_days=keep_days, max_bytes=max_bytes)
        doomed = [self._rows[name]._replace(is_doomed=True) for name in names]
        if doomed:
            self._ledger.commit(files=doomed)
            self.committed(doomed, ())
            failpoint("local.doomed")
        for row in [row for row in self._rows.values() if row.is_doomed]:
            self._delete(row)
        if gone := self.gone():
            os.fsync(self._folder)
            failpoint("local.deleted")
            self._ledger.commit(gone=gone)
            self.committed((), gone)

    def _aged(self) -> list[Aged]:
        aged = []
        for row in self._living():
            try:
                found = os.stat(row.name, dir_fd=self._folder, follow_symlinks=False)
            except FileNotFoundError:
                self._miss(row)
                continue
            day = day_of(row.index_name, pattern=self._pattern, last_write=found.st_mtime)
            aged.append(Aged(day, found.st_mtime, row.name, row.length))
        return aged

    def _living(self) -> list[FileRow]:
        return [row for row in self._rows.values() if not row.is_doomed]

    def _delete(self, row: FileRow) -> None:
        descriptor = self._open_known(row)
        if descriptor is None:
            return
        os.close(descriptor)
        os.unlink(row.name, dir_fd=self._folder)
        self._forget(row)
        log.info("%r deleted (keep_days, max_bytes)", self._path(row.name))


def _names(index_name: str) -> Iterator[str]:
    yield index_name + SUFFIX
    for number in itertools.count(2):
        yield f"{index_name}-{number}{SUFFIX}"


def _write_all(descriptor: int, parts: Sequence[Part]) -> int:
    """Appends all parts with few calls; returns the number of bytes. Raises OSError, perhaps after some of them."""
    written = 0
    for first in range(0, len(parts), _PARTS_A_WRITE):
        waiting: Sequence[Part] = parts[first : first + _PARTS_A_WRITE]
        while waiting:
            count = os.writev(descriptor, waiting)
            written += count
            waiting = _rest(waiting, count)
    return written


def _rest(parts: Sequence[Part], written: int) -> Sequence[Part]:
    """What is still to be written of `parts` after so many bytes."""
    for at, part in enumerate(parts):
        if written < len(part):
            return [memoryview(part)[written:], *parts[at + 1 :]]
        written -= len(part)
    return []
