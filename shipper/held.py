"""Which files are kept open although nothing leads to them any more, and which of them are given up beyond a limit.

A deleted file holds its disk space as long as it is open, and each of them a descriptor: with an output that is down
for long, and logs that rotate on, that must end somewhere. `pipeline` looks and gives up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import msgspec

from shipper.followed import Followed

BLOCK_BYTES = 512
"""The unit of `st_blocks`, whatever the filesystem's own."""

Name = TypeVar("Name")


class Held(msgspec.Struct, frozen=True):
    """What one of them costs."""

    disk_bytes: int
    """0 of a file that has a name elsewhere."""
    is_done: bool
    """It was read to its end, and everything of it was delivered: giving it up loses nothing, as far as is known."""


def to_give_up(held: Mapping[Name, Held], *, most_bytes: int, most_files: int) -> list[Name]:
    """What to give up so that the rest keeps within both limits (`most_bytes` 0: none): what is done before what is
    not, and of those what was held longest. `held` has them in that order.
    """
    files, disk_bytes = len(held), sum(one.disk_bytes for one in held.values())
    given_up = []
    for name in sorted(held, key=lambda name: not held[name].is_done):
        has_many = files > most_files
        has_much = 0 < most_bytes < disk_bytes
        if not has_many and not (has_much and held[name].disk_bytes):
            continue
        given_up.append(name)
        files -= 1
        disk_bytes -= held[name].disk_bytes
    return given_up


class HeldOpen:
    """All of them, in the order in which they were noticed. Owned by the pipeline's thread."""

    def __init__(self, *, most_bytes: int, most_files: int) -> None:
        self._most_bytes = most_bytes
        self._most_files = most_files
        self._disk_bytes: dict[Followed, int] = {}

    def note(self, followed: Followed, blocks: int) -> None:
        """A look found it without a name where patterns look; `blocks`: `st_blocks`."""
        self._disk_bytes[followed] = blocks * BLOCK_BYTES if followed.is_deleted else 0

    def take_beyond(self, is_followed: Callable[[Followed], bool]) -> list[Followed]:
        """Those to give up now. Forgets what is closed, followed no more, or has been found again."""
        if not self._disk_bytes:
            return []
        self._disk_bytes = {
            followed: size
            for followed, size in self._disk_bytes.items()
            if followed.is_open and followed.is_pinned and is_followed(followed)
        }
        held = {followed: Held(size, is_done(followed)) for followed, size in self._disk_bytes.items()}
        return to_give_up(held, most_bytes=self._most_bytes, most_files=self._most_files)


def is_done(followed: Followed) -> bool:
    """Whether everything that the last look saw was read, and delivered where it is shipped."""
    return followed.is_at_end and followed.is_joined and not followed.under_way and not followed.has_rest
