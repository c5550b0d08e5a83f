"""Makes documents of a batch: drops, tags, times, our own fields, ids; framed as the output wants them.

Here is decided what each line needs. Most lines are spliced (`splice`); only those in which ours must be merged with
their own, or that need a value rewritten, go through `document`. Next comes the output.
"""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Final, Protocol

import msgspec
from xxhash import xxh32_intdigest

from shipper.batch import MISSING, Batch, Column, DeadLetter, Documents, Frame, Problem
from shipper.document import (
    TIME_FAILURE,
    OwnFields,
    coerced,
    needs_coercion,
    paths,
    raw_object,
    rewrite,
    with_own_fields,
    written,
)
from shipper.expressions import FUNCTIONS, Function, compile_predicate
from shipper.identity import checksums
from shipper.oddlines import BAD_ENCODING
from shipper.parse import TAGS
from shipper.settings import DropSettings, Placement, SourceSettings
from shipper.splice import COPIES_MOVED, FIELDS_MOVED, NO_TIME, WHERE_MOVED, Filling, Splicer
from shipper.tagmarks import TagMarks
from shipper.times import IndexPattern, first_times, given_times, usual_times

FUTURE_SECONDS: Final = 86_400
TIME_IN_FUTURE: Final = "time_in_future"
_ENCODE = msgspec.json.encode
_WHERE = ("host", "host.name", "log", "log.file", "log.file.path", "log.offset")
_MOVED = WHERE_MOVED | FIELDS_MOVED | COPIES_MOVED
_without_brace = itemgetter(slice(None, -1))
_stop = itemgetter(1)


class Choice(Protocol):
    """Which lines are wanted at all, where not all are (`replay`)."""

    @property
    def fields(self) -> Collection[str]:
        """The columns that it needs."""

    def unwanted(self, batch: Batch, times: Sequence[str]) -> Collection[int]:
        """The positions of lines that are left out; `times` has the time of each, '' where there is none."""


@dataclass(slots=True)
class Enriched:
    """What became of a batch's lines: each is a document, or a dead letter, or counted by one of these numbers."""

    documents: Documents
    dropped: int
    duplicates: int
    last_time: str
    """The time that the next line inherits if it has none; '' if none has come yet."""
    unwanted: int = 0
    """Left out by the choice."""


@dataclass(slots=True)
class _Lines:
    """What is decided about a batch's lines, by position."""

    sums: list[bytes]
    marks: list[int]  # which tags, as bits
    times: Sequence[str]  # '' where there is none and none to inherit
    stamps: Sequence[bytes]  # the same as bytes
    days: list[str]  # of `times`, each once
    special: set[int] = field(default_factory=set)  # cannot be spliced
    variants: dict[int, int] = field(default_factory=dict)  # how to splice where it is not as usual
    left_out: set[int] = field(default_factory=set)
    dead: dict[int, str] = field(default_factory=dict)  # reason
    dropped: int = 0
    duplicates: int = 0
    unwanted: Collection[int] = ()


