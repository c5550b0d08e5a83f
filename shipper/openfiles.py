"""Which followed files are open: no more than the process may have, and the longest unused are closed first.

A file that is deleted or lies where no pattern looks is never closed here: nothing would lead to it again. Such files
do not count, so that they keep no other from being read; `held` bounds them.
"""

from __future__ import annotations

from shipper.followed import Followed


class OpenFiles:
    """Counts what is open. Files may be closed by others: that is noticed when room is needed."""

    def __init__(self, *, limit: int) -> None:
        self.limit = limit
        self._open: dict[Followed, None] = {}  # the longest unused first

    def used(self, followed: Followed) -> None:
        """It is open and was used just now."""
        self._open.pop(followed, None)
        self._open[followed] = None

    def has_room(self) -> bool:
        """Whether one more may be opened; closes the longest unused if need be."""
        if len(self._open) < self.limit:
            return True
        self._open = {followed: None for followed in self._open if followed.is_open and not followed.is_pinned}
        enough = self.limit - 1 - self.limit // 8  # several at once, so that not every opening looks for one to close
        for followed in list(self._open):
            if len(self._open) <= enough:
                break
            if may_close(followed):
                followed.close()
                del self._open[followed]
        return len(self._open) < self.limit


def may_close(followed: Followed) -> bool:
    """Whether closing it costs little: a compressed stream that is being read would have to be read again."""
    return not (followed.is_ready and followed.is_compressed)
