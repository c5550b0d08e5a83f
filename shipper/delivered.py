"""What an output with a ledger has of a file already: asked when the file is taken up, and again as more of it is seen.

A ledger is the whole truth about what was delivered: what it has is not sent again, what it lacks is, whatever the
state says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from shipper.batch import Output
from shipper.contents import end_of_lines
from shipper.tail import ByteReader, Damaged

if TYPE_CHECKING:
    from shipper.followed import Followed

Ranges = Sequence[tuple[int, int]]


def ask_ledger(output: Output, followed: Followed) -> None:
    """Sets what of an open file is delivered. Raises OSError, Damaged."""
    if followed.cut_at is not None:
        output.forget(followed, followed.cut_at)
        followed.cut_at = None
    covered = output.covered(followed)
    if covered and followed.reader is not None:
        covered = whole_lines(covered, followed.reader)
    followed.covered = covered
    followed.asked_marks = len(followed.trail.powers)


def ask_again(output: Output, followed: Followed) -> None:
    """Asks again where more marks are known: a file that was short when it was met may be one that the ledger has."""
    if output.has_ledger and len(followed.trail.powers) != followed.asked_marks:
        ask_ledger(output, followed)


def covered_end(covered: Ranges, start: int) -> int:
    """How far offset ranges reach from `start` without a gap."""
    end = start
    for begin, stop in sorted(covered):
        if begin <= end:
            end = max(end, stop)
    return end


def whole_lines(covered: Ranges, reader: ByteReader) -> Ranges:
    """The ranges without the line in which one ends: the ledger has its beginning only, as an unterminated last line
    that was continued, or as the part up to which two contents are equal. (Not without the first line, which is part of
    the identity.)
    """
    lines = []
    for begin, stop in covered:
        end = (end_of_lines(reader, stop) or stop) if _is_within_line(reader, stop) else stop
        if end > begin:
            lines.append((begin, end))
    return lines


def _is_within_line(reader: ByteReader, position: int) -> bool:
    """Whether a line goes on at `position`; False where that cannot be read. Raises OSError."""
    try:
        return reader.read(position - 1, 1) not in (b"", b"\n") and reader.read(position, 1) not in (b"", b"\n")
    except Damaged:
        return False
