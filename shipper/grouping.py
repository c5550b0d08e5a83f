"""The next batch of a file whose lines may have many parts: reads as much as it takes until a line has all of them.

What is a line depends on the file alone, and not on the pieces in which it is read: the daemon and those that read a
file again make the same ids. `feeding` and `reread` ask; `joining` says where a line in parts ends.
"""

from __future__ import annotations

from enum import Enum
from typing import Protocol

from shipper.batch import Batch
from shipper.contents import is_json_object
from shipper.joining import longest_raw_bytes
from shipper.settings import Format, SourceSettings
from shipper.tail import CHUNK_BYTES, ByteReader, Chunk, LineReader


class Parse(Protocol):
    """Makes the batch of a chunk (`Parser.parse` for one file)."""

    def __call__(self, chunk: Chunk, *, is_final: bool) -> Batch | None: ...


def lines_of(reader: ByteReader, *, source: SourceSettings, position: int) -> LineReader:
    """Cuts a source's file into lines."""
    longest = source.max_line_bytes
    if source.format is not Format.JSON:
        longest = longest_raw_bytes(longest)
    return LineReader(reader, position=position, max_line_bytes=longest)


def batch_of(chunk: Chunk, *, lines: LineReader, parse: Parse) -> Batch | None:
    """The batch of a chunk, which `lines` has just given, made shorter or longer where a line has many parts.

    None if more of it must come; then `lines` stands before the chunk. Raises OSError and Damaged.
    """
    batch = parse(chunk, is_final=chunk.is_tail)
    size = CHUNK_BYTES
    while batch is None:
        size *= 4
        growth = _grow(chunk, lines, size=size)
        if growth is Growth.AWAITED:
            lines.jump(chunk.start)
            return None
        batch = parse(chunk, is_final=growth is Growth.OVER)
        lines.jump(chunk.end)
    if batch.end < chunk.end:
        chunk.data = chunk.data[: batch.end - chunk.start]
        chunk.end = batch.end
        lines.jump(batch.end)
    return batch


class Growth(Enum):
    """What came of looking for more whole lines behind a chunk."""

    MORE = "more"
    """There may be some."""
    AWAITED = "awaited"
    """The file ends there, as yet."""
    OVER = "over"
    """What follows is no part of anything that is open: it is too long, or damaged."""


def _grow(chunk: Chunk, lines: LineReader, *, size: int) -> Growth:
    """Puts whole lines into a chunk, up to `size` bytes in all. Raises OSError and Damaged."""
    lines.jump(chunk.start)
    longer = lines.next_chunk(size=size)
    if longer is not None and longer.end > chunk.end:
        chunk.end, chunk.data = longer.end, longer.data
        return Growth.MORE
    if len(lines.reader.read(chunk.start, size)) < size:
        return Growth.OVER if lines.reader.damage else Growth.AWAITED
    return Growth.OVER if size > chunk.end - chunk.start + lines.longest_bytes + 1 else Growth.MORE


def rest_of(lines: LineReader, *, source: SourceSettings) -> Chunk | None:
    """What stands at the file's end and may be continued: an unterminated line, and before it what begins with a line
    in parts that is still open; None if there is nothing.

    To go on behind it, or to stay, is the caller's `jump`. Raises OSError and Damaged.
    """
    if source.format is Format.JSON:
        return lines.tail_chunk()
    lines.jump(lines.position)
    rest = lines.patient_chunk(size=CHUNK_BYTES)
    if rest is None:
        return lines.tail_chunk()
    if rest.is_cut or rest.leading_nuls:
        return rest
    size, growth = CHUNK_BYTES, Growth.MORE
    while growth is Growth.MORE:
        size *= 4
        growth = _grow(rest, lines, size=size)
    lines.jump(rest.end)
    last = lines.tail_chunk() if growth is Growth.AWAITED else None
    if last is not None and not last.is_cut and not last.leading_nuls:
        rest.data, rest.end = rest.data + last.data, last.end
    rest.is_tail = True
    return rest


def is_whole(rest: Chunk, batch: Batch | None) -> bool:
    """Whether what `rest_of` gave can be taken as it is although the file may go on, if `batch` was made of it as of
    what may: its last line is an object that is closed, and nothing else is open.
    """
    is_closed = batch is not None and batch.end == rest.end
    return is_closed and is_json_object(rest.data[rest.data.rfind(b"\n") + 1 :])
