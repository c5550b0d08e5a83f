"""Turns chunks of whole lines into batches: lines, offsets, and columns of the fields that the configuration mentions.

Lines that look like ordinary JSON objects are decoded at once; those that do not, and all where the guess was wrong, go
one by one, with the same result. What is no JSON object becomes a `Problem` of its line, never an error. Next come the
exporter and `enrich`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from io import BytesIO
from operator import itemgetter
from typing import Final, Protocol, TypeVar

from shipper.batch import Batch, Content, Problem
from shipper.columns import DECODE_ERRORS, Fields, Layout, Row, look_like_objects
from shipper.joining import CRI, DOCKER, Framing, Group, Part, join, longest_raw_bytes, part_of
from shipper.oddlines import (
    BAD_ENCODING,
    is_any_too_deep,
    is_json,
    is_too_deep,
    is_utf8,
    object_in,
    readable,
    whole_characters,
    without_lone_surrogates,
)
from shipper.settings import Format
from shipper.tail import Chunk

T = TypeVar("T")
_CLOSING: Final = ord("}")
_without_end = itemgetter(slice(None, -1))

NOT_JSON = Problem("parse_failure", "not_json")
NOT_OBJECT = Problem("parse_failure", "not_object")
BAD_FRAME = Problem("parse_failure", "bad_frame")
TOO_DEEP = Problem("too_deep", "too_deep")
TOO_LONG = Problem("line_too_long", "too_long")
TAGS: Final = ("parse_failure", "too_deep", "line_too_long", "encoding_failure")
"""The tags of all problems."""

FRAMINGS: dict[Format, Framing] = {Format.DOCKER: DOCKER, Format.CRI: CRI}


class Redact(Protocol):
    """Redacts a batch in place; `fields` made its columns, `joined` are its lines where they are at hand as one."""

    def __call__(self, batch: Batch, *, fields: Fields, joined: bytes = b"") -> None: ...


LEARNED_LINES: Final = 64


class Parser:
    """Parses one source's chunks. Keeps nothing of them but which fields come, and in which order."""

    def __init__(
        self, *, line_format: Format, fields: Collection[str], max_line_bytes: int, redact: Redact | None = None
    ) -> None:
        """`redact` takes out of each batch what nobody behind this stage is to see."""
        self.fields = Fields(fields)
        self._redact = redact
        self._has_learned = False
        self._framing = FRAMINGS.get(line_format)
        self._max_line_bytes = max_line_bytes
        self._longest_raw_bytes = longest_raw_bytes(max_line_bytes)

    def parse(
        self, chunk: Chunk, *, source: str, path: str, identity: str, content: Content | None, is_final: bool
    ) -> Batch | None:
        """The batch of a chunk; it ends earlier than the chunk if a line of several parts is still open there.

        None if that line begins with the chunk: more is needed. `is_final`: nothing will follow the chunk.
        """
        batch = Batch(source, path, identity, chunk.start, chunk.end, [], [], handle=content)
        joined = b""
        if self._framing is None or chunk.is_cut:
            layout = self.fields.layout_for(chunk.data)
            rows, joined = self._plain(chunk, batch, layout)
        else:
            framed = self._framed(chunk, batch, self._framing, is_final=is_final)
            if framed is None:
                return None
            rows, layout = framed
        batch.columns = self.fields.columns(rows, layout)
        if self._redact is not None:
            self._redact(batch, fields=self.fields, joined=joined)
        if not self._has_learned and batch.lines:
            self._has_learned = True
            self.fields.arrange_as_in(batch.lines[:LEARNED_LINES])
        return batch

    def _plain(self, chunk: Chunk, batch: Batch, layout: Layout) -> tuple[list[Row], bytes]:
        """The rows of lines as they stand in the file, and these as one if nothing was done to them; fills `batch`."""
        lines = _split(chunk.data)
        if not chunk.is_cut and not chunk.leading_nuls and look_like_objects(lines):
            rows = self._decoded(chunk.data, lines, layout)
            if rows is not None:
                batch.lines = lines
                batch.offsets = _offsets(lines, batch.start)
                return rows, chunk.data
        batch.offsets, texts = ([chunk.start], [chunk.data]) if chunk.is_cut else self._trimmed(lines, chunk)
        return self._any(texts, batch, layout, is_cut=chunk.is_cut), b""

    def _decoded(self, data: bytes, lines: Sequence[bytes], layout: Layout) -> list[Row] | None:
        """The rows of lines that look like objects, if they are what they look like; else None.

        Skipped fields are not checked for UTF-8 by the decoder, so the whole of `data` is.
        """
        if len(data) > self._max_line_bytes and max(map(len, lines)) > self._max_line_bytes:
            return None
        try:
            if not data.isascii():
                data.decode()
            rows = layout.decode_lines(data)
        except DECODE_ERRORS:
            return None
        return rows if len(rows) == len(lines) and not is_any_too_deep(data, lines) else None

    def _any(self, texts: list[bytes], batch: Batch, layout: Layout, *, is_cut: bool = False) -> list[Row]:
        """The rows of lines of any kind, without line endings, none blank; fills `batch` but for its offsets.

        `is_cut`: there is one line, and it is the prefix of a longer one.
        """
        batch.lines = list(texts)
        rows, odd = ([layout.nothing], [0]) if is_cut else self._usual(texts, layout)
        for i in odd:
            rows[i], batch.lines[i], problems = self._one(texts[i], layout, is_cut=is_cut)
            # An empty object is in order, but nothing of ours could follow its brace after a comma.
            if problems or not batch.lines[i][1:-1].strip():
                batch.problems[i] = problems
            if is_cut or len(texts[i]) > self._max_line_bytes:
                texts[i] = texts[i][: self._max_line_bytes]  # as much of it as a checksum can be made of
        if batch.raw_lines is None and texts != batch.lines:
            batch.raw_lines = texts
        return rows

    def _usual(self, texts: Sequence[bytes], layout: Layout) -> tuple[list[Row], list[int]]:
        """The rows of lines that are ordinary objects, nothing in place of the others; and which these are."""
        odd = _odd(texts)
        lines = _without(texts, odd)
        rows = self._decoded(b"\n".join(lines), lines, layout) if lines else []
        if rows is not None:
            return _with(rows, odd, layout.nothing), odd
        decoded = self._decoded_some(texts, _without(range(len(texts)), odd), layout)
        rows = [decoded.get(i, layout.nothing) for i in range(len(texts))]
        return rows, [i for i in range(len(texts)) if i not in decoded]

    def _decoded_some(self, texts: Sequence[bytes], numbers: Sequence[int], layout: Layout) -> dict[int, Row]:
        """The rows of those of these lines that are ordinary objects: all at once, else by halves."""
        if not numbers:
            return {}
        lines = [texts[i] for i in numbers]
        rows = self._decoded(b"\n".join(lines), lines, layout)
        if rows is not None:
            return dict(zip(numbers, rows, strict=True))
        half = len(numbers) // 2
        if not half:
            return {}
        return self._decoded_some(texts, numbers[:half], layout) | self._decoded_some(texts, numbers[half:], layout)

    def _one(self, text: bytes, layout: Layout, *, is_cut: bool) -> tuple[Row, bytes, list[Problem]]:
        """One line's row, its text as it is shipped, and what is wrong with it."""
        if is_cut or len(text) > self._max_line_bytes:
            text, problems = readable(whole_characters(text[: self._max_line_bytes]))
            return layout.nothing, text, [TOO_LONG, *problems]
        text, problems = readable(text)
        if is_too_deep(text):
            return layout.nothing, text, [*problems, TOO_DEEP]
        if text.lstrip()[:1] != b"{":
            return layout.nothing, text, [*problems, NOT_OBJECT if is_json(text) else NOT_JSON]
        try:
            row = layout.decode(text)
        except DECODE_ERRORS:
            fixed = without_lone_surrogates(text)
            value = object_in(fixed)
            if value is None:
                return layout.nothing, text, [*problems, NOT_JSON]
            if fixed != text and not problems:
                problems = [BAD_ENCODING]
            row, text = layout.row_of(value), fixed
        return row, text.strip().replace(b"\n", b" "), problems

    def _trimmed(self, lines: Sequence[bytes], chunk: Chunk) -> tuple[list[int], list[bytes]]:
        """Offset and text of each line that is not blank, without carriage return and without NULs before it."""
        data = chunk.data
        if (
            lines
            and not chunk.leading_nuls
            and b"\0" not in data
            and b"\r" not in data
            and all(map(bytes.strip, lines))
        ):
            return _offsets(lines, chunk.start), list(lines)
        offsets, texts = [], []
        offset, nuls = chunk.start, chunk.leading_nuls
        for line in lines:
            text = line.removesuffix(b"\r")
            if text[:1] == b"\0":
                text = text.lstrip(b"\0")
            if text.strip() or len(text) > self._max_line_bytes:
                offsets.append(offset)
                texts.append(text)
            offset += len(line) + 1 + nuls
            nuls = 0
        return offsets, texts

    def _framed(
        self, chunk: Chunk, batch: Batch, framing: Framing, *, is_final: bool
    ) -> tuple[list[Row], Layout] | None:
        """The rows of a container runtime's lines, and their layout; fills `batch`. None if the first line is still
        open.
        """
        lines = _split(chunk.data)
        is_usual = not chunk.leading_nuls and not self._has_long(chunk.data, lines)
        whole = framing.whole(chunk.data, lines) if is_usual else None
        if whole is not None:
            batch.offsets, batch.raw_lines, batch.runtime_times = _offsets(lines, batch.start), lines, whole.times
            joined = b"\n".join(whole.texts)
            layout = self.fields.layout_for(joined)
            rows = self._decoded(joined, whole.texts, layout) if look_like_objects(whole.texts) else None
            if rows is None:
                return self._any(whole.texts, batch, layout), layout
            batch.lines = whole.texts
            return rows, layout
        groups, hold = self._groups(lines, chunk, framing, is_final=is_final)
        if hold == chunk.start:
            return None
        batch.end = chunk.end if hold is None else hold
        batch.offsets = [group.start for group in groups]
        batch.raw_lines = [b"\n".join(group.raws) for group in groups]
        batch.runtime_times = [group.time for group in groups]
        texts = [group.text for group in groups]
        layout = self.fields.layout_for(b"\n".join(texts))
        rows = self._any(texts, batch, layout)
        for i, problems in batch.problems.items():
            if not groups[i].is_framed:
                batch.problems[i] = [BAD_FRAME if problem.tag == NOT_JSON.tag else problem for problem in problems]
        for i, line in enumerate(batch.lines):
            if b"\n" in line and i not in batch.problems:  # between tokens, where it would end the document
                batch.lines[i] = line.replace(b"\n", b" ")
        return rows, layout

    def _groups(
        self, lines: Sequence[bytes], chunk: Chunk, framing: Framing, *, is_final: bool
    ) -> tuple[list[Group], int | None]:
        """The joined lines that are not blank, and where reading must begin again (None: nowhere)."""
        parts = self._parts(lines, chunk, framing)
        groups, hold = join(parts, max_line_bytes=self._max_line_bytes, is_final=is_final)
        return [group for group in groups if group.size > self._max_line_bytes or group.text.strip()], hold

    def _parts(self, lines: Sequence[bytes], chunk: Chunk, framing: Framing) -> Iterator[Part]:
        """Each line of the file, also those that are blank. What it is depends on nothing that stands beside it."""
        start, nuls = chunk.start, chunk.leading_nuls
        for line in lines:
            end = min(start + nuls + len(line) + 1, chunk.end)
            yield part_of(line, start, end, framing=framing, max_line_bytes=self._max_line_bytes, has_hole=nuls > 0)
            start, nuls = end, 0

    def _has_long(self, data: bytes, lines: Sequence[bytes]) -> bool:
        """Whether one of the lines is longer than the reader takes, had it come alone."""
        return len(data) > self._longest_raw_bytes and max(map(len, lines)) > self._longest_raw_bytes


