"""Documents without decoding: the line's bytes as they are, ours spliced in before the closing brace.

A form is a `%` template of what is around a line. It is made once for all lines of a batch that have the same day and
the same collisions; most batches are one form, repeated and filled at once. `enrich` decides, `document` does the rest.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from shipper.batch import MISSING, Batch, Column, Frame
from shipper.document import Nested, merge, nested, paths
from shipper.settings import Placement, SourceSettings
from shipper.times import IndexPattern

WHERE_MOVED: Final = 1
"""Bits of a variant: how a document differs from the usual one."""
FIELDS_MOVED: Final = 2
COPIES_MOVED: Final = 4
NO_TIME: Final = 8
"""No time is added: the line has it already, or there is none."""
FIRST_COPY: Final = 4
"""From this bit on: the copy of that number is absent."""

OFFSET_DIGITS: Final = 10
"""At least so many, with zeros before them, has the offset in an id."""
_FORMS_KEPT = 64
_SLOT = re.compile(rb"\0(\d+)\0")
_PERCENT = b"%%"
_FILLED = b"%b"
_SWALLOWED = b"%.0b"
_PLACE = re.compile(b"|".join(map(re.escape, (_PERCENT, _FILLED, _SWALLOWED))))
_encode = msgspec.json.encode
_encode_lines = msgspec.json.Encoder().encode_lines


class Form:
    """A `%` template of a document; the same cut at its places, for joining, which is faster than formatting.

    `pieces` has None at each place; `slots` says which value goes there.
    """

    __slots__ = ("pieces", "slots", "template")

    def __init__(self, template: bytes) -> None:
        self.template = template
        self.pieces: list[bytes | None] = []
        self.slots: list[tuple[int, int]] = []
        """Of each place: its index in `pieces`, and the number of its value in a row of `Splicer.values`."""
        start, literal, number = 0, b"", 0
        for place in _PLACE.finditer(template):
            literal += template[start : place.start()]
            start = place.end()
            if place[0] == _PERCENT:
                literal += b"%"
                continue
            if place[0] == _FILLED:
                self.slots.append((len(self.pieces) + 1, number))
                self.pieces += [literal, None]
                literal = b""
            number += 1
        self.pieces.append(literal + template[start:])


class Splicer:
    """Makes the documents of one source's lines."""

    def __init__(self, *, source: SourceSettings, host: str, index: IndexPattern, frame: Frame) -> None:
        self._host = host
        self._index = index
        self._frame = frame
        self._is_where_below = source.placement is Placement.SHIPPER
        self._fields = nested(source.fields.items())
        self.copy_names = _in_order_of_writing(source.copy, self.where("", None))
        self._copied = tuple(source.copy[name] for name in self.copy_names)
        self._forms: dict[tuple[str, str, str, int, int], Form] = {}

    def where(self, path: str, offset: Any) -> Nested:
        """The group of fields that says where a line stands."""
        # The offset comes first: its place among the values to fill in must be the same in all forms.
        return {"log": {"offset": offset, "file": {"path": shown_path(path)}}, "host": {"name": self._host}}

    def copies(self, batch: Batch, i: int) -> Nested:
        """What line `i` has of the fields to copy."""
        values = [batch.columns[name][i] for name in self._copied]
        pairs = zip(self.copy_names, values, strict=True)
        return nested((name, value) for name, value in pairs if value is not MISSING)

    @property
    def fields(self) -> Nested:
        """What is added to every document."""
        return self._fields

    def absent_copies(self, batch: Batch) -> dict[int, int]:
        """The bits of the variants of lines that lack a field to copy."""
        bits: dict[int, int] = {}
        for number, name in enumerate(self._copied):
            column = batch.columns[name]
            if MISSING in column:
                for i, value in enumerate(column):
                    if value is MISSING:
                        bits[i] = bits.get(i, 0) | 1 << FIRST_COPY + number
        return bits

    def values(
        self,
        batch: Batch,
        *,
        bodies: Sequence[bytes],
        sums: Sequence[bytes],
        times: Sequence[bytes],
        tags: Sequence[bytes],
    ) -> list[Sequence[Any]]:
        """The columns that fill a form. `bodies`: objects without closing brace; `sums`: 8 hex digits each;
        `times` as bytes."""
        offsets = _encode(batch.offsets)[1:-1].split(b",")
        padded = offsets if _zeros(batch.offsets) >= 0 else [text.rjust(OFFSET_DIGITS, b"0") for text in offsets]
        copies = [_encoded_each(batch.columns[name]) for name in self._copied]
        return [padded, sums, bodies, times, tags, offsets, *copies]

    def form(self, batch: Batch, day: str, variant: int) -> Form:
        """The form of documents of `day` ('' for none), to be filled with a row of `values`."""
        key = (batch.identity, batch.path, day, variant, max(_zeros(batch.offsets), 0))
        form = self._forms.get(key)
        if form is None:
            if len(self._forms) >= _FORMS_KEPT:
                self._forms.clear()
            form = self._forms[key] = Form(self._template(*key))
        return form

    def forms(self, batch: Batch, days: Sequence[str], variants: Sequence[int]) -> list[Form]:
        """The form of each line."""
        if len(set(days)) == 1:
            of = {variant: self.form(batch, days[0], variant) for variant in set(variants)}
            return [of[variant] for variant in variants]
        keys = list(zip(days, variants, strict=True))
        forms = {key: self.form(batch, *key) for key in set(keys)}
        return [forms[key] for key in keys]

    def _template(self, identity: str, path: str, day: str, variant: int, zeros: int) -> bytes:
        frame = self._frame
        ours = _encode(self._tree(path, variant))[1:-1].replace(b"%", b"%%")
        parts = (
            (frame.before_index + self._index.name(day).encode() + frame.before_id).replace(b"%", b"%%"),
            identity.encode(),
            b"-%b%%b-%%b" % (b"0" * zeros),
            frame.before_source.replace(b"%", b"%%"),
            b"%b",
            _SWALLOWED if variant & NO_TIME or not day else b',"@timestamp":"%b"',
            b"%b,",
            _with_slots(ours, 1 + len(self._copied)),
            b"}" + frame.end.replace(b"%", b"%%"),
        )
        return b"".join(parts)

    def _tree(self, path: str, variant: int) -> Nested:
        """Our fields, with slots for what differs from line to line."""
        beside, below = Nested(), Nested()
        is_where_below = self._is_where_below or bool(variant & WHERE_MOVED)
        copies = nested(
            (name, _slot(number + 1))
            for number, name in enumerate(self.copy_names)
            if not variant & 1 << FIRST_COPY + number
        )
        merge(below if is_where_below else beside, self.where(path, _slot(0)))
        merge(below if variant & COPIES_MOVED else beside, copies)
        merge(below if variant & FIELDS_MOVED else beside, self._fields)
        if not below:
            return beside
        return {"shipper": below, **beside} if is_where_below else {**beside, "shipper": below}


