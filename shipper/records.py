"""Records of files that are not followed at present: what the state knew at start, and what was let go since.

`recall` asks them what a found file is. What is gone shrinks to a tombstone: kept, so that a copy or a restored archive
is not read and counted again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from shipper.contents import Key
from shipper.state import FileRecord

TOMBSTONES = 20_000
"""So many files that are gone are remembered; then the oldest tenth is forgotten."""


class Records:
    """By inode, as long as the file is there, and by identity. Owned by the pipeline's thread."""

    def __init__(self, records: Iterable[FileRecord]) -> None:
        self._by_key: dict[Key, FileRecord] = {}
        self._by_identity: dict[str, list[FileRecord]] = {}
        self._unfinished: dict[int, FileRecord] = {}  # something of them is to be read or delivered
        self._gone = 0
        self.next_id = 1
        for record in records:
            self.add(record)

    def add(self, record: FileRecord) -> list[int]:
        """Keeps the record of a file that is not followed (any more); returns the ids of those forgotten for it."""
        self.next_id = max(self.next_id, record.id + 1)
        if not record.is_gone:
            self._by_key[record.key] = record
        self._by_identity.setdefault(record.identity, []).append(record)
        if not record.is_gone or record.size:
            self._unfinished[record.id] = record
        self._gone += record.is_gone
        return [] if self._gone <= TOMBSTONES else self._forget_oldest()

    def _forget_oldest(self) -> list[int]:
        oldest = sorted((record for record in self.all() if record.is_gone), key=lambda record: record.seen_at)
        forgotten = oldest[: TOMBSTONES // 10]
        for record in forgotten:
            self.take(record)
        return [record.id for record in forgotten]

    def take(self, record: FileRecord) -> None:
        """Its file is followed from now on (or it is forgotten)."""
        self.replaced(record)
        others = self._by_identity[record.identity]
        others[:] = [other for other in others if other is not record]
        if not others:
            del self._by_identity[record.identity]
        self._unfinished.pop(record.id, None)
        self._gone -= record.is_gone

    def replaced(self, record: FileRecord) -> None:
        """Its file holds another content now; a copy may continue it."""
        if self._by_key.get(record.key) is record:
            del self._by_key[record.key]

    def retire(self, record: FileRecord) -> None:
        """Its file is gone, and nothing of it is to be read."""
        self.take(record)
        record.is_gone, record.size = True, 0
        self.add(record)

    def by_key(self, key: Key) -> FileRecord | None:
        return self._by_key.get(key)

    def by_identity(self, identity: str) -> Sequence[FileRecord]:
        return self._by_identity.get(identity, ())

    def unfinished(self) -> list[FileRecord]:
        """Those that nothing has continued so far, and of which something was left to read or to deliver."""
        return list(self._unfinished.values())

    def all(self) -> list[FileRecord]:
        """May be called from any thread."""
        return [record for records in list(self._by_identity.values()) for record in list(records)]