def _split(data: bytes) -> list[bytes]:
    """The lines of `data`, without their ends.

    `bytes.split` looks at each byte. A file in memory searches for its lines' ends, so that even with taking them off
    again this takes three quarters of the time, and a long line, which comes alone, a tenth.
    """
    newline = data.find(b"\n")
    if newline == len(data) - 1:
        return [data[:-1]] if data else []
    lines = list(map(_without_end, BytesIO(data).readlines()))
    if not data.endswith(b"\n"):
        lines[-1] = data[data.rfind(b"\n") + 1 :]
    return lines


def _offsets(lines: Sequence[bytes], start: int) -> list[int]:
    """Where each of consecutive lines begins."""
    offsets = []
    for line in lines:
        offsets.append(start)
        start += len(line) + 1
    return offsets


def _odd(texts: Sequence[bytes]) -> list[int]:
    """Which lines do not look like an object with a field, as `look_like_objects` says of many, or are no UTF-8.

    What nearly every line passes stands here, and not in a function: that takes 60 % of the time.
    """
    return [
        i
        for i, text in enumerate(texts)
        if not (b'{"' <= text < b"{#" and text[-1] == _CLOSING and text.isascii()) and not _looks_ordinary(text)
    ]


def _looks_ordinary(text: bytes) -> bool:
    """The same of one line, however it is written."""
    if not text.endswith(b"}") or not is_utf8(text):
        return False
    return text.startswith(b'{"') or (text.startswith(b"{ ") and text[1:-1].strip() != b"")


def _without(items: Sequence[T], positions: Sequence[int]) -> list[T]:
    """The items but those at these positions, which ascend."""
    kept: list[T] = []
    start = 0
    for position in positions:
        kept += items[start:position]
        start = position + 1
    kept += items[start:]
    return kept


def _with(items: Sequence[T], positions: Sequence[int], item: T) -> list[T]:
    """The items and, so that it stands at these positions, which ascend, another one."""
    found: list[T] = []
    start = 0
    for before, position in enumerate(positions):
        found += items[start : position - before]
        start = position - before
        found.append(item)
    found += items[start:]
    return found