def shown_path(path: str) -> str:
    """A path as text; bytes of it that are no UTF-8 become U+FFFD."""
    return os.fsencode(path).decode("utf-8", "replace")


def _in_order_of_writing(names: Iterable[str], where: Nested) -> list[str]:
    """Names in the order in which their values are written, which is the same however our groups are placed."""
    tree = Nested()
    merge(tree, where)
    merge(tree, nested((name, None) for name in names))
    order = [".".join(path) for path in paths(tree)]
    return sorted(names, key=order.index)


def _slot(number: int) -> msgspec.Raw:
    """A placeholder for a value that is not known yet (JSON that we have encoded holds no other NUL)."""
    return msgspec.Raw(b"\0%d\0" % number)


def _with_slots(text: bytes, count: int) -> bytes:
    """`text` with a `%` place for each slot, in order; a slot that it does not have swallows its value."""
    pieces = _SLOT.split(text)
    found, result, expected = pieces[1::2], [pieces[0]], 0
    for digits, piece in zip(found, pieces[2::2], strict=True):
        number = int(digits)
        result += [_SWALLOWED] * (number - expected)
        result += [b"%b", piece]
        expected = number + 1
    return b"".join((*result, _SWALLOWED * (count - expected)))


def _zeros(offsets: Sequence[int]) -> int:
    """How many zeros an id puts before each of these ascending offsets; -1 where that differs from one to another."""
    digits = len(str(offsets[0]))
    return max(0, OFFSET_DIGITS - digits) if digits == len(str(offsets[-1])) else -1


def _encoded_each(column: Column) -> list[bytes]:
    """Each value as JSON; null for what is missing."""
    if MISSING in column:
        column = [None if value is MISSING else value for value in column]
    encoded = _encode_lines(column).split(b"\n")
    encoded.pop()
    return encoded


class Filling:
    """The values that fill forms, for the lines of a batch that are kept."""

    def __init__(self, values: Sequence[Sequence[Any]], *, kept: Sequence[int] | None) -> None:
        self._values = values if kept is None else [[column[i] for i in kept] for column in values]
        self._count = len(self._values[0])

    def by_one(self, form: Form) -> bytes:
        """All lines' documents by one form: its pieces, once a line, joined (four fifths of the time of a template)."""
        pieces, width = form.pieces * self._count, len(form.pieces)
        for place, number in form.slots:
            pieces[place::width] = self._values[number]
        return b"".join(pieces)  # type: ignore[arg-type]  # no None is left

    def by_each(self, forms: Sequence[Form]) -> Filled:
        """All lines' documents, each by its own form."""
        first = forms[0]
        if any(form.slots != first.slots for form in set(forms)):
            return self._by_template(forms)
        pieces: list[Any] = []
        for form in forms:
            pieces += form.pieces
        width = len(first.pieces)
        for place, number in first.slots:
            pieces[place::width] = self._values[number]
        return Filled(pieces, width)

    def _by_template(self, forms: Sequence[Form]) -> Filled:
        """The same where values stand at several places, or not in all."""
        rows = zip(*self._values, strict=True)
        return Filled([form.template % row for form, row in zip(forms, rows, strict=True)], 1)


class Filled:
    """The pieces of documents, so many of each line behind those of the one before."""

    def __init__(self, pieces: list[bytes], width: int) -> None:
        self._pieces = pieces
        self._width = width

    def replace(self, row: int, piece: bytes) -> None:
        """Puts a finished document where one was."""
        width = self._width
        self._pieces[row * width : (row + 1) * width] = [piece] + [b""] * (width - 1)

    def documents(self, start: int, end: int) -> bytes:
        """Those of some consecutive lines."""
        return b"".join(self._pieces[start * self._width : end * self._width])
