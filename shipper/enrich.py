"""Makes documents of a batch: drops, tags, times, our own fields, ids; framed as the output wants them.

The line's bytes stay as they are; ours are spliced in before its closing brace. Only lines in which ours must be merged
with their own, that need a value rewritten, or that are no JSON object go through `document`. Next comes the output.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final

import msgspec
from xxhash import xxh3_64_intdigest, xxh32_intdigest

from shipper.batch import MISSING, Batch, Column, Columns, DeadLetter, Documents, Frame
from shipper.document import Nested, OwnFields, coerced, leaf_names, merge, nested, raw_object, with_own_fields, written
from shipper.expressions import compile_predicate
from shipper.settings import DropSettings, Placement, SourceSettings
from shipper.times import EventTime, IndexPattern, event_time, usual_days

FUTURE_SECONDS: Final = 86_400
TIME_FAILURE: Final = "time_failure"
TIME_IN_FUTURE: Final = "time_in_future"
_ENCODE = msgspec.json.encode
_NEVER_SPLICED = ("shipper", "shipper_fields")
_MOVED_WHERE, _MOVED_FIELDS, _OWN_TIME = 1, 2, 4  # bits of a variant


@dataclass(slots=True)
class Enriched:
    """What became of a batch's lines: `documents.count + dropped + duplicates + len(documents.dead_letters)` in all."""

    documents: Documents
    dropped: int
    duplicates: int
    last_time: str
    """The time that the next line inherits if it has none; '' if none has come yet."""


