"""What is known of each file of a replay: how far it came and what became of its lines; and the messages that say it.

The vocabulary of `worker`, `crew`, `book` and `ledger`; plain data that is written as JSON.
"""

from __future__ import annotations

from typing import Any

import msgspec

RESULTS = ("created", "duplicate", "reduced", "dead_letter", "repaired", "reduced_before")
"""`reduced_before`: those of the duplicates that were refused whole again, so that the reduced one stands."""


class FileRecord(msgspec.Struct, kw_only=True):
    """One file. Everything says what is done for good: acknowledged by the output."""

    path: str
    source: str
    identity: str = ""
    size_bytes: int = 0
    """On disk."""
    position: int = 0
    """In decompressed bytes; where reading goes on after an interruption."""
    mark: int = 0
    """The hash of the bytes before `position`."""
    last_time: str = ""
    is_done: bool = False
    problem: str = ""
    """Why it was not read to its end."""
    lines: int = 0
    unwanted: int = 0
    """Not chosen by --since, --until or --where."""
    dropped: int = 0
    duplicates: int = 0
    """Left out because the output's ledger has them."""
    indices: dict[str, dict[str, int]] = {}
    """By index: documents by what became of them."""
    first_time: str = ""
    """Of the lines that were wanted."""
    end_time: str = ""
    """The latest of them."""

    def results(self) -> dict[str, int]:
        """Documents by what became of them, over all indices."""
        totals = dict.fromkeys(RESULTS, 0)
        for counts in self.indices.values():
            for result, count in counts.items():
                totals[result] = totals.get(result, 0) + count
        totals["duplicate"] += self.duplicates
        return totals


class Passed(msgspec.Struct):
    """What a batch adds to its file's record once all of it is acknowledged."""

    end: int
    mark: int
    last_time: str
    lines: int
    unwanted: int
    dropped: int
    duplicates: int
    span: tuple[str, str]
    indices: dict[str, dict[str, int]]


def add(record: FileRecord, passed: Passed) -> None:
    """Takes a batch into its file's record."""
    record.position, record.mark, record.last_time = passed.end, passed.mark, passed.last_time
    record.lines += passed.lines
    record.unwanted += passed.unwanted
    record.dropped += passed.dropped
    record.duplicates += passed.duplicates
    first, last = passed.span
    record.first_time = min(filter(None, (record.first_time, first)), default="")
    record.end_time = max(record.end_time, last)
    add_counts(record.indices, passed.indices)


def add_counts(totals: dict[str, dict[str, int]], more: dict[str, dict[str, int]]) -> None:
    """Adds counts by index and result to others."""
    for index, counts in more.items():
        known = totals.setdefault(index, {})
        for result, count in counts.items():
            known[result] = known.get(result, 0) + count


def as_data(record: FileRecord) -> dict[str, Any]:
    """For `--json`."""
    data: dict[str, Any] = msgspec.to_builtins(record)
    for name in ("mark", "last_time"):
        del data[name]
    return data | record.results()