class Enricher:
    """Enriches one source's batches. Has no state between batches; the time that lines inherit is handed in and out."""

    def __init__(
        self,
        *,
        source: SourceSettings,
        tags: dict[str, str],
        drop: Sequence[DropSettings],
        host: str,
        index: IndexPattern,
        frame: Frame,
        functions: Mapping[str, Function] = FUNCTIONS,
        clock: Callable[[], float] = time.time,
        choice: Choice | None = None,
    ) -> None:
        self._source = source
        self._choice = choice
        self._tags = TagMarks([*tags, *TAGS, TIME_FAILURE])
        compiled = partial(compile_predicate, functions=functions)
        self._predicates = [(self._tags.bit(name), compiled(text)) for name, text in tags.items()]
        self._drops = [(compiled(rule.when), rule.keep) for rule in drop]
        self._index = index
        self._frame = frame
        self._clock = clock
        self._splicer = Splicer(source=source, host=host, index=index, frame=frame)
        self._is_below = source.placement is Placement.SHIPPER
        taken = (
            *((WHERE_MOVED, name, "") for name in (() if self._is_below else _WHERE)),
            *((FIELDS_MOVED, name, "") for path in paths(self._splicer.fields) for name in _with_outer(path)),
            *((COPIES_MOVED, name, own) for new, own in source.copy.items() for name in _with_outer(new.split("."))),
        )
        self._taken = tuple(dict.fromkeys(taken))
        """Which of our groups moves, the name in a line that moves it, and a field that must be there too (or "")."""
        self._moved_by_message = 0
        for moved, name, _ in self._taken:
            if name.split(".")[0] == "message":
                self._moved_by_message |= moved
        self.fields = frozenset(
            {
                *(name for _, predicate in self._predicates for name in predicate.fields),
                *(name for predicate, _ in self._drops for name in predicate.fields),
                *source.time,
                *source.copy.values(),
                *source.coerce,
                *(name for _, name, _ in self._taken),
                *(choice.fields if choice is not None else ()),
                "shipper",
                "@timestamp",
                "tags",
            }
        )
        """The fields that a batch must have columns of."""

    def enrich(
        self,
        batch: Batch,
        *,
        last_time: str,
        covered: Sequence[tuple[int, int]] = (),
        done: Callable[[Documents], None],
    ) -> Enriched:
        """The documents of a batch. `last_time`: what the line before it left to inherit. `covered`: offset ranges,
        ascending and apart, that the output has already, which are left out and counted as duplicates.
        """
        if not batch.count:
            return Enriched(Documents(batch, b"", 0, [], [], [], done), 0, 0, last_time)
        lines = self._decide(batch, last_time, covered)
        kept: Sequence[int] = range(batch.count)
        if lines.left_out:
            kept = [i for i in kept if i not in lines.left_out]
        body, segments = self._body(batch, lines, kept)
        letters = [self._dead_letter(batch, lines, i, reason) for i, reason in lines.dead.items()]
        documents = Documents(batch, body, len(kept), segments, kept, letters, done, unwanted=lines.unwanted)
        return Enriched(documents, lines.dropped, lines.duplicates, lines.times[-1], len(lines.unwanted))

    # Decisions

    def _decide(self, batch: Batch, last_time: str, covered: Sequence[tuple[int, int]]) -> _Lines:
        marks = [0] * batch.count
        for bit, predicate in self._predicates:
            for i in predicate(batch.columns, batch.count):
                marks[i] |= bit
        for i, problems in batch.problems.items():
            for problem in problems:
                marks[i] |= self._tags.bit(problem.tag)
        times, stamps, days = self._times(batch, last_time, marks)
        sums = checksums(batch.raw_lines or batch.lines)
        for i, redacted in batch.checksums.items():
            sums[i] = b"%08x" % redacted
        lines = _Lines(sums, marks, times, stamps, days)
        self._find_own_fields(batch, lines)
        if self._choice is not None:
            lines.unwanted = self._choice.unwanted(batch, times)
            lines.left_out.update(lines.unwanted)
        self._leave_out_covered(batch, lines, covered)
        self._leave_out_dropped(batch, lines)
        self._leave_out_future(lines)
        return lines

    def _times(
        self, batch: Batch, last_time: str, marks: list[int]
    ) -> tuple[Sequence[str], Sequence[bytes], list[str]]:
        """Each line's time, with inherited ones marked; the same as bytes; and their days, each once."""
        columns = [batch.columns[name] for name in self._source.time]
        if batch.runtime_times is not None:
            columns.append(batch.runtime_times)
        if columns and (usual := usual_times(columns[0])) is not None:
            return columns[0], *usual
        if columns and (given := given_times(columns)) is not None:
            return self._inherited(columns[0], *given, last_time, marks)
        times = first_times(columns, batch.count)
        if "" in times:
            failure = self._tags.bit(TIME_FAILURE)
            for i, text in enumerate(times):
                if text:
                    last_time = text
                else:
                    times[i] = last_time
                    marks[i] |= failure
        return times, "\n".join(times).encode().split(b"\n"), sorted({text[:10] for text in times})

    def _inherited(
        self, column: Column, given: Iterable[bytes], days: Iterable[str], last_time: str, marks: list[int]
    ) -> tuple[Sequence[str], Sequence[bytes], list[str]]:
        """As `_times`, of a column in which only `given` are times, and need no conversion."""
        failure = self._tags.bit(TIME_FAILURE)
        times, stamps = [], []
        found = {*days, last_time[:10]} if column[0] is MISSING else set(days)
        last_stamp, following = last_time.encode(), iter(given)
        for i, text in enumerate(column):
            if text is MISSING:
                marks[i] |= failure
            else:
                last_time, last_stamp = text, next(following)
            times.append(last_time)
            stamps.append(last_stamp)
        return times, stamps, sorted(found)

    def _find_own_fields(self, batch: Batch, lines: _Lines) -> None:
        """Finds the lines that carry fields called like ours, and decides how each is made a document.

        (A field whose own name has dots and goes on behind one of ours, `service.name` beside our `service`, is not
        looked for: that would cost every line more than all the rest of it.)
        """
        columns, variants, special = batch.columns, self._splicer.absent_copies(batch), lines.special
        lines.variants = variants
        for i, problems in batch.problems.items():
            if _is_text(problems):
                if self._moved_by_message:
                    variants[i] = variants.get(i, 0) | self._moved_by_message
            elif not batch.lines[i][1:-1].strip():  # an empty object, behind whose brace no comma can stand
                special.add(i)
        for moved, name, needed in self._taken:
            if name in columns.absent:
                continue
            column = columns[name]
            for i in _present(column):
                if isinstance(column[i], dict):  # ours may fit in: `document` looks into it
                    special.add(i)
                elif not needed or columns[needed][i] is not MISSING:
                    variants[i] = variants.get(i, 0) | moved
        special.update(i for i in _present(columns["shipper"]) if self._is_below or variants.get(i, 0) & _MOVED)
        special.update(i for i in _present(columns["tags"]) if lines.marks[i])
        for i in _present(own := columns["@timestamp"]):
            if own[i] == lines.times[i] or not lines.times[i]:
                variants[i] = variants.get(i, 0) | NO_TIME
            else:
                special.add(i)
        for name, coercion in self._source.coerce.items():
            column = columns[name]
            special.update(i for i in _present(column) if needs_coercion(column[i], coercion))

    def _leave_out_covered(self, batch: Batch, lines: _Lines, covered: Sequence[tuple[int, int]]) -> None:
        before = len(lines.left_out)
        for at in range(bisect_right(covered, batch.start, key=_stop), len(covered)):
            start, stop = covered[at]
            if start >= batch.end:
                break
            lines.left_out.update(range(bisect_left(batch.offsets, start), bisect_left(batch.offsets, stop)))
        lines.duplicates = len(lines.left_out) - before

    def _leave_out_dropped(self, batch: Batch, lines: _Lines) -> None:
        decided: set[int] = set()
        for predicate, keep in self._drops:
            for i in predicate(batch.columns, batch.count):
                if i in decided:
                    continue
                decided.add(i)
                if i not in lines.left_out and not _is_kept(_id(batch, lines, i), keep):
                    lines.left_out.add(i)
                    lines.dropped += 1

    def _leave_out_future(self, lines: _Lines) -> None:
        limit = datetime.fromtimestamp(self._clock() + FUTURE_SECONDS, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        if lines.days[-1] < limit[:10]:
            return
        for i, text in enumerate(lines.times):
            if text > limit and i not in lines.left_out:
                lines.left_out.add(i)
                lines.dead[i] = TIME_IN_FUTURE

    # Bytes

    def _body(self, batch: Batch, lines: _Lines, kept: Sequence[int]) -> tuple[bytes, list[tuple[str, int, int]]]:
        """The framed documents of the lines that are kept; and index, start and end of each part for one index."""
        if not kept:
            return b"", []
        splicer = self._splicer
        values = splicer.values(
            batch, bodies=_bodies(batch), sums=lines.sums, times=lines.stamps, tags=self._tags.texts(lines.marks)
        )
        filling = Filling(values, kept=kept if lines.left_out else None)
        if len(lines.days) == 1 and not lines.variants and not lines.special:
            body = filling.by_one(splicer.form(batch, lines.days[0], 0))
            return body, [(self._index.name(lines.days[0]), 0, len(body))]
        days = lines.days * len(kept) if len(lines.days) == 1 else [lines.times[i][:10] for i in kept]
        filled = filling.by_each(splicer.forms(batch, days, [lines.variants.get(i, 0) for i in kept]))
        for row, i in enumerate(kept):
            if i in lines.special:
                filled.replace(row, self._special_piece(batch, lines, i))
        parts, segments, position = [], [], 0
        for day, start, end in _runs(days):
            parts.append(filled.documents(start, end))
            segments.append((self._index.name(day), position, position := position + len(parts[-1])))
        return b"".join(parts), segments

    def _special_piece(self, batch: Batch, lines: _Lines, i: int) -> bytes:
        """A line's framed document where ours must go into what is its own."""
        line = raw_object(batch.lines[i])
        for name, coercion in self._source.coerce.items():
            rewrite(line, name, partial(coerced, coercion=coercion))
        splicer = self._splicer
        where = splicer.where(batch.path, batch.offsets[i])
        below, beside = (where, {}) if self._is_below else ({}, where)
        groups = [group for group in (beside, splicer.copies(batch, i), splicer.fields) if group]
        own = OwnFields(lines.times[i], self._tags.names(lines.marks[i]), groups, below)
        document = with_own_fields(line, own)
        frame = self._frame
        index, line_id = self._index.name(lines.times[i][:10]).encode(), _id(batch, lines, i).encode()
        parts = (frame.before_index, index, frame.before_id, line_id, frame.before_source, written(document), frame.end)
        return b"".join(parts)

    def _dead_letter(self, batch: Batch, lines: _Lines, i: int, reason: str) -> DeadLetter:
        return DeadLetter(
            id=_id(batch, lines, i),
            index=self._index.name(lines.times[i][:10]),
            source=batch.source,
            file=batch.path,
            offset=batch.offsets[i],
            reason=reason,
            line=batch.lines[i],
            timestamp=lines.times[i] if lines.marks[i] & self._tags.bit(TIME_FAILURE) else "",
        )


def _with_outer(path: Sequence[str]) -> list[str]:
    """The dotted name of a path and those of the objects that it leads through."""
    return [".".join(path[:length]) for length in range(1, len(path) + 1)]


def _present(column: Column) -> Sequence[int]:
    """The positions of lines that have the field. Usually none has, which `count` tells without a loop."""
    if column.count(MISSING) == len(column):
        return ()
    return [i for i, value in enumerate(column) if value is not MISSING]


def _runs(days: Sequence[str]) -> Iterator[tuple[str, int, int]]:
    """Where the same day stands without interruption: day, start, end."""
    start = 0
    if len(set(days)) == 1:
        yield days[0], 0, len(days)
        return
    for day, same in groupby(days):
        end = start + sum(1 for _ in same)
        yield day, start, end
        start = end


def _is_text(problems: Iterable[Problem]) -> bool:
    """Whether a line with these problems is shipped as text."""
    return any(problem is not BAD_ENCODING for problem in problems)


def _bodies(batch: Batch) -> list[bytes]:
    """The lines as objects without their closing brace."""
    bodies = list(map(_without_brace, batch.lines))
    for i, problems in batch.problems.items():
        if _is_text(problems):
            bodies[i] = b'{"message":' + _ENCODE(batch.lines[i].decode("utf-8", "replace"))
    return bodies


def _id(batch: Batch, lines: _Lines, i: int) -> str:
    return f"{batch.identity}-{batch.offsets[i]:010d}-{lines.sums[i].decode()}"


def _is_kept(line_id: str, share: float) -> bool:
    """Whether a line that a drop rule found is among the share that is kept: the same lines every time."""
    return share > 0 and xxh32_intdigest(line_id.encode()) < share * (1 << 32)
