"""Columns of the fields that the configuration mentions, decoded from JSON objects; nothing else of a line is decoded.

`parse` says which lines are objects; the exporter and `enrich` read the columns.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from operator import itemgetter
from typing import Any, Final

import msgspec
from msgspec.structs import astuple

from shipper.absence import MAX_SEARCHED, MIN_SEARCHED, Absence, can_be_searched
from shipper.batch import MISSING, Column, Columns

Row = Any
"""A struct that was made at run time, one attribute a top-level name."""

DECODE_ERRORS: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

_raw_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_last_byte = itemgetter(-1)
_frame_of_line = itemgetter(0, 1, -1)
_LAST = {ord("}")}
_OBJECT_FRAMES = {(ord("{"), ord('"'), ord("}")), (ord("{"), ord(" "), ord("}"))}


def look_like_objects(lines: Sequence[bytes]) -> bool:
    """Whether there are lines, and each begins and ends as an object that has a field: `{"`, or `{ "`, and `}`.

    Where that holds, no value can run across a line's end (JSON allows no newline in a string, and none of `}` newline
    `{` within a value). So if the lines decode to as many objects as there are lines, each line is one object.
    """
    if not lines:
        return False
    # What lies between two texts begins with the first; comparing takes half the time of looking at two bytes of each.
    least, greatest = min(lines), max(lines)
    if least < b"{ " or greatest >= b"{#":
        return False
    if least >= b'{"':
        return set(map(_last_byte, lines)) == _LAST
    return set(map(_frame_of_line, lines)) <= _OBJECT_FRAMES and all(line[1:-1].strip() for line in lines)


class Layout:
    """The names that are decoded, in an order, and what decodes them."""

    __slots__ = ("_names", "_struct", "decode", "decode_lines", "nothing")

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names or [""]
        self._struct = msgspec.defstruct(
            "Line",
            [(f"f{i}", Any, msgspec.field(name=name, default=MISSING)) for i, name in enumerate(self._names)],
            gc=False,
        )
        decoder = msgspec.json.Decoder(self._struct)
        self.decode: Callable[[bytes], Row] = decoder.decode
        """One line's row. Raises one of DECODE_ERRORS; ValidationError for JSON that is no object."""
        self.decode_lines: Callable[[bytes], list[Row]] = decoder.decode_lines
        """A row for each object in some data, wherever lines end. Raises one of DECODE_ERRORS."""
        self.nothing: Row = self._struct()
        """The row of a line without fields."""

    def row_of(self, value: Mapping[str, Any]) -> Row:
        """The row of an object that was decoded elsewhere."""
        return self._struct(**{f"f{i}": value.get(name, MISSING) for i, name in enumerate(self._names)})

    def pairs(self, rows: Sequence[Row]) -> Iterable[tuple[str, Column]]:
        """Names and their columns; at least one row."""
        return zip(self._names, zip(*map(astuple, rows), strict=True), strict=True)


class Fields:
    """Reads the named fields of JSON objects as columns; a dotted name is a path, or a field that is called so."""

    def __init__(self, names: Collection[str]) -> None:
        self.names = tuple(sorted(names))
        self._tops = sorted({top for name in self.names for top in (name, name.partition(".")[0])})
        self._dotted = [name for name in self.names if "." in name]
        self.layout = Layout(self._tops)
        """Of all names; to be asked for anew each time."""
        self._lean = self.layout
        self._absence: Absence | None = None

    def arrange_as_in(self, lines: Iterable[bytes]) -> None:
        """Learns from lines such as will come. The names that stand in them are decoded in their order: the decoder
        looks for each key where the last one was found, and needs an eighth less time. The others are looked for in
        the bytes of each batch, which takes a sixth of the time that decoding them as absent does.
        """
        met: dict[str, None] = {}
        for line in lines:
            with suppress(*DECODE_ERRORS):
                met.update(dict.fromkeys(_raw_decoder.decode(line)))
        self._arrange([*filter(set(self._tops).__contains__, met)])

    def _arrange(self, usual: Sequence[str]) -> None:
        """`usual`: the names that lines have, in their order."""
        others = [name for name in self._tops if name not in usual]
        self._usual = usual
        self.layout = self._lean = Layout([*usual, *others])
        self._absence = None
        absent = [name for name in others if can_be_searched(name)][:MAX_SEARCHED]
        if len(absent) >= MIN_SEARCHED:
            self._absence = Absence(absent)
            self._lean = Layout([*usual, *(name for name in others if name not in self._absence.names)])

    def layout_for(self, data: bytes) -> Layout:
        """The layout with which all that is asked for in `data` is decoded, and as little else as possible."""
        if self._absence is None:
            return self.layout
        found = self._absence.found_in(data)
        if found is None:
            return self._lean
        if found:
            self._arrange([*self._usual, *found])
        return self.layout

    def columns(self, rows: Sequence[Row], layout: Layout | None = None) -> Columns:
        """By name, one value a row; every name is there, also where there are no rows. `layout`: that of the rows."""
        layout = layout or self.layout
        if not rows:
            return Columns((name, ()) for name in self._tops)
        columns = Columns(layout.pairs(rows))
        if len(columns) < len(self._tops):
            columns.lack([name for name in self._tops if name not in columns], len(rows))
        for name in self._dotted:
            if name.partition(".")[0] not in columns.absent:
                columns[name] = _nested(columns, name)
        return columns


class FieldReader:
    """Reads one field of single lines."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._fields = Fields((name,))

    def __call__(self, lines: Sequence[bytes]) -> Column:
        """A value a line; MISSING where it has none or is no object."""
        rows = []
        for line in lines:
            try:
                rows.append(self._fields.layout.decode(line))
            except DECODE_ERRORS:
                rows.append(self._fields.layout.nothing)
        return self._fields.columns(rows)[self.name]


def _nested(columns: Columns, name: str) -> Column:
    """A dotted name's column: the nested value, else the value of a field that is itself called so."""
    literal = columns[name]
    top, *path = name.split(".")
    if dict not in columns.types(top):
        return literal
    pairs = zip(columns[top], literal, strict=True)
    if len(path) == 1:
        key = path[0]
        return [value.get(key, own) if value.__class__ is dict else own for value, own in pairs]
    return [found if (found := _at_path(value, path)) is not MISSING else own for value, own in pairs]


def _at_path(value: Any, path: Sequence[str]) -> Any:
    for name in path:
        if not isinstance(value, dict):
            return MISSING
        value = value.get(name, MISSING)
    return value
