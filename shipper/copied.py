"""A SQLite file of a daemon, read without touching it: the file and its journal are copied, the copy is opened.

Opening the file itself, even with `mode=ro`, would take SQLite's lock, at which a daemon that starts just then fails,
and leave a `-shm` file beside it. A copy also works where nothing may be written.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

from shipper.errors import StateError

_ATTEMPTS = 20


@contextlib.contextmanager
def copied(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that reads what was committed in `path`, its journal (`-wal`) included.

    Raises FileNotFoundError if there is no such file, and StateError if it cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="shipper-") as scratch:
        copy = Path(scratch) / path.name
        try:
            _copy_at_rest(path, copy)
            connection = sqlite3.connect(f"{copy.as_uri()}?mode=ro", uri=True)
        except FileNotFoundError:
            raise
        except (OSError, sqlite3.Error) as error:
            raise StateError(f"cannot read {str(path)!r}: {getattr(error, 'strerror', None) or error}") from None
        try:
            yield connection
        except sqlite3.Error as error:
            raise StateError(f"cannot read {str(path)!r}: {error}") from None
        finally:
            connection.close()


def _copy_at_rest(path: Path, copy: Path) -> None:
    """Copies both files as they stood at one moment: again, while somebody writes to them. Raises OSError."""
    for _ in range(_ATTEMPTS):
        before = _states(path)
        for suffix in ("", "-wal"):
            copy.with_name(copy.name + suffix).unlink(missing_ok=True)
            with contextlib.suppress(FileNotFoundError) if suffix else contextlib.nullcontext():
                shutil.copyfile(path.with_name(path.name + suffix), copy.with_name(copy.name + suffix))
        if before == _states(path):
            return
    raise OSError(f"{str(path)!r} changes all the time")


def _states(path: Path) -> list[tuple[int, int, int] | None]:
    return [_state(path.with_name(path.name + suffix)) for suffix in ("", "-wal")]


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
