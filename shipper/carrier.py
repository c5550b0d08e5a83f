"""What a retry of dead letters says to an output, and what it answers: the vocabulary.

`elastic.resend` and `local.resend` are carriers, `resend` hands them documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple, Protocol

import msgspec

from shipper.letters import Letter


class Fate(Enum):
    """What became of a record."""

    CREATED = "created"
    REPLACED = "replaced"
    """A reduced document was replaced by the whole one."""
    ALREADY_THERE = "already there"
    REFUSED = "refused again"
    NOT_DUE = "not due yet"
    """Its time has not come."""
    NOT_DELIVERED = "not delivered"
    """The output could not take it just now."""
    NO_SOURCE = "of no source"
    """Its source is not configured any more."""


ACCEPTED = (Fate.CREATED, Fate.REPLACED, Fate.ALREADY_THERE)


class Verdict(NamedTuple):
    """The same with the output's reason."""

    fate: Fate
    reason: str = ""
    server: str = ""


class Rebuilt(msgspec.Struct, frozen=True):
    """A record's document, whole again."""

    letter: Letter
    document: bytes


class Carrier(Protocol):
    """Delivers documents."""

    def deliver(self, documents: Sequence[Rebuilt]) -> list[Verdict]:
        """What became of each. What is accepted is durable. Raises OutputError if it cannot be asked at all."""

    def time_of(self, letter: Letter) -> str:
        """The time of the reduced document that stands for a record; '' if there is none."""
