"""A place in a file, the reader that gets on from there, and what was handed to the output on the way.

`followed` has two for each file: one ships, one feeds the metrics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shipper.batch import Mark
from shipper.identity import FIRST_POWER, MARK_BYTES, tail_of
from shipper.tail import ByteReader, Chunk, LineReader, bytes_before

NEVER = 1 << 62
"""A cursor that has nothing to read: behind every end."""


class _Closed:
    """What the cursors of a closed file read from: nothing."""

    damage = ""
    is_complete = False
    is_seekable = False

    def read(self, position: int, size: int) -> bytes:
        raise ValueError(f"read of {size} bytes at {position} from a file that is closed")


CLOSED = _Closed()


@dataclass(slots=True, eq=False)
class UnderWay:
    """A batch that was handed to the output. Acknowledged in any order, counted in file order."""

    end: int
    mark: Mark
    last_time: str
    is_done: bool = False
    results: Sequence[tuple[str, int]] = ()
    """What became of lines that are no documents: counted when the batch is done, for until then it may come again."""


class Cursor:
    """A place in a file, the reader that gets on from there, and the bytes that were read before it."""

    __slots__ = ("before", "lines")

    def __init__(self, lines: LineReader) -> None:
        self.lines = lines
        self.before: bytes | None = None if lines.position else b""
        """What the mark there is made of; None if it is not known (of a compressed file that is read on)."""

    @property
    def position(self) -> int:
        return self.lines.position

    @property
    def is_reading(self) -> bool:
        return self.lines.position < NEVER

    def passed(self, chunk: Chunk, reader: ByteReader) -> None:
        """Remembers what stands before the place to which `chunk` led."""
        if chunk.is_cut:
            self.before = bytes_before(reader, chunk.end)
        elif len(chunk.data) >= MARK_BYTES and chunk.end > FIRST_POWER:
            self.before = chunk.data[-MARK_BYTES:]
        elif self.before is None or chunk.leading_nuls:
            self.before = bytes_before(reader, chunk.end)
        else:
            self.before = tail_of(self.before + chunk.data, chunk.end)

    def jump(self, position: int, before: bytes | None) -> None:
        """Goes on at the beginning of a line, before which `before` stands."""
        self.lines.jump(position)
        self.before = before if position else b""
