"""Which followed files are open: no more than the process may have, and the longest unused are closed first.

Of compressed ones there are few at a time: each has half a megabyte of unfolded bytes and tables, and one that is
closed half-read has to be read again from its beginning. A file that is deleted or lies where no pattern looks is
never closed here: nothing would lead to it again. Such files do not count, so that they keep no other from being
read; `held` bounds them.
"""

from __future__ import annotations

from shipper.followed import Followed

ARCHIVES = 8
"""Compressed files that are open at a time."""


class OpenFiles:
    """Counts what is open. Files may be closed by others: that is noticed when room is needed."""

    def __init__(self, *, limit: int, archives: int = ARCHIVES) -> None:
        self.limit = limit
        self._most_archives = min(archives, limit)
        self._open: dict[Followed, None] = {}  # the longest unused first
        self._archives: dict[Followed, None] = {}  # those of them that are compressed

    def used(self, followed: Followed) -> None:
        """It is open and was used just now."""
        for kept in (self._open, self._archives)[: 1 + followed.is_compressed]:
            kept.pop(followed, None)
            kept[followed] = None

    def has_room(self, followed: Followed) -> bool:
        """Whether this one may be opened too; closes the longest unused if need be."""
        return self._has_room_for_any() and (not followed.is_compressed or self.room_for_archives() > 0)

    def room_for_archives(self) -> int:
        """How many more compressed files may be opened; closes one that is not being read if need be."""
        if len(self._archives) >= self._most_archives:
            self._archives = _still_open(self._archives)
            self._close(self._archives, enough=self._most_archives - 1)
        return self._most_archives - len(self._archives)

    def _has_room_for_any(self) -> bool:
        if len(self._open) >= self.limit:
            self._open = _still_open(self._open)
            # several at once, so that not every opening looks for one to close
            self._close(self._open, enough=self.limit - 1 - self.limit // 8)
        return len(self._open) < self.limit

    @staticmethod
    def _close(kept: dict[Followed, None], *, enough: int) -> None:
        for followed in list(kept):
            if len(kept) <= enough:
                break
            if may_close(followed):
                followed.close()
                del kept[followed]


def _still_open(kept: dict[Followed, None]) -> dict[Followed, None]:
    return {followed: None for followed in kept if followed.is_open and not followed.is_pinned}


def may_close(followed: Followed) -> bool:
    """Whether closing it costs little: a compressed stream that is being read would have to be read again.

    One that was read to its end for the metrics, and waits for an output that is down, gives way to the others.
    """
    is_waiting = followed.is_held and not followed.is_at_end
    return not (followed.is_compressed and (followed.is_ready or is_waiting))
