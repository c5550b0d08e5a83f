"""Delivers dead letters' documents into a directory: appended to their day files, if they are not there already.

Takes the directory as a writer, so it works only while no daemon has it. The ledger says nothing of single offsets that
were set aside, so the day files are asked for the ids before anything is written.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from exporter.registry import CollectorRegistry
from shipper.batch import Batch, Documents
from shipper.carrier import Fate, Rebuilt, Verdict
from shipper.deadletter import DeadLetterWriter
from shipper.errors import OutputError
from shipper.letters import Letter
from shipper.local.dayfiles import index_problem
from shipper.local.output import FRAME, LocalOutput
from shipper.local.presence import ids_in
from shipper.settings import LocalSettings
from shipper.telemetry import Telemetry

_PATIENCE_SECONDS = 60.0
_USABLE_ID = re.compile(r"[!#-\[\]-~]{1,512}")
"""Anything printable but a quote and a backslash: it stands in JSON as it is."""


class DirectoryCarrier:
    """A Carrier into the local output, from `start` to `close`."""

    def __init__(self, *, settings: LocalSettings, state: Path) -> None:
        telemetry = Telemetry(registry=CollectorRegistry())
        self._directory = Path(settings.directory)
        self._has_ended = False
        self._output = LocalOutput(
            settings=settings,
            telemetry=telemetry,
            dead_letters=DeadLetterWriter(directory=state / "dead-letter"),
            on_crash=self._ended,
        )

    def start(self) -> None:
        """Take the directory. Raises InUseError if a daemon has it, and OutputError."""
        self._output.start()

    def close(self) -> None:
        """Give it back."""
        self._output.close(deadline=time.monotonic())

    def _ended(self) -> None:
        self._has_ended = True

    def deliver(self, documents: Sequence[Rebuilt]) -> list[Verdict]:
        refused = [_problem(document.letter) for document in documents]
        fates = iter(self._fates([one for one, verdict in zip(documents, refused, strict=True) if verdict is None]))
        return [Verdict(next(fates)) if verdict is None else verdict for verdict in refused]

    def _fates(self, documents: Sequence[Rebuilt]) -> list[Fate]:
        by_index: dict[str, set[str]] = {}
        for document in documents:
            by_index.setdefault(document.letter.index, set()).add(document.letter.id)
        known = {(index, one) for index, ids in by_index.items() for one in ids_in(self._directory, index, ids)}
        fresh: dict[tuple[str, str], Rebuilt] = {}
        for document in documents:
            key = (document.letter.index, document.letter.id)
            if key not in known:
                fresh[key] = document
        if fresh:
            self._write(list(fresh.values()))
        written = set(map(id, fresh.values()))
        return [Fate.CREATED if id(one) in written else Fate.ALREADY_THERE for one in documents]

    def _write(self, documents: Sequence[Rebuilt]) -> None:
        """Returns when all are durable. Raises OutputError; then some may be written, and are found the next time."""
        is_done = threading.Event()
        parts = sorted(documents, key=lambda document: document.letter.index)
        pieces = [_framed(document) for document in parts]
        self._output.submit(_documents(parts, pieces, lambda _: is_done.set()))
        self._output.flush()
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not is_done.wait(0.05):
            if self._has_ended or time.monotonic() >= deadline:
                raise OutputError(self._output.status().error or "the local output ended by a bug")

    def time_of(self, letter: Letter) -> str:  # noqa: ARG002 - a directory has no reduced documents
        return ""


def _problem(letter: Letter) -> Verdict | None:
    """Why no day file can hold a record's document, as a server would say it: it is one that somebody changed."""
    if problem := index_problem(letter.index):
        return Verdict(Fate.REFUSED, "invalid_index_name", f"the index name {problem}")
    if not _USABLE_ID.fullmatch(letter.id):
        return Verdict(Fate.REFUSED, "invalid_id", "the id is empty, or has characters that no id of ours has")
    return None


def _framed(document: Rebuilt) -> bytes:
    letter = document.letter
    index, document_id = letter.index.encode(), letter.id.encode()
    return b"".join(
        (FRAME.before_index, index, FRAME.before_id, document_id, FRAME.before_source, document.document, FRAME.end)
    )


def _documents(parts: Sequence[Rebuilt], pieces: Sequence[bytes], done: Callable[[Documents], None]) -> Documents:
    first = parts[0].letter
    lines = [part.letter.line.encode("utf-8", "replace") for part in parts]
    batch = Batch(first.source, first.file, "", 0, 0, lines, [part.letter.offset for part in parts])
    segments: list[tuple[str, int, int]] = []
    position = 0
    for part, piece in zip(parts, pieces, strict=True):
        segments.append((part.letter.index, position, position + len(piece)))
        position += len(piece)
    return Documents(batch, b"".join(pieces), len(parts), segments, range(len(parts)), [], done)
