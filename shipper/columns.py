"""Columns of the fields that the configuration mentions, decoded from JSON objects; nothing else of a line is decoded.

`parse` says which lines are objects; the exporter and `enrich` read the columns.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from operator import itemgetter
from typing import Any, Final

import msgspec
from msgspec.structs import astuple

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
    # What lies between these two begins with the first; comparing takes half the time of looking at two bytes of each.
    if min(lines) >= b'{"' and max(lines) < b"{#":
        return set(map(_last_byte, lines)) == _LAST
    try:
        frames = set(map(_frame_of_line, lines))
    except IndexError:  # a line of less than two bytes
        return False
    return bool(frames) and frames <= _OBJECT_FRAMES and all(line[1:-1].strip() for line in lines)


class Fields:
    """Reads the named fields of JSON objects as columns; a dotted name is a path, or a field that is called so."""

    def __init__(self, names: Collection[str]) -> None:
        self.names = tuple(sorted(names))
        tops = {top for name in self.names for top in (name, name.partition(".")[0])}
        self._dotted = [name for name in self.names if "." in name]
        self._arrange(sorted(tops) or [""])

    def _arrange(self, tops: list[str]) -> None:
        self._tops = tops
        self._struct = msgspec.defstruct(
            "Line",
            [(f"f{i}", Any, msgspec.field(name=top, default=MISSING)) for i, top in enumerate(self._tops)],
            gc=False,
        )
        self._decoder = msgspec.json.Decoder(self._struct)
        self.nothing: Row = self._struct()
        """The row of a line without fields."""

    def arrange_as_in(self, lines: Iterable[bytes]) -> None:
        """Puts the fields into the order in which they stand in lines such as these: the decoder looks for each key
        where the last one was found, and needs an eighth less time. Rows from before give no columns any more.
        """
        met: dict[str, None] = {}
        for line in lines:
            with suppress(*DECODE_ERRORS):
                met.update(dict.fromkeys(_raw_decoder.decode(line)))
        known = dict.fromkeys(self._tops)
        self._arrange(list(dict.fromkeys([*filter(known.__contains__, met), *known])))

    def decode_lines(self, data: bytes) -> list[Row]:
        """A row for each object in `data`, wherever lines end. Raises one of DECODE_ERRORS."""
        return self._decoder.decode_lines(data)

    def decode(self, line: bytes) -> Row:
        """One line's row. Raises one of DECODE_ERRORS; ValidationError for JSON that is no object."""
        return self._decoder.decode(line)

    def row_of(self, value: Mapping[str, Any]) -> Row:
        """The row of an object that was decoded elsewhere."""
        return self._struct(**{f"f{i}": value.get(top, MISSING) for i, top in enumerate(self._tops)})

    def columns(self, rows: Sequence[Row]) -> Columns:
        """By name, one value a row; every name is there, also where there are no rows."""
        values = zip(*map(astuple, rows), strict=True) if rows else [()] * len(self._tops)
        columns = Columns(zip(self._tops, values, strict=True))
        for name in self._dotted:
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
                rows.append(self._fields.decode(line))
            except DECODE_ERRORS:
                rows.append(self._fields.nothing)
        return self._fields.columns(rows)[self.name]


def _nested(columns: Mapping[str, Column], name: str) -> Column:
    """A dotted name's column: the nested value, else the value of a field that is itself called so."""
    literal = columns[name]
    path = name.split(".")
    outer = columns[path[0]]
    if outer.count(MISSING) == len(outer):
        return literal
    return [
        found if (found := _at_path(value, path)) is not MISSING else own
        for value, own in zip(outer, literal, strict=True)
    ]


def _at_path(value: Any, path: Sequence[str]) -> Any:
    for name in path[1:]:
        if not isinstance(value, dict):
            return MISSING
        value = value.get(name, MISSING)
    return value
