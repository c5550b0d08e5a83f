"""What became of a file while it was followed: is it what was read, was it cut, does its last line go on?

The answers move the cursors where that is needed. `pipeline` and `roster` ask, `followed` has the facts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import takewhile

import msgspec

from shipper.batch import Mark
from shipper.contents import end_of_lines, has_mark
from shipper.cursor import NEVER
from shipper.followed import Followed, Replaced
from shipper.identity import FIRST_POWER, MARK_BYTES, Trail, mark_of, unpack_marks
from shipper.tail import Damaged, bytes_before


def is_intact(followed: Followed) -> bool:
    """Whether the file, which is open, still holds what was read of it. Raises OSError."""
    if followed.is_plain and followed.stat().st_size < followed.farthest:
        return False
    try:
        for cursor in followed.cursors():
            if cursor.is_reading:
                followed.verify(cursor.position, cursor.before)
    except Replaced:
        return False
    return True


class Kept(msgspec.Struct, frozen=True):
    """What is left of a content whose file was cut."""

    sure: int
    """So many bytes surely are: the highest mark that agrees stands there."""
    likely: int
    """So many bytes are, if it was only cut; if it was written to since, some of them are new."""


def kept(
    marks: Sequence[Mark],
    size: int,
    has: Callable[[Mark], bool | None],
    *,
    read: int,
    line_ends: Sequence[Mark] = (),
) -> Kept | None:
    """What is left in `size` bytes of a content of which `read` bytes are known by `marks`; None if nothing surely is.

    `has` as for `agrees`. `line_ends`: where each of the first lines ends; what follows the last that agrees is no line
    of that content. Behind a mark that does not agree nothing is sure, whatever agrees there by chance.
    """
    within = sorted(mark for mark in marks if mark.position <= size)
    sure = max((mark.position for mark in takewhile(has, within)), default=0)
    if not sure:
        left = takewhile(lambda mark: mark.position <= size and has(mark), line_ends)
        end = max((mark.position for mark in left), default=0)
        return Kept(end, end) if end else None
    is_only_cut = size < read and sure == max(mark.position for mark in within)
    return Kept(sure, size if is_only_cut else sure)


def what_is_kept(followed: Followed) -> Kept | None:
    """What is left in a file that does not hold everything that was read of it; None if nothing, or nobody can say."""
    reader = followed.reader
    if not followed.is_plain or reader is None:
        return None
    try:
        size = followed.stat().st_size
        if followed.farthest <= size < followed.sure_size and is_intact(followed):
            return Kept(followed.farthest, size)
        left = kept(
            [*followed.trail.powers, *_marks_of_cursors(followed)],
            size,
            lambda mark: has_mark(reader, mark),
            read=followed.farthest,
            line_ends=unpack_marks(followed.trail.line_ends),
        )
        if left is not None and left.likely >= followed.farthest and not is_intact(followed):
            return None  # by marks of an earlier release, made of less, it would be found cut again and again
        return left
    except (OSError, Damaged):
        return None


def _marks_of_cursors(followed: Followed) -> list[Mark]:
    """Where cursors stand: one may have read, and handed on, what was left before the other found the file cut. (Not
    where that may be a header alone, with which other contents begin; below the first power, ends of lines tell more.)
    """
    stand = [(cursor.position, cursor.before) for cursor in followed.cursors()]
    return [mark_of(position, before) for position, before in stand if before and position > FIRST_POWER]


def cut_off(followed: Followed, kept_bytes: int, *, record_id: int) -> Followed | None:
    """What the output has in its hands of lines that the file, which is to be cut to `kept_bytes`, has no more; None if
    there are none. It is gone, and fades like a deleted file: what is not delivered when the process ends is counted.
    """
    under_way = deque(batch for batch in followed.under_way if batch.end > kept_bytes)
    if not under_way:
        return None
    rest = replace(
        followed,
        id=record_id,
        identity=followed.identity + "-cut",  # no file goes on with it; one that is alike is another
        observed=NEVER if followed.source.metrics else followed.observed,  # what was not counted is lost already
        shipped=max(followed.shipped, kept_bytes),  # before that, it is shipped again
        last_time=followed.ship_time,
        is_gone=True,
        descriptor=-1,
        reader=None,
        under_way=under_way,
    )
    if rest.ship is not None:
        rest.ship.lines.jump(under_way[-1].end)
    return rest


def cut_to(followed: Followed, left: Kept) -> None:
    """Goes on in an open file that was cut. Raises OSError.

    The metrics go on where it was likely cut. It is shipped from its beginning, for what is likely left may be new; ids
    make that harmless, and so does what the output knows of the part that surely is left.
    """
    followed.size = followed.sure_size = left.likely
    followed.note_head()
    if left.sure < MARK_BYTES:
        followed.is_beginning_sure = False
    if followed.observed < 0:  # the source feeds no metrics at present
        followed.observed = max(followed.observed, ~left.likely)
    for cursor in followed.cursors():
        cursor.lines.jump(cursor.position)  # how far the end of a line was looked for does not hold any more
    if followed.reader is None or left.likely >= followed.farthest:
        return
    followed.cut_at, followed.asked_marks = end_of_lines(followed.reader, left.sure), -1
    end = end_of_lines(followed.reader, left.likely)
    before = bytes_before(followed.reader, end)
    powers = [mark for mark in followed.trail.powers if mark.position <= left.sure]
    followed.trail = Trail.of_marks(powers, end, before, line_ends=followed.trail.line_ends)
    for cursor in followed.cursors():
        if end < cursor.position < NEVER:
            cursor.jump(end, before)
    followed.tail_start = None
    followed.counted = min(followed.counted, end)
    if followed.ship is not None and followed.ship.is_reading:
        followed.under_way.clear()
        followed.ship_again()


def tail_was_continued(followed: Followed) -> bool:
    """Whether the unterminated line that was read as the last goes on. Then shipping stands at its beginning again.

    To be asked before reading, as long as there is a `tail_start`. (The metrics have counted the line.) Raises
    OSError, Damaged, and Replaced if other bytes stand before the end of that line by now.
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
    if followed.reader.read(end - 1, 1) == b"\n":  # whole lines, behind a line in parts without its end
        followed.tail_start = None
        return False
    for cursor in followed.cursors():
        if cursor.position == end:
            followed.verify(end, cursor.before)  # else what goes on there is another content
    if followed.ship is None:
        followed.tail_start = None
        return True
    followed.ship_from(start)
    return True
