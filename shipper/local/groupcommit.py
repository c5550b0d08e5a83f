"""What one commit of the local output covers, and its steps: append and sync, dead letters, the ledger, done.

Each step may be repeated until it succeeds; `local` decides when, and for how long.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from shipper.batch import DeadLetter, Documents
from shipper.failpoints import failpoint
from shipper.local.coverage import Coverage, Record
from shipper.local.dayfiles import DayFiles, Part
from shipper.local.ledger import FileRow, Ledger
from shipper.local.recovery import KnownIds, ids_of, without
from shipper.telemetry import Telemetry

log = logging.getLogger(__name__)


class DeadLetters(Protocol):
    """Keeps lines that could not become documents."""

    def write(self, records: Sequence[DeadLetter]) -> None:
        """Returns once they are durable. Raises OSError."""


class Submitted(msgspec.Struct):
    """Documents that wait for a commit."""

    documents: Documents
    size_bytes: int
    record: Record | None = None
    """None where nothing is to be said of the batch's content, or what comes after it in the same commit says more."""
    coverage: Coverage | None = None
    """What the ledger has to say of the content once these are committed, and all that came before them."""

    def forget_coverage(self) -> None:
        """It has a range for each third line, perhaps, and there are hundreds of batches between two commits."""
        self.record = self.coverage = None


class Group(msgspec.Struct):
    """What one commit covers; stays as it is until that has happened."""

    submitted: list[Submitted]
    parts: dict[str, list[Part]] = msgspec.field(default_factory=dict)
    """What to append, by index name."""
    dead_letters: list[DeadLetter] = msgspec.field(default_factory=list)
    results: Counter[tuple[str, str]] = msgspec.field(default_factory=Counter)
    """Documents by source and what becomes of them."""
    rows: list[FileRow] = msgspec.field(default_factory=list)
    """Of the day files, as the last write left them."""


class GroupCommit:
    """Used by one thread. A repeated write begins again at the last committed length of each file (`dayfiles`)."""

    def __init__(self, *, ledger: Ledger, files: DayFiles, dead_letters: DeadLetters, telemetry: Telemetry) -> None:
        self._ledger = ledger
        self._files = files
        self._dead_letters = dead_letters
        self._telemetry = telemetry
        self._known: tuple[str, KnownIds | None] = ("", None)
        self.steps: tuple[Callable[[Group], None], ...] = (self._write, self._set_aside, self._commit)
        """In order; each raises OSError or sqlite3.OperationalError where repeating it may help."""

    def group(self, submitted: list[Submitted], *, again: Iterable[str] = ()) -> Group:
        """The group of all that was submitted, in that order; of the identities `again` it may have lines twice."""
        group = Group(submitted)
        taken: dict[str, set[int]] = {identity: set() for identity in again}
        for each in submitted:
            documents = each.documents
            source = documents.batch.source
            segments, duplicates = self._segments(documents, taken.get(documents.batch.identity))
            for index_name, part in segments:
                group.parts.setdefault(index_name, []).append(part)
            group.results[source, "created"] += documents.count - duplicates
            group.results[source, "duplicate"] += duplicates
            documents.results = {"created": documents.count - duplicates, "duplicate": duplicates}
            group.dead_letters += documents.dead_letters
        return group

    def _segments(self, documents: Documents, taken: set[int] | None) -> tuple[Sequence[tuple[str, Part]], int]:
        known = self._known_ids(documents.batch.identity)
        if known is not None or taken is not None:
            return without(documents, known or KnownIds(()), taken)
        body = memoryview(documents.body)
        return [(index_name, body[start:end]) for index_name, start, end in documents.segments], 0

    def learn(self, identity: str, directory: Path) -> None:
        """Looks up which ids day files have of an identity: none of them is written again. Raises as a step does."""
        self._ledger.learn(identity, ids_of(directory, identity))
        self._known = ("", None)

    def _known_ids(self, identity: str) -> KnownIds | None:
        if self._known[0] != identity:
            hashes = self._ledger.known_ids(identity)
            self._known = (identity, KnownIds(hashes) if hashes else None)
        return self._known[1]

    def _write(self, group: Group) -> None:
        failpoint("local.before_write")
        if not self._ledger.is_in_place():
            self._ledger.put_back()  # raises FileNotFoundError while the directory itself is away
            self._files.reopen()
            log.warning("the ledger was removed by somebody else; it is again at %r", str(self._ledger.path))
        group.rows = [self._files.write(index_name, parts) for index_name, parts in group.parts.items()]
        failpoint("local.after_sync")

    def _set_aside(self, group: Group) -> None:
        if group.dead_letters:
            self._dead_letters.write(group.dead_letters)

    def _commit(self, group: Group) -> None:
        failpoint("local.before_commit")
        gone = self._files.gone()
        self._ledger.commit(files=group.rows, gone=gone, contents=_latest(group.submitted))
        self._files.committed(group.rows, gone)
        failpoint("local.after_commit")

    def finish(self, group: Group) -> None:
        """Counts the documents and says that they are done."""
        for (source, result), count in group.results.items():
            if count:
                self._telemetry.documents.labels(source, result).inc(count)
        for each in group.submitted:
            if each.record is not None:
                each.record.committed = each.coverage
            each.documents.done(each.documents)
        failpoint("local.finished")


def _latest(submitted: Sequence[Submitted]) -> Iterable[tuple[Record, Coverage]]:
    """What the last of each content's documents say of it."""
    latest = {}
    for each in submitted:
        if each.record and each.coverage and each.coverage.ranges:
            latest[each.record.key] = (each.record, each.coverage)
    return latest.values()
