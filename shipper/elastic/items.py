"""What is sent to a server: documents as they were taken over, bulk requests of them, and single documents.

Whole `Documents` go out as the bytes that they are; they are taken apart only when one of them needs its own treatment.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import msgspec

from shipper.batch import DeadLetter, Documents
from shipper.elastic.bulk import FAILURES_BEFORE_PARTING, FRAME
from shipper.elastic.reduce import Form, Stage, whole

ASKING_BYTES = 256 * 1024
ASKING_COUNT = 64
"""At most so much in one request that asks for reasons: each may be as long as its document, twice."""


@dataclass(slots=True, eq=False)
class Pending:
    """Documents that were taken over. `left` of them are not durable yet; guarded by the queue's lock."""

    documents: Documents
    left: int
    letters: list[DeadLetter]
    since: float = 0.0
    number: int = 0
    may_be_applied: bool = False
    """True if an earlier attempt may have reached the server, so that a 409 says nothing."""

    @property
    def size(self) -> int:
        return len(self.documents.body)


@dataclass(slots=True, eq=False)
class Item:
    """One document on its own, because it was not simply accepted with the others."""

    index: str
    id: str
    form: Form
    whole: bytes
    """The document as it was first."""
    line: bytes
    source: str
    file: str
    offset: int
    origin: Pending | None
    """None for what came back from the spool."""
    attempts: int = 0
    waiting_since: float | None = None
    may_be_applied: bool = False
    error_type: str = ""
    server: str = ""
    """Why it was refused first, when it had to be reduced."""
    is_suspect: bool = False
    """Requests that it was in failed as a whole, while others were answered."""

    def body(self) -> bytes:
        """Return its two lines. The line as text goes around pipelines, which were made for another document."""
        action = {"_index": self.index, "_id": self.id}
        if self.form.stage >= Stage.TEXT:
            action["pipeline"] = "_none"
        return b"".join((msgspec.json.encode({"create": action}), b"\n", self.form.source, FRAME.end))


@dataclass(slots=True, eq=False)
class Bulk:
    """One request: either whole `Documents` in `parts`, or single `items`."""

    parts: Sequence[Pending] = ()
    items: Sequence[Item] = ()
    rejections: int = 0
    """How often the server was too busy for it."""
    failures: int = 0
    """How often nothing was said of its documents."""
    failed_at: float | None = None
    """When that happened first."""
    is_suspect: bool = False
    """Others were answered meanwhile: its failures say nothing of the server."""
    pieces: list[bytes] = field(init=False)
    count: int = field(init=False)
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.pieces = [part.documents.body for part in self.parts] or [b"".join([item.body() for item in self.items])]
        self.count = sum(part.documents.count for part in self.parts) + len(self.items)
        self.size = sum(map(len, self.pieces))
        self.is_suspect = self.is_suspect or any(item.is_suspect for item in self.items)

    @property
    def is_asking(self) -> bool:
        """Whether the server's reasons are wanted."""
        return bool(self.items) and self.items[0].form.stage >= Stage.ASKED

    def mark_applied(self) -> None:
        """Note that the server may have got it."""
        for part in self.parts:
            part.may_be_applied = True
        for item in self.items:
            item.may_be_applied = True

    def halves(self) -> list[Bulk]:
        """Return two bulks of about half the documents each, or itself alone if it has but one."""
        if self.count < 2:
            return [self]
        if len(self.parts) > 1:
            middle = len(self.parts) // 2
            return [Bulk(parts=self.parts[:middle]), Bulk(parts=self.parts[middle:])]
        items = self.items or items_of(self.parts[0])
        middle = len(items) // 2
        return [Bulk(items=items[:middle]), Bulk(items=items[middle:])]

    def parted(self) -> list[Bulk]:
        """Return its halves, of which each is in the same doubt; what fails again is parted again."""
        halves = self.halves()
        for half in halves:
            half.failures, half.failed_at, half.is_suspect = (
                FAILURES_BEFORE_PARTING - 1,
                self.failed_at,
                self.is_suspect,
            )
        return halves


@dataclass(slots=True)
class Settled:
    """Documents that are durable on the server, and whose cursor waits for a dead letter's sync or for `done`."""

    pendings: list[Pending]


def items_of(pending: Pending, numbers: Iterable[int] | None = None) -> list[Item]:
    """Return the documents, or those with the given numbers, one by one."""
    documents = pending.documents
    batch = documents.batch
    lines = documents.body.split(b"\n")
    items = []
    for number in range(documents.count) if numbers is None else numbers:
        action = msgspec.json.decode(lines[2 * number])["create"]
        line = documents.line_numbers[number]
        items.append(
            Item(
                index=action["_index"],
                id=action["_id"],
                form=whole(lines[2 * number + 1]),
                whole=lines[2 * number + 1],
                line=batch.lines[line],
                source=batch.source,
                file=batch.path,
                offset=batch.offsets[line],
                origin=pending,
                may_be_applied=pending.may_be_applied,
            )
        )
    return items
