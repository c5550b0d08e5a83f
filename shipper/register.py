"""What is followed: by inode and by identity, what is gone but not acknowledged, and what of it the state must keep.

Bookkeeping only; `roster` decides. Owned by the pipeline's thread, others read copies of its lists.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from typing import TypeVar

import msgspec

from shipper.contents import Key
from shipper.followed import Followed
from shipper.identity import MARK_BYTES
from shipper.state import FileRecord
from shipper.telemetry import Telemetry

log = logging.getLogger(__name__)

_Key = TypeVar("_Key", str, bytes)


class Changed(msgspec.Struct):
    """What is to be made durable."""

    records: list[FileRecord] = msgspec.field(default_factory=list)
    forgotten: list[int] = msgspec.field(default_factory=list)


class Register:
    """All that is followed. A file that is let go fades until everything of it is acknowledged."""

    def __init__(self, *, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._by_key: dict[Key, Followed] = {}
        self._by_identity: dict[str, list[Followed]] = {}
        self._by_beginning: dict[bytes, list[Followed]] = {}
        self._fading: list[Followed] = []
        self._dirty: dict[int, Followed | FileRecord] = {}
        self._forgotten: list[int] = []
        self.is_urgent = False
        """A file was cut: once it grows, nobody can tell where. To be committed at once."""

    def __len__(self) -> int:
        return len(self._by_key)

    def __iter__(self) -> Iterator[Followed]:
        return iter(self._by_key.values())

    def get(self, key: Key) -> Followed | None:
        return self._by_key.get(key)

    def has(self, followed: Followed) -> bool:
        """Whether it is followed still."""
        return self._by_key.get(followed.key) is followed

    def live(self, identity: str) -> Sequence[Followed]:
        """What is read, or was and is not acknowledged to the end."""
        fading = [followed for followed in self._fading if followed.identity == identity]
        return [*self._by_identity.get(identity, ()), *fading]

    def beginning_as(self, beginning: bytes) -> Sequence[Followed]:
        """What is read of contents that began so when they were met; nothing where that is too short to say much."""
        return self._by_beginning.get(beginning, ()) if len(beginning) == MARK_BYTES else ()

    def all(self) -> Iterator[Followed]:
        """What is followed, and what fades; from any thread."""
        yield from list(self._by_key.values())
        yield from list(self._fading)

    # Changes

    def add(self, followed: Followed) -> None:
        self._by_key[followed.key] = followed
        self._by_identity.setdefault(followed.identity, []).append(followed)
        if len(followed.beginning) == MARK_BYTES:
            self._by_beginning.setdefault(followed.beginning, []).append(followed)
        self.touch(followed)

    def moved(self, followed: Followed, earlier: Key) -> None:
        """It is another file now, with the same content."""
        if self._by_key.get(earlier) is followed:
            del self._by_key[earlier]
        self._by_key[followed.key] = followed
        self.touch(followed)

    def let_go(self, followed: Followed) -> None:
        """Nothing more is read of it; it fades."""
        del self._by_key[followed.key]
        _take_out(self._by_identity, followed.identity, followed)
        if len(followed.beginning) == MARK_BYTES:
            _take_out(self._by_beginning, followed.beginning, followed)
        followed.is_gone = True
        followed.close()
        self.fade(followed)

    def fade(self, gone: Followed) -> None:
        """Keeps what is gone until everything of it is acknowledged."""
        self._fading.append(gone)
        self.touch(gone)

    def take_acknowledged(self) -> list[Followed]:
        """Takes out what has faded: gone, and acknowledged to the end."""
        if not self._fading:
            return []
        for followed in self._fading:
            if followed.under_way and followed.under_way[0].is_done:  # it was handed over when it was in a file
                followed.acknowledge()
                self.touch(followed)
        done = [followed for followed in self._fading if not followed.under_way]
        self._fading = [followed for followed in self._fading if followed.under_way]
        return done

    @property
    def has_fading(self) -> bool:
        return bool(self._fading)

    def lose(self, source: str, path: str, lost: int, reason: str) -> None:
        """Counts and says that so many bytes were never read, if any."""
        if lost > 0:
            log.error("%r was %s before %d bytes of it were read; they are lost", path, reason.replace("_", " "), lost)
            self._telemetry.unread_lost_bytes.labels(source, reason).inc(lost)

    # For the state

    def touch(self, followed: Followed) -> None:
        """Its record has changed."""
        self._dirty[followed.id] = followed

    def keep(self, record: FileRecord, forgotten: Sequence[int] = ()) -> None:
        """A record of what is not followed has changed."""
        self._dirty[record.id] = record
        self._forgotten += forgotten

    def take_changes(self, now: float) -> Changed:
        """What changed since the last call; `now` is Unix time."""
        records = [each.record(now) if isinstance(each, Followed) else each for each in self._dirty.values()]
        changed = Changed(records, self._forgotten)
        self._dirty, self._forgotten = {}, []
        self.is_urgent = False
        return changed

    def release(self) -> dict[int, int]:
        """Closes all; returns descriptors of files that nothing else leads to, the caller's from now on, by the ids of
        their records (two records may have one inode: an earlier file's, and that of the file that has it now).
        """
        pinned = {}
        for followed in self.all():
            if followed.is_open and (not followed.is_listed or os.fstat(followed.descriptor).st_nlink == 0):
                pinned[followed.id] = os.dup(followed.descriptor)
            followed.close()
        return pinned


def _take_out(lists: dict[_Key, list[Followed]], key: _Key, followed: Followed) -> None:
    others = lists[key]
    others.remove(followed)
    if not others:
        del lists[key]