@dataclass(slots=True)
class _Lines:
    """What is decided about a batch's lines, by position."""

    times: Sequence[str]  # '' where there is none and none to inherit
    days: list[str]  # of `times`, each once
    tags: dict[int, list[str]]
    special: set[int]  # cannot be spliced
    variants: dict[int, int]  # how to splice where a group of ours must move, or the line has its own @timestamp
    left_out: set[int]
    dead: dict[int, str]  # reason
    dropped: int = 0
    duplicates: int = 0


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
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._source = source
        self._tags = [(name, compile_predicate(text)) for name, text in tags.items()]
        self._drops = [(compile_predicate(rule.when), rule.keep) for rule in drop]
        self._host = host
        self._index = index
        self._frame = frame
        self._clock = clock
        self._fields = nested(source.fields.items())
        self._where_names = leaf_names(self._where("", 0))
        self._field_names = leaf_names(self._fields)
        copies = nested((name, None) for name in source.copy)
        self._copy_names = leaf_names(copies)
        self._do_copies_meet_fields = not copies.keys().isdisjoint({"host", "log", "shipper", *self._fields})
        self._tag_texts: dict[tuple[str, ...], bytes] = {}
        self.fields = frozenset(
            {
                *(name for _, predicate in self._tags for name in predicate.fields),
                *(name for predicate, _ in self._drops for name in predicate.fields),
                *source.time,
                *source.copy.values(),
                *source.coerce,
                *self._where_names,
                *self._field_names,
                *self._copy_names,
                *_NEVER_SPLICED,
                "@timestamp",
                "tags",
            }
        )

    def _where(self, path: str, offset: int) -> Nested:
        return {"host": {"name": self._host}, "log": {"file": {"path": path}, "offset": offset}}

    def enrich(
        self,
        batch: Batch,
        *,
        last_time: str,
        covered: Sequence[tuple[int, int]] = (),
        done: Callable[[Documents], None],
    ) -> Enriched:
        """The documents of a batch. `last_time`: what the line before it left to inherit. `covered`: offset ranges that
        the output has already, which are left out and counted as duplicates.
        """
        raws = batch.raw_lines or batch.lines
        sums = [xxh3_64_intdigest(raw) & 0xFFFFFFFF for raw in raws]
        lines = self._decide(batch, sums, last_time, covered)
        pieces = self._pieces(batch, lines, sums)
        if lines.left_out:
            kept: Sequence[int] = [i for i in range(batch.count) if i not in lines.left_out]
            pieces = [pieces[i] for i in kept]
        else:
            kept = range(batch.count)
        body = b"".join(pieces)
        segments = self._segments(lines, kept, pieces, len(body))
        documents = Documents(batch, body, len(pieces), segments, kept, self._dead_letters(batch, lines, sums), done)
        inherited = lines.times[-1] if lines.times else last_time
        return Enriched(documents, lines.dropped, lines.duplicates, inherited)

    # Decisions

    def _decide(self, batch: Batch, sums: Sequence[int], last_time: str, covered: Sequence[tuple[int, int]]) -> _Lines:
        tags: dict[int, list[str]] = {}
        for name, predicate in self._tags:
            for i in predicate(batch.columns, batch.count):
                tags.setdefault(i, []).append(name)
        for i, problems in batch.problems.items():
            tags.setdefault(i, []).extend(problem.tag for problem in problems)
        times, days = self._times(batch, last_time, tags)
        lines = _Lines(times, days, tags, set(batch.problems), {}, set(), {})
        if batch.columns:
            self._find_own_fields(batch, lines)
        self._leave_out_covered(batch, lines, covered)
        self._leave_out_dropped(batch, lines, sums)
        self._leave_out_future(lines)
        return lines

    def _times(self, batch: Batch, last_time: str, tags: dict[int, list[str]]) -> tuple[Sequence[str], list[str]]:
        """Each line's time, with inherited ones tagged; and their days, each once."""
        first = batch.columns.get(self._source.time[0], ()) if self._source.time else ()
        if first and (days := usual_days(first)) is not None:
            return first, days
        columns = [batch.columns[name] for name in self._source.time if batch.columns]
        if batch.runtime_times is not None:
            columns.append(batch.runtime_times)
        times: list[str] = []
        for i in range(batch.count):
            found = _first_time(column[i] for column in columns)
            if found is None:
                tags.setdefault(i, []).append(TIME_FAILURE)
            else:
                last_time = found.text
            times.append(last_time)
        return times, sorted({text[:10] for text in times})

    def _find_own_fields(self, batch: Batch, lines: _Lines) -> None:
        """Finds the lines that carry fields called like ours, and decides how each is made a document."""
        columns = batch.columns
        for name in (*_NEVER_SPLICED, *self._copy_names):
            lines.special.update(_present(columns[name]))
        if self._do_copies_meet_fields:
            lines.special.update(range(batch.count))
        lines.special.update(i for i in _present(columns["tags"]) if i in lines.tags)
        for name, coercion in self._source.coerce.items():
            lines.special.update(
                i for i in _present(columns[name]) if coerced(columns[name][i], coercion) is not MISSING
            )
        for i in _present(own := columns["@timestamp"]):
            if own[i] == lines.times[i]:
                lines.variants[i] = _OWN_TIME
            else:
                lines.special.add(i)
        self._find_collisions(columns, lines, self._where_names, _MOVED_WHERE)
        self._find_collisions(columns, lines, self._field_names, _MOVED_FIELDS)

    def _find_collisions(self, columns: Columns, lines: _Lines, names: Sequence[str], moved: int) -> None:
        """A group of which the line has a value moves; where the line has an object, `document` looks into it."""
        for name in names:
            column = columns[name]
            for i in _present(column):
                if isinstance(column[i], dict):
                    lines.special.add(i)
                else:
                    lines.variants[i] = lines.variants.get(i, 0) | moved

    def _leave_out_covered(self, batch: Batch, lines: _Lines, covered: Sequence[tuple[int, int]]) -> None:
        if not any(start < batch.end and batch.start < end for start, end in covered):
            return
        found = [i for i, at in enumerate(batch.offsets) if any(start <= at < end for start, end in covered)]
        lines.left_out.update(found)
        lines.duplicates = len(found)

    def _leave_out_dropped(self, batch: Batch, lines: _Lines, sums: Sequence[int]) -> None:
        decided: set[int] = set()
        for predicate, keep in self._drops:
            for i in predicate(batch.columns, batch.count):
                if i in decided:
                    continue
                decided.add(i)
                if i not in lines.left_out and not _is_kept(self._id(batch, i, sums), keep):
                    lines.left_out.add(i)
                    lines.dropped += 1

    def _leave_out_future(self, lines: _Lines) -> None:
        limit = datetime.fromtimestamp(self._clock() + FUTURE_SECONDS, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        if not lines.days or lines.days[-1] < limit[:10]:
            return
        for i, text in enumerate(lines.times):
            if text > limit and i not in lines.left_out:
                lines.left_out.add(i)
                lines.dead[i] = TIME_IN_FUTURE

    # Bytes

    def _id(self, batch: Batch, i: int, sums: Sequence[int]) -> str:
        return f"{batch.identity}-{batch.offsets[i]:010d}-{sums[i]:08x}"

    def _pieces(self, batch: Batch, lines: _Lines, sums: Sequence[int]) -> list[bytes]:
        """Each line's framed document; nonsense for those that are left out."""
        path = os.fsencode(batch.path).decode("utf-8", "replace")
        middles = self._tags_and_copies(batch, lines)
        texts = "\n".join(lines.times).encode().split(b"\n")
        if len(lines.days) == 1 and not lines.variants:
            form = self._form(batch.identity, path, lines.days[0], 0)
            pieces = [
                form % (offset, checksum, line[:-1], text, middle, offset)
                for offset, checksum, line, text, middle in zip(
                    batch.offsets, sums, batch.lines, texts, middles, strict=True
                )
            ]
        else:
            pieces = [
                form % (offset, checksum, line[:-1], text, middle, offset)
                for form, offset, checksum, line, text, middle in zip(
                    self._forms(batch.identity, path, lines),
                    batch.offsets,
                    sums,
                    batch.lines,
                    texts,
                    middles,
                    strict=True,
                )
            ]
        undated = (i for i, time in enumerate(lines.times) if not time) if "" in lines.days else ()
        for i in {*lines.special, *undated} - lines.left_out:
            pieces[i] = self._special_piece(batch, lines, i, path, self._id(batch, i, sums))
        return pieces

    def _forms(self, identity: str, path: str, lines: _Lines) -> Iterator[bytes]:
        """Each line's form, where they differ within a batch."""
        forms: dict[tuple[str, int], bytes] = {}
        for i, text in enumerate(lines.times):
            key = (text[:10], lines.variants.get(i, 0))
            form = forms.get(key)
            if form is None:
                form = forms[key] = self._form(identity, path, *key)
            yield form

    def _form(self, identity: str, path: str, day: str, variant: int) -> bytes:
        """A `%` form: offset, checksum, line without its brace, time, tags and copies, offset."""
        frame = self._frame
        head = frame.before_index + self._index.name(day).encode() + frame.before_id + identity.encode()
        marker = 1 << 62  # stands for the offset until the form is made
        where = self._where(path, marker)
        is_where_moved = self._source.placement is Placement.SHIPPER or variant & _MOVED_WHERE
        below, beside = Nested(), Nested()
        merge(below if is_where_moved else beside, where)
        merge(below if variant & _MOVED_FIELDS else beside, self._fields)
        if below:
            merge(beside, {"shipper": below})
        text = b"," + _ENCODE(beside)[1:-1].replace(b"%", b"%%")
        before, after = text.split(str(marker).encode())
        return b"%b-%%010d-%%08x%b%%b%b%%b%b%%d%b}%b" % (
            head.replace(b"%", b"%%"),
            frame.before_source.replace(b"%", b"%%"),
            b"%.0b" if variant & _OWN_TIME else b',"@timestamp":"%b"',
            before,
            after,
            frame.end,
        )

    def _tags_and_copies(self, batch: Batch, lines: _Lines) -> list[bytes]:
        middles = [b""] * batch.count
        for i, names in lines.tags.items():
            key = tuple(names)
            text = self._tag_texts.get(key)
            if text is None:
                text = self._tag_texts[key] = b',"tags":' + _ENCODE(names)
            middles[i] = text
        if self._source.copy and batch.columns:
            for i, copies in enumerate(self._copies(batch)):
                if copies:
                    middles[i] += b"," + _ENCODE(copies)[1:-1]
        return middles

    def _copies(self, batch: Batch) -> list[Nested]:
        columns = [batch.columns[name] for name in self._source.copy.values()]
        names = list(self._source.copy)
        return [
            nested((name, value) for name, value in zip(names, values, strict=True) if value is not MISSING)
            for values in zip(*columns, strict=True)
        ]

    def _special_piece(self, batch: Batch, lines: _Lines, i: int, path: str, line_id: str) -> bytes:
        frame = self._frame
        index = self._index.name(lines.times[i][:10])
        if any(problem.tag != "encoding_failure" for problem in batch.problems.get(i, ())):
            document = {"message": msgspec.Raw(_ENCODE(batch.lines[i].decode("utf-8", "replace")))}
        else:
            document = raw_object(batch.lines[i])
            self._coerce(document, batch, i)
        where = self._where(path, batch.offsets[i])
        is_ecs = self._source.placement is Placement.ECS
        groups = [where] if is_ecs else []
        if self._source.copy and batch.columns:
            values = ((name, batch.columns[own][i]) for name, own in self._source.copy.items())
            groups.append(nested((name, value) for name, value in values if value is not MISSING))
        groups.append(self._fields)
        own = OwnFields(lines.times[i] or None, lines.tags.get(i, ()), groups, {} if is_ecs else where)
        with_own_fields(document, own)
        parts = (frame.before_index, index.encode(), frame.before_id, line_id.encode(), frame.before_source)
        return b"".join((*parts, written(document), frame.end))

    def _coerce(self, document: dict[str, msgspec.Raw], batch: Batch, i: int) -> None:
        for name, coercion in self._source.coerce.items():
            value = coerced(batch.columns[name][i], coercion)
            if value is not MISSING:
                _set(document, name, value)

    def _segments(
        self, lines: _Lines, kept: Sequence[int], pieces: Sequence[bytes], size: int
    ) -> list[tuple[str, int, int]]:
        """Which part of the body goes to which index."""
        if not kept:
            return []
        if len(lines.days) == 1:
            return [(self._index.name(lines.days[0]), 0, size)]
        starts: list[tuple[str, int]] = []
        position = 0
        for i, piece in zip(kept, pieces, strict=True):
            index = self._index.name(lines.times[i][:10])
            if not starts or starts[-1][0] != index:
                starts.append((index, position))
            position += len(piece)
        return [(index, start, end) for (index, start), (_, end) in pairwise([*starts, ("", position)])]

    def _dead_letters(self, batch: Batch, lines: _Lines, sums: Sequence[int]) -> list[DeadLetter]:
        return [
            DeadLetter(
                id=self._id(batch, i, sums),
                index=self._index.name(lines.times[i][:10]),
                source=batch.source,
                file=batch.path,
                offset=batch.offsets[i],
                reason=reason,
                line=batch.lines[i],
            )
            for i, reason in lines.dead.items()
        ]


def _present(column: Column) -> Sequence[int]:
    """The positions of lines that have the field; the usual answer, none, costs a look at each pointer."""
    if column.count(MISSING) == len(column):
        return ()
    return [i for i, value in enumerate(column) if value is not MISSING]


def _first_time(values: Any) -> EventTime | None:
    for value in values:
        if value is not MISSING and (found := event_time(value)) is not None:
            return found
    return None


def _is_kept(line_id: str, share: float) -> bool:
    """Whether a line that a drop rule found is among the share that is kept: the same lines every time."""
    return share > 0 and xxh32_intdigest(line_id.encode()) < share * (1 << 32)


def _set(document: dict[str, msgspec.Raw], name: str, value: Any) -> None:
    """Rewrites a field, at the top or along its dotted name."""
    top, _, rest = name.partition(".")
    if name in document or not rest:
        document[name] = msgspec.Raw(_ENCODE(value))
    elif top in document:
        inner = raw_object(bytes(document[top]))
        _set(inner, rest, value)
        document[top] = msgspec.Raw(written(inner))
