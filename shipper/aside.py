"""Files that were found and are not followed: without a complete line, unreadable, or copies. When to ask again.

The roster keeps them here and asks `attach` again when the file changed, or when what it is a copy of did.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Container, Iterator
from enum import Enum

import msgspec

from shipper.contents import Key
from shipper.discover import Found
from shipper.followed import Followed

FIRST_SECONDS = 0.25
LONGEST_SECONDS = 1.0
QUIET_SECONDS = 60.0
LOOKS_A_SECOND = 500
UNREADABLE_SECONDS = 5.0
SETTLED_SECONDS = 5.0
"""Unchanged for so long, a file will hardly go on: its unterminated line is one, and no copying is in progress."""


class Why(Enum):
    """Why a file is not followed."""

    NO_LINE = "no complete line"
    UNREADABLE = "unreadable"
    PARTIAL = "partial"
    """Equal to what was read of a file that is gone, and shorter: a copy in progress, or nothing new."""
    TWIN = "twin"
    """A copy of a file that is followed."""


class Aside(msgspec.Struct, eq=False):
    """One of them. Times are monotonic."""

    found: Found
    why: Why
    changed_at: float
    retry_at: float
    identity: str = ""
    reason: str = ""
    """What the system says, of an unreadable one."""
    original: Followed | None = None
    """Of what it is a twin."""
    is_settled: bool = False
    """A twin of which nothing is unread (`Attachment`); one that is unreadable as long as it does not change."""
    asked_at: int = -1
    """How far the original was read then."""
    equal_until: int = 0
    """A twin is equal to the original up to here."""
    is_renamed: bool = False
    archives_then: frozenset[Key] = frozenset()
    """The archives that were there when it was met. One set for all that were met in one scan."""
    was_settled: bool = False
    """It was asked what it is after it had not changed for a while."""
    interval: float = FIRST_SECONDS


def should_ask(aside: Aside, *, quiet_seconds: float) -> bool:
    """Whether a file that has not changed may be something else now."""
    is_quiet = quiet_seconds >= SETTLED_SECONDS
    match aside.why:
        case Why.UNREADABLE:
            return not aside.is_settled
        case Why.NO_LINE | Why.PARTIAL:
            return is_quiet and not aside.was_settled and aside.found.size > 0
        case Why.TWIN:
            original = aside.original
            if original is None or aside.is_settled or original.is_gone:  # what is gone is asked for when it is buried
                return False
            return original.is_at_end and original.farthest != aside.asked_at


class Asides:
    """All of them by device and inode, and when each is to be looked at again. Owned by the roster."""

    def __init__(self) -> None:
        self._by_key: dict[Key, Aside] = {}
        self._heap: list[tuple[float, int, Aside]] = []
        self._pushes = 0

    def __contains__(self, key: Key) -> bool:
        return key in self._by_key

    def __iter__(self) -> Iterator[Aside]:
        """May be called from any thread."""
        return iter(list(self._by_key.values()))

    def get(self, key: Key) -> Aside | None:
        return self._by_key.get(key)

    def unreadable_bytes(self, key: Key) -> int:
        """How long a file is that cannot be read; -1 if it is none."""
        aside = self._by_key.get(key)
        return aside.found.size if aside is not None and aside.why is Why.UNREADABLE else -1

    def put(self, aside: Aside) -> None:
        """Keeps it until `drop`, and has it due at its `retry_at`."""
        self._by_key[aside.found.device, aside.found.inode] = aside
        self._push(aside)

    def _push(self, aside: Aside) -> None:
        self._pushes += 1
        heapq.heappush(self._heap, (aside.retry_at, self._pushes, aside))

    def drop(self, key: Key) -> Aside | None:
        return self._by_key.pop(key, None)

    def drop_others(self, present: Container[Key], *, away: Container[str]) -> list[Aside]:
        """Drops what is not there any more; not what lies in a directory that is `away`, with all that is in it."""
        gone = [
            key
            for key, aside in self._by_key.items()
            if key not in present and os.path.dirname(aside.found.path) not in away
        ]
        return [self._by_key.pop(key) for key in gone]

    def due(self, now: float) -> list[Aside]:
        """Takes those whose time has come; they are due again after `later`."""
        due = []
        while self._heap and self._heap[0][0] <= now:
            at, _, aside = heapq.heappop(self._heap)
            if aside.retry_at == at and self._by_key.get((aside.found.device, aside.found.inode)) is aside:
                aside.retry_at = -1.0
                due.append(aside)
        return due

    def later(self, aside: Aside, now: float) -> None:
        """After a look that changed nothing."""
        if aside.why is Why.UNREADABLE:
            aside.interval = UNREADABLE_SECONDS
        else:
            is_awaited = aside.why is Why.NO_LINE  # its first line is as good as any
            seldom = 2 if is_awaited else 5
            longest = LONGEST_SECONDS * (seldom if now - aside.changed_at > QUIET_SECONDS else 1)
            aside.interval = min(aside.interval * 2, max(longest, len(self._by_key) / LOOKS_A_SECOND))
        aside.retry_at = now + aside.interval
        self._push(aside)

    def at_once(self, aside: Aside, now: float) -> None:
        aside.retry_at = now
        self._push(aside)

    def next_at(self) -> float | None:
        return self._heap[0][0] if self._heap else None

    def twins_of(self, original: Followed) -> list[Aside]:
        return [aside for aside in self._by_key.values() if aside.original is original]

    def of_identity(self, identity: str) -> list[Aside]:
        return [aside for aside in self._by_key.values() if aside.identity == identity]

    @property
    def has_unsettled(self) -> bool:
        """Whether for one of them it is not clear yet what it holds."""
        return any(aside.why is Why.TWIN and not aside.is_settled for aside in self._by_key.values())
