"""Outputs for the tests of following: one in memory that answers when told to, and the local one without its thread.

Both keep every document by its id, as a server does: sent again it is the same one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from prometheus_client import CollectorRegistry

from shipper.batch import Content, DeadLetter, Documents, Frame, Output, OutputStatus
from shipper.local import FRAME, LocalOutput
from shipper.settings import LocalSettings
from shipper.telemetry import Telemetry


class Receiver(Protocol):
    """What a test needs of an output beside what the pipeline does."""

    @property
    def output(self) -> Output: ...

    def answer(self) -> int:
        """Makes durable and acknowledges what was submitted; returns how many batches that were."""

    def restart(self, *, keeps_submitted: bool) -> None:
        """The process ended; `keeps_submitted`: what was under way arrived, but nobody heard of it."""

    def documents(self) -> dict[str, dict[str, Any]]:
        """All documents by id, the source of each. Fails if an id has two."""


class MemoryReceiver:
    """A server in memory. Has room as long as `has_place`, answers as long as `is_answering`, newest batch first."""

    frame: Frame = FRAME
    has_ledger = False

    def __init__(self) -> None:
        self.has_place = True
        self.is_answering = True
        self.most_under_way = 1_000_000
        self.under_way: list[Documents] = []
        self.submitted = 0
        self.conflicts = 0
        self._documents: dict[str, bytes] = {}

    @property
    def output(self) -> Output:
        return self

    # The pipeline's side

    def start(self) -> None:
        """Nothing to start."""

    def has_room(self) -> bool:
        return self.has_place and len(self.under_way) < self.most_under_way

    def submit(self, documents: Documents) -> None:
        self.submitted += 1
        self.under_way.append(documents)

    def flush(self) -> None:
        """Nothing waits for company."""

    def forget(self, content: Content, position: int) -> None:
        """Nothing is known of it."""

    def covered(self, content: Content) -> Sequence[tuple[int, int]]:
        """Nothing: what is there is said by a conflict."""
        return ()

    def close(self, *, deadline: float) -> bool:
        return not self.under_way

    def status(self) -> OutputStatus:
        return OutputStatus(
            name="memory",
            is_up=self.is_answering,
            error="",
            progress_at=0.0,
            refused_since=None,
            pending=sum(documents.count for documents in self.under_way),
        )

    # The test's side

    def answer(self) -> int:
        if not self.is_answering:
            return 0
        taken, self.under_way = self.under_way[::-1], []
        for documents in taken:
            self._keep(documents)
            documents.done(documents)
        return len(taken)

    def answer_one(self, number: int) -> None:
        """Answers one of the batches under way, whatever `is_answering` says."""
        documents = self.under_way.pop(number)
        self._keep(documents)
        documents.done(documents)

    def keep_a_part(self, number: int) -> None:
        """Takes every other document of a batch under way; the others are refused for now, so it stays under way."""
        body = self.under_way[number].body
        self._keep_rows(body.splitlines()[::2])

    def restart(self, *, keeps_submitted: bool) -> None:
        if keeps_submitted:
            for documents in self.under_way:
                self._keep(documents)
        self.under_way = []

    def _keep(self, documents: Documents) -> None:
        self._keep_rows(documents.body.splitlines())

    def _keep_rows(self, rows: Sequence[bytes]) -> None:
        for row in rows:
            document = json.loads(row)
            known = self._documents.setdefault(document["_id"], row)
            self.conflicts += known is not row
            assert json.loads(known)["_source"].get("n") == document["_source"].get("n"), "two lines have one id"

    def documents(self) -> dict[str, dict[str, Any]]:
        return {line_id: json.loads(row)["_source"] for line_id, row in self._documents.items()}


class LocalReceiver:
    """The local output, with its ledger, writing in the test's thread."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.has_place = True
        self.is_answering = True
        self._local = self._new()

    def _new(self) -> LocalOutput:
        local = LocalOutput(
            settings=LocalSettings(directory=str(self._directory)),
            telemetry=Telemetry(registry=CollectorRegistry()),
            dead_letters=_NoDeadLetters(),
            on_crash=_crashed,
        )
        local.open()
        local.has_room = self._with_place(local.has_room)  # type: ignore[method-assign]
        return local

    def _with_place(self, has_room: Callable[[], bool]) -> Callable[[], bool]:
        return lambda: self.has_place and has_room()

    @property
    def output(self) -> Output:
        return self._local

    def answer(self) -> int:
        if not self.is_answering:
            return 0
        taken = self._local.take()
        assert self._local.deliver(taken)
        return len(taken)

    def restart(self, *, keeps_submitted: bool) -> None:
        if keeps_submitted:
            assert self._local.deliver(self._local.take())
        self.close()
        self._local = self._new()

    def close(self) -> None:
        """Gives the directory back, as a stop does while the pipeline may still be at a scan."""
        self._local.release()

    def documents(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for path in sorted(self._directory.glob("*.ndjson")):
            for row in path.read_bytes().splitlines():
                document = json.loads(row)
                line_id, source = document["_id"], document["_source"]
                assert line_id not in found, f"{line_id} is there twice: {source} and {found[line_id]}"
                found[line_id] = source
        return found


class _NoDeadLetters:
    def write(self, records: Sequence[DeadLetter]) -> None:
        assert not records


def _crashed() -> None:
    raise AssertionError("the output crashed")
