"""What a person sees while it goes on: bytes, documents by what became of them, rate and time left."""

from __future__ import annotations

import sys
import time
from typing import Protocol

from shipper.progress import Progress
from shipper.replay.records import RESULTS, FileRecord


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

    def __init__(self, records: Records, *, total_bytes: int) -> None:
        self._records = records
        self._total = total_bytes
        self._progress = Progress(what="replay", total=total_bytes, stream=sys.stderr)
        self._started = time.monotonic()
        self._said_at = 0.0
        self._detail = ""
        self._lines_before = self._lines()

    def _lines(self) -> int:
        return sum(record.lines for record in self._records.records.values())

    def advanced(self, count: int) -> None:
        now = time.monotonic()
        if now - self._said_at > 0.2:
            self._said_at = now
            self._detail = self._text(now, self._progress.done + count)
        self._progress.advance(count, self._detail)

    def _text(self, now: float, done: int) -> str:
        totals = dict.fromkeys(RESULTS, 0)
        for record in self._records.records.values():
            for name, count in record.results().items():
                totals[name] += count
        seconds = max(now - self._started, 0.1)
        rate = (self._lines() - self._lines_before) / seconds
        left = (self._total - done) * seconds / done if done else 0.0
        aside = totals["dead_letter"] + totals["reduced"]
        return (
            f"{totals['created']:,} new, {totals['duplicate']:,} already there, {aside:,} set aside, "
            f"{rate:,.0f} lines/s, {_clock(left)} left"
        )

    def clear(self) -> None:
        self._progress.clear()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
