"""Takes records out of dead-letter files, beside a daemon that appends to them.

`resend` decides which; `letters` reads them, `deadletter` appends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import msgspec

from shipper.deadletter import locked
from shipper.durable import sync_directory
from shipper.errors import InUseError, StateError
from shipper.failpoints import failpoint
from shipper.letters import RETRIED, Letter, records

_COPY_BYTES = 1 << 20


def check_owner(directory: Path) -> None:
    """Raises StateError where files that we make could not be written by the daemon afterwards."""
    owner = directory.stat().st_uid
    if os.geteuid() != owner:
        name = _name_of(owner)
        raise StateError(
            f"{str(directory)!r} belongs to user {name}: run this as that user (sudo -u {name} ...), "
            "or the daemon could not write there any more"
        )


def _name_of(uid: int) -> str:
    import pwd  # only for this message

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


@contextlib.contextmanager
def one_retry(directory: Path) -> Iterator[None]:
    """Refuses a second one (InUseError): it would send the same records. Raises StateError."""
    try:
        descriptor = os.open(directory / "retry.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StateError(f"cannot write in {str(directory)!r}: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise InUseError(f"another retry is at work on {str(directory)!r}") from None
    finally:
        os.close(descriptor)


class Rewriting:
    """Takes records out of one day file, beside a daemon that appends to it.

    What is taken out stands in `retried-DAY.ndjson`, synced, before the day file is replaced: a crash in between leaves
    it in both, and the next retry sends it once more, which is harmless. Without `finish` nothing changes but that.
    """

    def __init__(self, path: Path, *, today: str) -> None:
        self.path = path
        self._retried = path.with_name(f"{RETRIED}{today}.ndjson")
        self._fresh = path.with_suffix(".retry")
        self._has_changed = False
        self._passed = 0

    def __enter__(self) -> Self:
        with locked(self.path.parent):  # so that it ends with a whole record
            self.file = self.path.open("rb")
            self.until = os.fstat(self.file.fileno()).st_size
        self._kept = os.fdopen(_private(self._fresh, os.O_RDWR | os.O_TRUNC), "w+b")
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self._kept.close()
        self._fresh.unlink(missing_ok=True)

    def records(self) -> Iterator[tuple[bytes, Letter | None]]:
        """The records that were there when the file was opened."""
        return records(self.file, until=self.until)

    def keep(self, raw: bytes) -> None:
        """Leave a record where it is. Raises OSError."""
        self._keep(raw, raw)

    def change(self, raw: bytes, **changes: Any) -> None:
        """Leave a record where it is, with other values. Raises OSError."""
        self._keep(raw, with_changes(raw, changes))
        self._has_changed = True

    def _keep(self, raw: bytes, fresh: bytes) -> None:
        if fresh.strip():
            self._kept.write(fresh.rstrip(b"\n") + b"\n")
        self._passed += len(raw)

    def take_out(self, raws: Iterable[tuple[bytes, Mapping[str, Any]]]) -> None:
        """Move records to the file of those that were retried, each with some values more. Raises OSError."""
        found = list(raws)
        if found:
            failpoint("retry.delivered")
            with os.fdopen(_private(self._retried, os.O_WRONLY | os.O_APPEND), "ab") as file:
                file.write(b"".join(with_changes(raw, changes) for raw, changes in found))
                file.flush()
                os.fsync(file.fileno())
            failpoint("retry.taken_out")
            self._passed += sum(len(raw) for raw, _ in found)
            self._has_changed = True

    def finish(self) -> None:
        """Replace the day file by what is kept and what was appended meanwhile; it goes if nothing is left.

        It stays as it was if not every record was kept or taken out (an error came between). Raises OSError.
        """
        if not self._has_changed or self._passed != self.until:
            return
        self._kept.flush()
        os.fsync(self._kept.fileno())
        with locked(self.path.parent):
            self.file.seek(self.until)
            while more := self.file.read(_COPY_BYTES):
                self._kept.write(more)
            self._kept.flush()
            os.fsync(self._kept.fileno())
            failpoint("retry.rewritten")
            if self._kept.tell():
                self._fresh.replace(self.path)
            else:
                self.path.unlink()
            failpoint("retry.replaced")
            sync_directory(self.path.parent)


def with_changes(raw: bytes, changes: Mapping[str, Any]) -> bytes:
    """A record's line with other values, and all else as it is."""
    record = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    record.update({name: msgspec.Raw(msgspec.json.encode(value)) for name, value in changes.items()})
    return msgspec.json.encode(record) + b"\n"


def day_of(now: float) -> str:
    """The UTC day as files are named."""
    return f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d}"


def _private(path: Path, flags: int) -> int:
    return os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, 0o600)
