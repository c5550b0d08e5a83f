"""Which offsets of which content are delivered: ranges that merge, and the marks that tell contents apart.

Pure. `ledger` keeps these, `local` asks them; two contents may have one identity (a file that was truncated and begun
again with an equal first line), and only marks say which of them a file is.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterable, Sequence
from operator import itemgetter
from typing import NamedTuple

import msgspec

from shipper.batch import Batch, Content, Mark
from shipper.identity import FIRST_POWER, MOST_LINE_ENDS

Ranges = tuple[tuple[int, int], ...]
REMEMBERED_IDENTITIES = 256
REMEMBERED_RANGES = 1 << 19
"""A range takes about 130 bytes; usually a content has one."""
FIRST_LINE = 1
"""Where two contents of one identity are equal at least: a line is covered if its first byte is."""
_start, _stop = itemgetter(0), itemgetter(1)


class Coverage(NamedTuple):
    """Offset ranges `[start, end)` of one content, ascending and apart, and the marks that say which content it is."""

    ranges: Ranges = ()
    marks: tuple[Mark, ...] = ()

    def plus(self, start: int, end: int, marks: Iterable[Mark], *, holes: Ranges = ()) -> Coverage:
        """The same with `[start, end)`, but for `holes` in it. Of the marks, those at ends of ranges, at powers of two,
        the farthest, and the first of those below the first power, where lines end, stay: few.
        """
        added = _between(start, end, holes)
        if not added:
            return self
        ranges = _with(self.ranges, added)
        known = {mark.position: mark for mark in (*self.marks, *marks)}
        kept = {*sorted(at for at in known if at < FIRST_POWER)[:MOST_LINE_ENDS], max(known, default=0)}
        stays = [mark for at, mark in known.items() if at in kept or at & (at - 1) == 0 or _ends_at(ranges, at)]
        return Coverage(ranges, tuple(sorted(stays)))

    def before(self, end: int) -> Coverage:
        """The same without what lies at `end` or behind it."""
        return Coverage(tuple(clipped(self.ranges, end)), tuple(mark for mark in self.marks if mark.position <= end))


def merged(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """The same offsets as ascending ranges that neither overlap nor touch."""
    result: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((start, end))
    return tuple(result)


def _between(start: int, end: int, holes: Ranges) -> Ranges:
    """What is left of `[start, end)` without holes, which ascend, are apart and lie in it."""
    starts = (start, *(stop for _, stop in holes))
    ends = (*(begin for begin, _ in holes), end)
    return tuple(one for one in zip(starts, ends, strict=True) if one[0] < one[1])


def _with(ranges: Ranges, added: Ranges) -> Ranges:
    """`merged` of both, with a look only at those that the added may touch: there may be one for each third line."""
    first = bisect_left(ranges, added[0][0], key=_stop)
    last = bisect_right(ranges, added[-1][1], key=_start)
    return ranges[:first] + merged(ranges[first:last] + added) + ranges[last:]


def _ends_at(ranges: Ranges, position: int) -> bool:
    """Whether a range ends there."""
    at = bisect_left(ranges, position, key=_stop)
    return at < len(ranges) and ranges[at][1] == position


def holes_of(batch: Batch, unwanted: Collection[int]) -> Ranges:
    """Where the lines at these positions stand, each up to the next line."""
    starts = (batch.start, *batch.offsets[1:])
    ends = (*starts[1:], batch.end)
    return merged((starts[i], ends[i]) for i in unwanted)


class Record(msgspec.Struct, eq=False):
    """One content that the ledger has, or will have once `coverage` is `committed`."""

    key: int
    identity: str
    coverage: Coverage
    committed: Coverage | None
    """None until its first commit."""
    content: Content | None = None
    """The object that last spoke for this content; the same object is not asked for its marks again. Not owned."""


def agreeing(records: Iterable[Record], content: Content) -> list[Record]:
    """The records whose marks `content` has, the one with the farthest mark last.

    A file that is shorter than a record agrees if it has every mark that lies within it; one that is too short for any
    mark does not agree (a line that is there twice can be found and mended, a missing one cannot).
    """
    begins = _Beginning(content)
    found = [record for record in records if begins.as_in(record) and content.has(record.coverage.marks)]
    return sorted(found, key=_farthest)


class _Beginning:
    """How a content begins. Of thousands that have the first line in common, for it is a header, most are told apart by
    what comes next, without a look into the file for each.
    """

    def __init__(self, content: Content) -> None:
        self._content = content
        self._digests: dict[int, Sequence[int] | None] = {}

    def as_in(self, record: Record) -> bool:
        """Whether the content has a record's first mark, and the last of the first kilobyte if it goes so far; or that
        cannot be said so cheaply.
        """
        marks = record.coverage.marks
        if not marks or not self._has(marks[0], if_shorter=False):
            return False
        early = bisect_right(marks, FIRST_POWER, key=_position)
        return early < 2 or self._has(marks[early - 1], if_shorter=True)

    def _has(self, mark: Mark, *, if_shorter: bool) -> bool:
        if mark.position not in self._digests:
            self._digests[mark.position] = self._content.digests_at(mark.position)
        found = self._digests[mark.position]
        return found is None or mark.digest in found or (if_shorter and not found)


def _position(mark: Mark) -> int:
    return mark.position


def is_of(record: Record, content: Content) -> bool:
    """Whether a record is of this content: it has all of its marks, also the last. (Of the content that speaks for the
    record, those that lie within it: it may be read from its beginning again.)
    """
    marks = record.coverage.marks
    if not marks or not content.has(marks):
        return False
    return record.content is content or content.has(marks[-1:]) is True


def equal_until(record: Record, content: Content) -> int:
    """How far a content is known to begin like a record that does not agree with it: at least with its first line,
    which is part of the identity, so it is the same document.
    """
    position = FIRST_LINE
    for mark in record.coverage.marks:
        if not content.has((mark,)):
            break
        position = mark.position
    return position


def clipped(ranges: Ranges, end: int) -> list[tuple[int, int]]:
    """What of the ranges lies before `end`."""
    return [(start, min(stop, end)) for start, stop in ranges if start < end]


def _farthest(record: Record) -> int:
    return record.coverage.marks[-1].position


class Contents:
    """The contents that a ledger has or will have, as far as they were asked for lately; used by one thread.

    What is on its way counts as there: it is never forgotten before it is committed.
    """

    def __init__(self, *, load: Callable[[str], list[Record]], new: Callable[[str], Record]) -> None:
        """`load` gives an identity's committed records, `new` one that is not in the ledger yet."""
        self._load = load
        self._new = new
        self._records: dict[str, list[Record]] = {}
        self._doubts: set[tuple[int, Ranges]] = set()
        self._told: set[tuple[int, Ranges]] = set()

    def covered(self, content: Content) -> Ranges:
        """Offsets of this content that are there: all that its records have, of others what begins equally.

        Where another content shares more with it than the first line, `has_doubt` says so afterwards.
        """
        pieces: list[tuple[int, int]] = []
        begins = _Beginning(content)
        for record in self._of(content.identity):
            begins_equally = begins.as_in(record)
            if begins_equally and is_of(record, content):
                pieces += record.coverage.ranges
                continue
            if record.content is content:
                record.content = None
            shared = equal_until(record, content) if begins_equally else FIRST_LINE
            pieces += clipped(record.coverage.ranges, shared)
            if shared > FIRST_LINE and any(end > shared for _, end in record.coverage.ranges):
                self._doubts.add((record.key, record.coverage.ranges))
        return merged(pieces)

    def has_doubt(self) -> bool:
        """Whether since the last call a content was asked for of which more may be there than `covered` has said."""
        is_new = not self._doubts <= self._told
        self._told |= self._doubts
        self._doubts.clear()
        return is_new

    def forget(self, content: Content, position: int) -> list[tuple[Record, Coverage]]:
        """What this content had from `position` on is no more; returns what is to be committed of it at once."""
        records = self._of(content.identity)
        own = [record for record in records if record.content is content]  # it may have grown behind the cut by now
        least = min(position, FIRST_POWER)  # what begins with the same header alone is another content
        agreed = [record for record in agreeing(records, content) if equal_until(record, content) >= least]
        for record in own or agreed:
            record.coverage = record.coverage.before(position)
            if record.committed is not None:
                record.committed = record.committed.before(position)
        return [(record, record.committed) for record in own or agreed if record.committed is not None]

    def extend(self, content: Content, start: int, end: int, *, holes: Ranges = ()) -> Record:
        """The content's record, with `[start, end)` but for `holes` in its coverage; a new one if none agrees."""
        record = self._record_of(content)
        record.coverage = record.coverage.plus(start, end, content.marks_at(end), holes=holes)
        return record

    def _record_of(self, content: Content) -> Record:
        records = self._of(content.identity)
        for record in records:
            if record.content is content:
                return record
        if found := [record for record in agreeing(records, content) if is_of(record, content)]:
            record = found[-1]
        else:
            record = self._new(content.identity)
            records.append(record)
        record.content = content
        return record

    def _of(self, identity: str) -> list[Record]:
        records = self._records.pop(identity, None)
        if records is None:
            records = self._load(identity)
            while self._are_many() and self._forget_one():
                pass
        self._records[identity] = records  # the last used stands last
        return records

    def _are_many(self) -> bool:
        ranges = sum(len(record.coverage.ranges) for records in self._records.values() for record in records)
        return len(self._records) >= REMEMBERED_IDENTITIES or ranges >= REMEMBERED_RANGES

    def _forget_one(self) -> bool:
        """False if there is none that may be forgotten."""
        for identity, records in self._records.items():
            if all(record.committed is record.coverage for record in records):
                del self._records[identity]
                return True
        return False
