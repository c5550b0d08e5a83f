"""Turns chunks of whole lines into batches: lines, offsets, and columns of the fields that the configuration mentions.

A batch of ordinary JSON objects is decoded at once; where a cheap guard finds anything unusual, it goes line by line,
with the same result. What is no JSON object becomes a `Problem` of its line, never an error. Next come the exporter and
`enrich`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Sequence
from itertools import accumulate
from operator import attrgetter, itemgetter
from typing import Any, Final

import msgspec

from shipper.batch import MISSING, Batch, Column, Content, Problem
from shipper.joining import Part, cri_part, docker_part, join
from shipper.settings import Format
from shipper.tail import Chunk

MAX_DEPTH: Final = 100
BOM: Final = b"\xef\xbb\xbf"

NOT_JSON = Problem("parse_failure", "not_json")
NOT_OBJECT = Problem("parse_failure", "not_object")
BAD_FRAME = Problem("parse_failure", "bad_frame")
TOO_DEEP = Problem("too_deep", "too_deep")
TOO_LONG = Problem("line_too_long", "too_long")
BAD_ENCODING = Problem("encoding_failure", "encoding")

_frame_of_line = itemgetter(0, 1, -1)
_USUAL_FRAME = {(ord("{"), ord('"'), ord("}"))}
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"')
_DECODE_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class Fields:
    """Reads the named fields of JSON objects as columns; a dotted name is a path, or a field that is called so."""

    def __init__(self, names: Collection[str]) -> None:
        self.names = tuple(sorted(names))
        tops = sorted({top for name in self.names for top in (name, name.partition(".")[0])}) or [""]
        self._tops = tops
        self._struct = msgspec.defstruct(
            "Line",
            [(f"f{i}", Any, msgspec.field(name=top, default=MISSING)) for i, top in enumerate(tops)],
            gc=False,
        )
        self._values = attrgetter(*(f"f{i}" for i in range(len(tops))))
        self._decoder = msgspec.json.Decoder(self._struct)
        self._nothing = self._struct()
        self._dotted = [name for name in self.names if "." in name]

    def decode_lines(self, data: bytes) -> list[Any]:
        """A row for each object in `data`. Raises one of _DECODE_ERRORS."""
        return self._decoder.decode_lines(data)

    def decode(self, line: bytes) -> Any:
        """One line's row. Raises one of _DECODE_ERRORS; ValidationError for JSON that is no object."""
        return self._decoder.decode(line)

    def row_of(self, value: dict[str, Any] | None) -> Any:
        """The row of an object that was decoded elsewhere; of a line without fields for None."""
        if value is None:
            return self._nothing
        return self._struct(**{f"f{i}": _sound(value.get(top, MISSING)) for i, top in enumerate(self._tops)})

    def columns(self, rows: Sequence[Any]) -> dict[str, Column]:
        """By name, one value a row."""
        if len(self._tops) == 1:
            columns: dict[str, Column] = {self._tops[0]: [self._values(row) for row in rows]}
        else:
            columns = dict(zip(self._tops, zip(*map(self._values, rows), strict=True), strict=True)) if rows else {}
        for name in self._dotted:
            columns[name] = _nested(columns, name)
        return columns


def _nested(columns: dict[str, Column], name: str) -> Column:
    """A dotted name's column: the nested value, else the value of a field that is itself called so."""
    literal = columns.get(name, ())
    path = name.split(".")
    outer = columns.get(path[0], ())
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


