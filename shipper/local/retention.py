"""Which day files are to be deleted; pure. `dayfiles` gathers the facts and deletes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

_DAY_SECONDS = 86400


class Aged(NamedTuple):
    """What retention has to know of a day file; in this order the oldest comes first."""

    day: str
    last_write: float
    """Wall clock, seconds."""
    name: str
    length: int


def expired(files: Iterable[Aged], *, now: float, keep_days: int, max_bytes: int) -> list[str]:
    """Names of the files to delete: those last written too long ago, then the oldest days beyond the size.

    The newest stays, whatever its size: it is the one that is being written. 0 means no limit.
    """
    deadline = now - keep_days * _DAY_SECONDS if keep_days else float("-inf")
    too_old = [file for file in files if file.last_write < deadline]
    kept = sorted(file for file in files if file.last_write >= deadline)
    too_many = []
    while max_bytes and len(kept) > 1 and sum(file.length for file in kept) > max_bytes:
        too_many.append(kept.pop(0))
    return [file.name for file in (*too_old, *too_many)]


def day_of(index_name: str, *, pattern: str, last_write: float) -> str:
    """A day that sorts, from the index name; that of the last write if the name holds none (`undated`)."""
    try:
        day = datetime.strptime(index_name, pattern).replace(tzinfo=UTC)
    except ValueError:
        day = datetime.fromtimestamp(last_write, tz=UTC)
    return day.isoformat()
