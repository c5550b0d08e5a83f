"""What became of a file while it was followed: is it what was read, was it cut, does its last line go on?

The answers move the cursors where that is needed. `pipeline` and `roster` ask, `followed` has the facts.
"""

from __future__ import annotations

from shipper.contents import content_agrees, end_of_lines
from shipper.followed import NEVER, Followed, Replaced
from shipper.identity import Trail, mark_of
from shipper.tail import Damaged, bytes_before


def is_intact(followed: Followed) -> bool:
    """Whether the file, which is open, still holds what was read of it. Raises OSError."""
    if not followed.is_plain:
        return True
    if followed.stat().st_size < followed.farthest:
        return False
    try:
        for cursor in followed.cursors():
            if cursor.is_reading:
                followed.verify(cursor.position, cursor.before)
    except Replaced:
        return False
    return True


def holds_prefix(followed: Followed, size: int) -> bool:
    """Whether the first `size` bytes, to which the open file was cut, are those that were read. Raises OSError."""
    if not followed.is_plain or followed.reader is None:
        return False
    if size >= followed.farthest:
        return is_intact(followed)
    return size > 0 and content_agrees(followed.reader, followed.trail.powers, size) is True


def kept_bytes(followed: Followed) -> int | None:
    """To how many bytes a file was cut that holds the beginning of what was read; None if that is not what became of
    it, or cannot be said.
    """
    try:
        size = followed.stat().st_size
        return size if size < followed.sure_size and holds_prefix(followed, size) else None
    except (OSError, Damaged):
        return None


def cut_to(followed: Followed, size: int) -> None:
    """Goes on in a file that was cut to `size` bytes of the same content. Raises OSError."""
    followed.size = followed.sure_size = size
    for cursor in followed.cursors():
        cursor.lines.jump(cursor.position)  # how far the end of a line was looked for does not hold any more
    if followed.reader is None or size >= followed.farthest:
        return
    end = end_of_lines(followed.reader, size)
    followed.cut_at, followed.asked_marks = end, -1
    before = bytes_before(followed.reader, end)
    followed.trail = Trail.of_marks(followed.trail.powers, end, before)
    for cursor in followed.cursors():
        if end < cursor.position < NEVER:
            cursor.jump(end, before)
    for batch in followed.under_way:
        if batch.end > end:
            batch.end, batch.mark = end, mark_of(end, before)
    if followed.shipped > end and followed.ship is not None and followed.ship.is_reading:
        followed.shipped, followed.shipped_mark = end, mark_of(end, before)
    followed.tail_start = None
    followed.counted = min(followed.counted, end)


def tail_was_continued(followed: Followed) -> bool:
    """Whether the unterminated line that was read as the last goes on. Then shipping stands at its beginning again.

    To be asked before reading, as long as there is a `tail_start`. (The metrics have counted the line.) Raises
    OSError, Damaged.
    """
    start, end = followed.tail_start, followed.farthest
    if start is None or followed.reader is None or end <= start:
        return False
    if followed.ship is not None and followed.ship.position <= start:
        return False  # it has been seen already, and is being read again
    following = followed.reader.read(end, 1)
    if following == b"\n":
        followed.tail_start = None
    if following in (b"", b"\n"):
        return False
    if followed.ship is None:
        followed.tail_start = None
        return True
    followed.ship_from(start)
    return True