def _sound(value: Any) -> Any:
    """A value without lone surrogates, which no output and no label could be made of."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_sound(item) for item in value]
    if isinstance(value, dict):
        return {_sound(key): _sound(item) for key, item in value.items()}
    return value


class Parser:
    """Parses one source's chunks. Has no state between chunks."""

    def __init__(self, *, line_format: Format, fields: Collection[str], max_line_bytes: int) -> None:
        self.fields = Fields(fields)
        self._part = {Format.JSON: None, Format.DOCKER: docker_part, Format.CRI: cri_part}[line_format]
        self._max_line_bytes = max_line_bytes

    def parse(
        self, chunk: Chunk, *, source: str, path: str, identity: str, content: Content | None, is_final: bool
    ) -> Batch | None:
        """The batch of a chunk; it ends earlier than the chunk if a line of several parts is still open there.

        None if that line begins with the chunk: more is needed. `is_final`: nothing will follow the chunk.
        """
        batch = Batch(source, path, identity, chunk.start, chunk.end, [], [], handle=content)
        if self._part is not None and not chunk.is_cut:
            return self._framed(chunk, batch, is_final=is_final)
        rows = None if chunk.is_cut or chunk.leading_nuls else self._usual(chunk.data, batch)
        if rows is None:
            rows = self._line_by_line(_raw_lines(chunk), batch, is_cut=chunk.is_cut)
        batch.columns = self.fields.columns(rows)
        return batch

    def _usual(self, data: bytes, batch: Batch) -> list[Any] | None:
        """The rows if every line is an ordinary JSON object; else None, with `batch` untouched.

        The guard: as many objects as lines, and every line begins with `{"` and ends with `}`. A value or string that
        ran across a line's end would break one of these (JSON allows no newline in strings, and none of `}` newline `{`
        between values). Skipped fields are not checked for UTF-8 by the decoder, so the whole batch is.
        """
        try:
            rows = self.fields.decode_lines(data)
            if not data.isascii():
                data.decode()
            lines = data.split(b"\n")
            if not lines[-1]:
                lines.pop()
            if len(rows) != len(lines) or set(map(_frame_of_line, lines)) != _USUAL_FRAME:
                return None
        except (*_DECODE_ERRORS, IndexError):
            return None
        if data.count(b"{") + data.count(b"[") > MAX_DEPTH + len(lines) and any(map(_is_too_deep, lines)):
            return None
        batch.lines = lines
        batch.offsets = list(accumulate(map(len, lines[:-1]), _next_offset, initial=batch.start))
        return rows

    def _line_by_line(self, lines: list[tuple[int, bytes]], batch: Batch, *, is_cut: bool) -> list[Any]:
        """The rows of lines of any kind; fills `batch`. `lines` are offsets and raw lines."""
        rows: list[Any] = []
        offsets, texts, raws = [], [], []
        for offset, raw in lines:
            problems: list[Problem] = [TOO_LONG] if is_cut else []
            text = _readable(raw, problems)
            row = None
            if not is_cut:
                row, text = self._row(text, problems)
            if (
                problems or text[1:].lstrip()[:1] == b"}"
            ):  # an empty object is in order, but nothing can follow its brace
                batch.problems[len(rows)] = problems
            rows.append(self.fields.row_of(None) if row is None else row)
            offsets.append(offset)
            texts.append(text)
            raws.append(raw)
        batch.lines, batch.offsets = texts, offsets
        batch.raw_lines = raws if raws != texts else None
        return rows

    def _row(self, text: bytes, problems: list[Problem]) -> tuple[Any, bytes]:
        """One line's row, None with a problem if it is no JSON object; and its text, on one line."""
        if _is_too_deep(text):
            problems.append(TOO_DEEP)
            return None, text
        try:
            row = self.fields.decode(text)
        except _DECODE_ERRORS:
            value = _other_object(text, problems)
            if value is None:
                return None, text
            row = self.fields.row_of(value)
        return row, text.strip().replace(b"\n", b" ")

    def _framed(self, chunk: Chunk, batch: Batch, *, is_final: bool) -> Batch | None:
        """The batch of a chunk of docker or cri lines."""
        raw_lines = _raw_lines(chunk)
        ends = [offset for offset, _ in raw_lines[1:]] + [chunk.end]
        parts = []
        for (offset, raw), end in zip(raw_lines, ends, strict=True):
            part = self._part(raw, offset, end) if self._part else None
            parts.append(part or Part(offset, end, raw, raw, f"?{offset}", "", is_open=False))
        groups, hold = join(parts, max_line_bytes=self._max_line_bytes, is_final=is_final)
        if hold is not None:
            if hold == chunk.start:
                return None
            batch.end = hold
        groups = [group for group in groups if b"".join(group.texts).strip()]
        rows = self._line_by_line([(group.start, b"".join(group.texts)) for group in groups], batch, is_cut=False)
        for i, group in enumerate(groups):
            if group.is_cut:
                batch.problems.setdefault(i, []).insert(0, TOO_LONG)
            elif i in batch.problems and group.raws[0] == group.texts[0]:
                batch.problems[i] = [BAD_FRAME if problem is NOT_JSON else problem for problem in batch.problems[i]]
        batch.raw_lines = [b"\n".join(group.raws) for group in groups]
        batch.runtime_times = [group.time for group in groups]
        batch.columns = self.fields.columns(rows)
        return batch


def _next_offset(offset: int, length: int) -> int:
    return offset + length + 1


def _raw_lines(chunk: Chunk) -> list[tuple[int, bytes]]:
    """Offset and text of each line that is not blank, without line ending and without NULs before it."""
    lines = []
    offset, nuls = chunk.start, chunk.leading_nuls
    for line in chunk.data.split(b"\n"):
        text = line.lstrip(b"\0").removesuffix(b"\r")
        if text.strip():
            lines.append((offset, text))
        offset += len(line) + 1 + nuls
        nuls = 0
    return lines


def _readable(raw: bytes, problems: list[Problem]) -> bytes:
    """The line without byte order mark, as UTF-8; what is none becomes U+FFFD."""
    text = raw.removeprefix(BOM)
    try:
        text.decode()
    except UnicodeDecodeError:
        problems.append(BAD_ENCODING)
        return text.decode("utf-8", "replace").encode()
    return text


def _other_object(text: bytes, problems: list[Problem]) -> dict[str, Any] | None:
    """The object in a line that the fast decoder refuses (lone surrogates, numbers beyond a double), or None."""
    try:
        value = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        problems.append(NOT_JSON)
        return None
    if not isinstance(value, dict):
        problems.append(NOT_OBJECT)
        return None
    return {key: MISSING if isinstance(item, float) and math.isinf(item) else item for key, item in value.items()}


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _is_too_deep(line: bytes) -> bool:
    """Whether a line nests deeper than MAX_DEPTH (of which the server may never answer)."""
    if line.count(b"{") + line.count(b"[") <= MAX_DEPTH:
        return False
    depth = deepest = 0
    for byte in _STRINGS.sub(b"", line):
        if byte in b"{[":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"}]":
            depth -= 1
    return deepest > MAX_DEPTH
