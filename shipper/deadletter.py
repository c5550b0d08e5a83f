"""Keeps the lines that could not become the document that they should have been: NDJSON, a file a day, synced.

Written before the batch counts as done. `dead-letter list|show|retry` read it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import shlex
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shipper.batch import DeadLetter
from shipper.durable import sync_directory, write_all
from shipper.failpoints import failpoint
from shipper.wording import number_of

log = logging.getLogger(__name__)

_Key = tuple[str, str, bool]
"""Of a record its id, its reason, and whether a reduced document is there: a retry has to know that."""

REMEMBERED_BYTES = 1 << 20


class DeadLetterWriter:
    """Appends to `DIR/YYYY-MM-DD.ndjson` (UTC day of writing). Safe to use from many threads.

    A record that an earlier process wrote lately is not written twice: after a crash the same lines come again.
    What a crash left half-written is ended by a newline; what a full disk left half-written is taken back.
    """

    def __init__(self, *, directory: Path, clock: Callable[[], float] = time.time) -> None:
        self._directory = directory
        self._clock = clock
        self._lock = threading.Lock()  # guards everything below, and the file
        self._known: set[_Key] | None = None
        self._is_failing = False
        self.taken = 0
        """Records that are durable, those that had been there before among them."""

    def write(self, records: Sequence[DeadLetter]) -> None:
        """Append the records and sync them. Raises OSError (said once) if that fails; none of them counts then."""
        if not records:
            return
        with self._lock:
            try:
                self._append(records)
            except OSError as error:
                if not self._is_failing:
                    log.error(  # noqa: TRY400  the operator needs the place, not our stack
                        "dead letters cannot be written to %r: %s; their batches wait",
                        str(self._directory),
                        error.strerror,
                    )
                self._is_failing = True
                raise
            if self._is_failing:
                log.info("dead letters can be written again")
            self._is_failing = False
            self.taken += len(records)

    def _append(self, records: Sequence[DeadLetter]) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._known is None:
            self._known = _recent(self._directory)
        new = [record for record in records if (record.id, record.reason, record.reduced) not in self._known]
        if not new:
            return
        now = datetime.fromtimestamp(self._clock(), UTC)
        text = b"".join(encoded(record, time=now) for record in new)
        with locked(self._directory):
            _append_synced(self._directory / f"{now:%Y-%m-%d}.ndjson", text)


def encoded(record: DeadLetter, *, time: datetime) -> bytes:
    """Return a record as one line of JSON. Bytes that are no UTF-8 become U+FFFD, and `encoding_failure` says so."""
    line = record.line.decode("utf-8", "replace")
    value: dict[str, Any] = {
        "_id": record.id,
        "_index": record.index,
        "source": record.source,
        "file": os.fsencode(record.file).decode("utf-8", "replace"),
        "offset": record.offset,
        "reason": record.reason,
        "server": record.server,
        "time": f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03d}Z",
        "line": line,
    }
    if record.reduced:
        value["reduced"] = True
    if record.timestamp:
        value["timestamp"] = record.timestamp
    if line.encode() != record.line:
        value["encoding_failure"] = True
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"


def letters_text(count: int, state: str) -> str:
    """What to tell of dead letters that a run has left, and where to look at them."""
    return f"{number_of(count, 'dead letter')}; to see why: shipper dead-letter list --state {shlex.quote(state)}"


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keeps `dead-letter retry` from replacing a file just while something is appended to it. Held for moments only.

    Raises OSError.
    """
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _append_synced(path: Path, text: bytes) -> None:
    is_new = not path.exists()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            text = b"\n" + text
        try:
            failpoint("deadletter.before_write")
            write_all(descriptor, text)
            failpoint("deadletter.after_write")
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, size)
            raise
    finally:
        os.close(descriptor)
    if is_new:
        sync_directory(path.parent)
    failpoint("deadletter.after_sync")


def _recent(directory: Path) -> set[_Key]:
    """The keys of the last records of the last two days' files; what cannot be read is not known."""
    known: set[_Key] = set()
    for path in sorted(directory.glob("[0-9]*.ndjson"))[-2:]:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - REMEMBERED_BYTES, 0))
            lines = file.read().split(b"\n")
        for line in lines:
            try:
                record = json.loads(line)
                known.add((record["_id"], record["reason"], record.get("reduced", False)))
            except (ValueError, KeyError, TypeError, AttributeError):
                continue
    return known
