"""What a worker is told, and what it says: the vocabulary between `crew` and `worker`. Goes between processes."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from shipper.batch import OutputStatus
from shipper.replay.entries import Entry
from shipper.replay.records import FileRecord
from shipper.replay.streams import Limits


class Task(msgspec.Struct, frozen=True):
    """A file to be replayed."""

    number: int
    entry: Entry
    known: Sequence[FileRecord] = ()
    """What earlier runs left of contents that it may be."""


class Wish(msgspec.Struct, frozen=True):
    """What is to be sent, and how."""

    since: str = ""
    until: str = ""
    where: str = ""
    stem: str = ""
    limits: Limits = msgspec.field(default_factory=Limits)


class Stop(msgspec.Struct, frozen=True):
    """Reads no more, delivers until `deadline` (monotonic seconds), ends."""

    deadline: float


class NoMore(msgspec.Struct, frozen=True):
    """There are no tasks left: deliver, and end."""


Command = Task | Stop | NoMore


class Wants(msgspec.Struct, frozen=True):
    """Ready for another task."""


class Report(msgspec.Struct, frozen=True):
    """How far a file is; `is_ended`: nothing more will come of it."""

    number: int
    record: FileRecord
    consumed_bytes: int
    is_ended: bool


class Standing(msgspec.Struct, frozen=True):
    """How the output does."""

    status: OutputStatus


class Closed(msgspec.Struct, frozen=True):
    """The last message. `is_delivered`: whether all that was read is delivered."""

    is_delivered: bool
    status: OutputStatus


Message = Wants | Report | Standing | Closed
