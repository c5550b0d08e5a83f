"""What a worker is told, and what it says: the vocabulary between `crew` and `worker`. Goes between processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from shipper.batch import OutputStatus
from shipper.replay.entries import Entry
from shipper.replay.records import FileRecord
from shipper.replay.streams import Limits


@dataclass(frozen=True, slots=True)
class Task:
    """A file to be replayed."""

    number: int
    entry: Entry
    known: Sequence[FileRecord] = ()
    """What earlier runs left of contents that it may be."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be sent, and how."""

    since: str = ""
    until: str = ""
    where: str = ""
    stem: str = ""
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Stop:
    """Reads no more, delivers until `deadline` (monotonic seconds), ends."""

    deadline: float


@dataclass(frozen=True, slots=True)
class NoMore:
    """There are no tasks left: deliver, and end."""


Command = Task | Stop | NoMore


@dataclass(frozen=True, slots=True)
class Wants:
    """Ready for another task."""


@dataclass(frozen=True, slots=True)
class Report:
    """How far a file is; `is_ended`: nothing more will come of it."""

    number: int
    record: FileRecord
    consumed_bytes: int
    is_ended: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """How the output does."""

    status: OutputStatus


@dataclass(frozen=True, slots=True)
class Closed:
    """The last message. `is_delivered`: whether all that was read is delivered."""

    is_delivered: bool
    status: OutputStatus


Message = Wants | Report | Standing | Closed
