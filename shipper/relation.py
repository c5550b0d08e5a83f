"""What a file that was found is to those that are followed: a copy of one, a copy with more in it, or none of them.

`kinship` decides it for each of them; here those that come into question are asked in order, and the answer that goes
before the others is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from shipper.candidate import Attachment, Candidate, Outcome, stem_of
from shipper.checks import is_intact
from shipper.contents import content_agrees, has_line_after
from shipper.followed import Followed, Replaced
from shipper.kinship import Kinship, kinship_of, shared_bytes


class Live(Protocol):
    """What is followed at present (`register`)."""

    def live(self, identity: str) -> Sequence[Followed]: ...

    def beginning_as(self, beginning: bytes) -> Sequence[Followed]: ...


def relation(candidate: Candidate, live: Live) -> Attachment:
    """What the file is to those that are followed; to be followed itself if it is none of them.

    Raises OSError and Damaged of the file.
    """
    best, equal_until = None, 0
    for other in sorted(_others(candidate, live), key=_rank, reverse=True):
        if best is not None and _is_outdone(other, best, candidate):
            break  # of thousands that have no more than a header in common, each would be looked into
        answer = _answer(other, candidate)
        equal_until = max(equal_until, answer.equal_until)
        if answer.outcome is not Outcome.FOLLOW and (best is None or _evidence(answer) > _evidence(best)):
            best = answer
    return best if best is not None else Attachment(Outcome.FOLLOW, candidate.identity, equal_until=equal_until)


def _others(candidate: Candidate, live: Live) -> list[Followed]:
    """What is followed and may be what the file is, or a copy of it.

    Also what has another identity, although it begins with the same line under the same stem: it is the one that it had
    before the scope was changed, or the redaction of that line.
    """
    beginning, identity = candidate.beginning, candidate.identity
    alike = [other for other in live.live(identity) if other.may_begin_as(beginning)]
    earlier = [other for other in live.beginning_as(beginning) if other.identity != identity and other.tail_start != 0]
    name = candidate.stem if earlier else ""
    return alike + [other for other in earlier if stem_of(other.real_path) == name]


def _answer(other: Followed, candidate: Candidate) -> Attachment:
    """What a file is to one that is followed. Raises OSError and Damaged of the file."""
    was_open = other.is_open
    try:
        if not other.is_gone:
            other.open()
        is_sound = other.is_gone or is_intact(other)
    except (OSError, Replaced):
        is_sound = False
    try:
        return _answer_of_sound(other, candidate) if is_sound else _answer_of_replaced(other, candidate)
    finally:
        if not was_open:
            other.close()


def _answer_of_replaced(other: Followed, candidate: Candidate) -> Attachment:
    is_other = content_agrees(candidate.reader, other.trail.known_marks(), candidate.size) is False
    return Attachment(Outcome.FOLLOW if is_other else Outcome.SUSPECT, other.identity, original=other)


def _answer_of_sound(other: Followed, candidate: Candidate) -> Attachment:
    reader, size, equal_until = candidate.reader, candidate.size, candidate.asked.equal_until
    kind = kinship_of(other, reader, size)
    shared = shared_bytes(other, reader, size, earlier=equal_until)
    if kind is Kinship.OTHER and not shared and equal_until:  # a copy that was cut
        trail = other.trail
        shared = min(equal_until, candidate.left_of(trail.known_marks(), trail.line_ends, trail.position))
    is_settled = kind is Kinship.COPY and not (_is_reading(other) and has_line_after(reader, other.farthest))
    return Attachment(_OUTCOME[kind], other.identity, None, other, is_settled, shared)


_OUTCOME = {
    Kinship.OTHER: Outcome.FOLLOW,
    Kinship.COPY: Outcome.TWIN,
    Kinship.SO_FAR: Outcome.TWIN,
    Kinship.LONGER: Outcome.LONGER,
}


def _is_reading(followed: Followed) -> bool:
    return any(cursor.is_reading for cursor in followed.cursors())


def _rank(followed: Followed) -> tuple[int, bool]:
    """Whose answer goes before another's, as far as that can be known without asking."""
    return followed.farthest, not _is_reading(followed)


def _is_outdone(other: Followed, best: Attachment, candidate: Candidate) -> bool:
    """Whether nothing that `other` and those ranked below it may answer goes before `best`."""
    original = best.original
    if original is None or other.farthest != original.farthest:
        return True
    are_plain = other.is_plain and original.is_plain and candidate.is_plain
    return are_plain and best.outcome is Outcome.TWIN and _rank(other) == _rank(original)


def _evidence(answer: Attachment) -> tuple[int, bool, bool]:
    """By how much an answer goes before another: by how much is known to be equal, then a copy before a longer file."""
    known = answer.original.farthest if answer.original is not None else 0
    return known, answer.is_settled, answer.outcome is Outcome.TWIN
