"""What a person sees while it goes on: bytes, documents by what became of them, rate and time left."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Protocol

from shipper.progress import Progress
from shipper.replay.records import RESULTS, FileRecord

STILL_SECONDS = 5.0
"""From then on no time left is said, which would only grow."""


class Records(Protocol):
    """Where records are kept: a book, or memory for a dry run."""

    records: dict[int, FileRecord]

    def put(self, number: int, record: FileRecord) -> None: ...

    def commit_if_due(self) -> None: ...


class Memory:
    """Records that nobody keeps."""

    def __init__(self) -> None:
        self.records: dict[int, FileRecord] = {}

    def put(self, number: int, record: FileRecord) -> None:
        self.records[number] = record

    def commit_if_due(self) -> None:
        """Nothing is durable."""


class Screen:
    """Shows how far it is: bytes, documents by what became of them, rate and time left."""

    def __init__(
        self,
        records: Records,
        *,
        total_bytes: int,
        progress: Progress | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._records = records
        self._total = total_bytes
        self._progress = progress or Progress(what="replay", total=total_bytes, stream=sys.stderr)
        self._monotonic = monotonic
        self._started = self._moved_at = monotonic()
        self._moved = (0, 0)
        self._said_at = 0.0
        self.detail = ""
        self._lines_before = self._lines()

    def _lines(self) -> int:
        return sum(record.lines for record in self._records.records.values())

    def advanced(self, count: int) -> None:
        now = self._monotonic()
        if now - self._said_at > 0.2:
            self._said_at = now
            self.detail = self._text(now, self._progress.done + count)
        self._progress.advance(count, self.detail)

    def _text(self, now: float, done: int) -> str:
        totals = dict.fromkeys(RESULTS, 0)
        for record in self._records.records.values():
            for name, count in record.results().items():
                totals[name] += count
        seconds = max(now - self._started, 0.1)
        lines = self._lines() - self._lines_before
        if (done, lines) != self._moved:
            self._moved, self._moved_at = (done, lines), now
        aside = totals["dead_letter"] + totals["reduced"]
        counts = f"{totals['created']:,} new, {totals['duplicate']:,} already there, {aside:,} set aside"
        if now - self._moved_at > STILL_SECONDS:
            return f"nothing has moved for {_clock(now - self._moved_at)}, {counts}"
        if not done:
            return counts
        left = (self._total - done) * seconds / done
        return f"{_clock(left)} left, {lines / seconds:,.0f} lines/s, {counts}"

    def clear(self) -> None:
        self._progress.clear()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
