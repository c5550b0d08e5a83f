"""Which documents an output has, as far as `audit` must know: the vocabulary.

`elastic.presence` asks a server, `local.presence` looks into day files and ledger.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Final, Protocol

from shipper.batch import Content

Ranges = Sequence[tuple[int, int]]
"""Offsets `[start, end)`."""

AT_ONCE: Final = 5000
"""Ids in one question."""


class Presence(Enum):
    """Where a document is."""

    THERE = "there"
    ABSENT = "absent"
    UNKNOWN = "unknown"
    """The output could not say: its index is closed, or its shard is away."""


class Shelf(Protocol):
    """An output as `audit` sees it."""

    problems: dict[str, str]
    """By index: why it could not say."""

    @property
    def repeated(self) -> int:
        """Documents that are there twice, as far as it can tell."""

    def look_up(self, index: str, ids: Sequence[str]) -> list[Presence]:
        """Where each document is; at most AT_ONCE ids. Raises OutputError if nothing can be said of any."""

    def has_index(self, index: str) -> bool:
        """False if the whole index is gone, so that retention may have deleted it."""

    def deleted(self, content: Content) -> Ranges:
        """The offsets of a content that were delivered, and may have been deleted since by the output's own rule.

        Ranges that ascend and are apart.
        """
