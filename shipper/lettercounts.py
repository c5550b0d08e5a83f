"""How many dead letters stand in the files, by reason, whoever wrote or took them out: asked at each scrape.

`deadletter` appends to the files, `rewriting` (a retry, another process) replaces them.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import msgspec

from shipper.letters import day_files, records


class _Counted(msgspec.Struct):
    """A file as far as it was counted."""

    inode: int
    size: int = 0
    reasons: Counter[str] = msgspec.field(default_factory=Counter)


class LetterCounts:
    """Remembers how far each file was counted, so that only what was added since is read. From any thread."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()  # guards everything below
        self._files: dict[Path, _Counted] = {}
        self._seen: set[str] = set()

    def by_reason(self) -> Mapping[str, int]:
        """How many stand; 0 of a reason of which there were some. What cannot be read keeps its last count."""
        with self._lock:
            paths = day_files(self._directory)
            self._files = {path: self._files[path] for path in paths if path in self._files}
            for path in paths:
                self._count(path)
            total = sum((counted.reasons for counted in self._files.values()), Counter[str]())
            self._seen |= total.keys()
            return {reason: total[reason] for reason in sorted(self._seen)}

    def _count(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                found = os.fstat(file.fileno())
                counted = self._files.get(path)
                if counted is None or counted.inode != found.st_ino or found.st_size < counted.size:
                    counted = self._files[path] = _Counted(found.st_ino)
                file.seek(counted.size)
                for raw, letter in records(file):
                    if not raw.endswith(b"\n"):  # is being written
                        break
                    counted.size += len(raw)
                    if letter is not None:
                        counted.reasons[letter.reason] += 1
        except OSError:  # a retry has just taken it away, or it cannot be read
            return
