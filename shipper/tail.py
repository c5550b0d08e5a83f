"""Reads whole lines from a file at a position: plain or compressed, growing, with lines of any length.

Positions are decompressed bytes. `discover` says which files, `pipeline` when to look, `parse` what the lines mean.
"""

from __future__ import annotations

import os
import stat
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from isal import isal_zlib

from shipper.identity import FIRST_LINE_BYTES, MARK_BYTES

CHUNK_BYTES = 64 << 10
"""Batches of the cache's size: 256 KiB cost a quarter more a line, 1 MiB almost half."""
SCAN_BYTES = 8 << 20
"""How far one turn looks for the end of a line that is too long, so that other files get theirs."""


class Damaged(Exception):  # noqa: N818 - an outcome of reading, not of the program
    """A compressed file cannot be read on; everything before the position was."""


def open_log(path: str | Path) -> int:
    """Opens a regular file for reading without ever waiting (a FIFO or device is refused). Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path!r} is not a regular file")
    return descriptor


class ByteReader(Protocol):
    """Bytes at a position. Reading backwards is allowed and may cost."""

    def read(self, position: int, size: int) -> bytes:
        """At most `size` bytes from `position`; b"" at the present end. Raises OSError, Damaged."""

    @property
    def is_complete(self) -> bool:
        """True if the end that was reached is the end for good (a compressed file with its footer)."""

    @property
    def is_seekable(self) -> bool:
        """True if reading backwards costs nothing."""


class PlainReader:
    """A file as it stands. The descriptor is not owned."""

    is_complete = False
    is_seekable = True

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read(self, position: int, size: int) -> bytes:
        return os.pread(self._descriptor, size, position)


class Codec(Protocol):
    """How one kind of compressed stream is read."""

    magic: bytes
    errors: tuple[type[Exception], ...]
    piece_bytes: int
    """Compressed bytes fed at a time: bounds what a hostile ratio can unfold to in one step."""

    def new(self) -> Any: ...

    def decompress(self, stream: Any, data: bytes) -> tuple[bytes, bytes]:
        """What `data` gives, and what of it was not taken yet."""


class GzipCodec:
    magic = b"\x1f\x8b"
    errors: tuple[type[Exception], ...] = (zlib.error, cast("type[Exception]", isal_zlib.error))
    piece_bytes = 16 << 10
    unfolded_bytes = 256 << 10

    def new(self) -> Any:
        return isal_zlib.decompressobj(wbits=31)

    def decompress(self, stream: Any, data: bytes) -> tuple[bytes, bytes]:
        return stream.decompress(data, self.unfolded_bytes), stream.unconsumed_tail


class ZstdCodec:
    magic = b"\x28\xb5\x2f\xfd"
    piece_bytes = 1 << 10  # the library has no limit on what a piece unfolds to

    def __init__(self) -> None:
        import zstandard  # 1 MB of memory that only .zst files need

        self.errors: tuple[type[Exception], ...] = (zstandard.ZstdError,)
        self.new = zstandard.ZstdDecompressor().decompressobj

    def decompress(self, stream: Any, data: bytes) -> tuple[bytes, bytes]:
        return stream.decompress(data), b""


class CompressedReader:
    """The decompressed stream of a file that may still grow; members after one another are one stream.

    A jump backwards starts again from the beginning. The descriptor is not owned.
    """

    is_seekable = False

    def __init__(self, descriptor: int, codec: Codec) -> None:
        self._descriptor = descriptor
        self._codec = codec
        self._rewind()

    def _rewind(self) -> None:
        self._stream: Any = None
        self._compressed_position = 0
        self._pending = b""  # compressed bytes that were read and not fed
        self._ready = b""  # decompressed bytes that nobody has asked for yet
        self.position = 0  # of the first byte of _ready
        self.is_complete = False

    def read(self, position: int, size: int) -> bytes:
        if position < self.position:
            self._rewind()
        while self.position + len(self._ready) < position + size and self._more():
            self._drop(min(position - self.position, len(self._ready)))
        self._drop(min(position - self.position, len(self._ready)))
        return self._ready[:size] if self.position == position else b""

    def _drop(self, count: int) -> None:
        if count:
            self._ready = self._ready[count:]
            self.position += count

    def _more(self) -> bool:
        """Decompresses a piece; False if there is none now."""
        if not self._pending:
            self._fill()
        if self._stream is None and not (self._pending and self._start_member()):
            return False
        fed = self._pending
        try:
            piece, self._pending = self._codec.decompress(self._stream, fed)
        except self._codec.errors as error:
            raise Damaged(str(error)) from error
        self._ready += piece
        if self._stream.eof:
            self._pending = self._stream.unused_data
            self._stream = None
            self.is_complete = True
        return bool(piece or fed)

    def _fill(self) -> None:
        more = os.pread(self._descriptor, self._codec.piece_bytes, self._compressed_position)
        self._compressed_position += len(more)
        self._pending += more

    def _start_member(self) -> bool:
        """Begins the next member; what is none (padding or garbage behind the last) is passed over, as gzip does."""
        if len(self._pending) < len(self._codec.magic):
            self._fill()
        if not self._pending.startswith(self._codec.magic):
            if not self._codec.magic.startswith(self._pending):
                self._pending = b""
            return False
        self._stream = self._codec.new()
        self.is_complete = False
        return True


def reader_for(descriptor: int) -> ByteReader:
    """Plain or compressed by the first bytes: names lie, and a `.gz` in progress is empty at first."""
    head = os.pread(descriptor, 4, 0)
    if head.startswith(GzipCodec.magic):
        return CompressedReader(descriptor, GzipCodec())
    if head.startswith(ZstdCodec.magic):
        return CompressedReader(descriptor, ZstdCodec())
    return PlainReader(descriptor)


@dataclass(slots=True)
class Chunk:
    """Whole lines, `[start, end)`. `data` ends with a newline unless the line is cut or is the file's last."""

    start: int
    end: int
    data: bytes
    is_cut: bool = False
    """One line longer than the limit: `data` is its prefix, `end` stands behind its newline."""
    is_tail: bool = False
    """The unterminated last line of a file that is final."""
    leading_nuls: int = 0
    """NULs that stand before `data` in the file (what copytruncate leaves) and belong to the first line."""


class LineReader:
    """Cuts what a ByteReader gives into chunks of whole lines, forward from `position`.

    `position` is always the beginning of a line. The bytes of a line that is not complete are not kept, only how far
    its end was looked for, so that a line of gigabytes costs one pass and no memory. (Of a compressed file the line's
    beginning is kept, at most `max_line_bytes`: going back would mean to decompress again.)
    """

    def __init__(self, reader: ByteReader, *, position: int, max_line_bytes: int) -> None:
        self.reader = reader
        self.position = position
        self._max_line_bytes = max_line_bytes
        self._reset_line()

    def _reset_line(self) -> None:
        self._text_start = self.position  # behind the NULs
        self._scanned = self.position  # no newline before this
        self._kept = bytearray()  # the line's text so far, if the reader cannot go back

    def jump(self, position: int) -> None:
        """Goes on at `position`, the beginning of a line."""
        self.position = position
        self._reset_line()

    @property
    def scanned(self) -> int:
        """How far the end of the line at `position` was looked for in vain."""
        return self._scanned

    def next_chunk(self, *, limit: int | None = None, size: int = CHUNK_BYTES) -> Chunk | None:
        """The next whole lines, at most `size` bytes or one line, not beyond `limit`; None if no line is complete yet.

        Raises OSError and Damaged.
        """
        if limit is not None:
            size = min(size, limit - self.position)
        if self._scanned > self.position:
            return self._long_line()
        data = self.reader.read(self.position, size)
        cut = data.rfind(b"\n") + 1
        if cut and data[0]:
            return self._take(Chunk(self.position, self.position + cut, data[:cut] if cut < len(data) else data))
        if not data or (len(data) < size and data[0]):
            return None
        return self._long_line()

    def _take(self, chunk: Chunk) -> Chunk:
        self.jump(chunk.end)
        return chunk

    def _long_line(self) -> Chunk | None:
        """A line that one chunk does not hold, or that begins with NULs."""
        turn_ends = self._scanned + SCAN_BYTES
        while self._scanned < turn_ends:
            data = self.reader.read(self._scanned, CHUNK_BYTES * 4)
            if not data:
                return None
            if self._scanned == self._text_start:
                self._text_start += len(data) - len(data.lstrip(b"\0"))
            self._keep(data)
            newline = data.find(b"\n")
            if newline >= 0:
                return self._finish_line(self._scanned + newline)
            self._scanned += len(data)
        return None

    def _finish_line(self, newline: int) -> Chunk:
        length = newline - self._text_start
        is_cut = length > self._max_line_bytes
        data = self._text(min(length, self._max_line_bytes)) if is_cut else self._text(length + 1)
        nuls = self._text_start - self.position
        return self._take(Chunk(self.position, newline + 1, data, is_cut=is_cut, leading_nuls=nuls))

    def _keep(self, data: bytes) -> None:
        if not self.reader.is_seekable:
            missing = self._max_line_bytes + 1 - len(self._kept)
            text = data[max(0, self._text_start - self._scanned) :]
            self._kept += text[: max(0, missing)]

    def _text(self, length: int) -> bytes:
        if self._kept:
            return bytes(self._kept[:length])
        pieces = []
        position, end = self._text_start, self._text_start + length
        while position < end and (piece := self.reader.read(position, end - position)):
            pieces.append(piece)
            position += len(piece)
        return b"".join(pieces)

    def tail_chunk(self) -> Chunk | None:
        """The unterminated last line, for a file that is final; None if there is nothing but NULs or nothing."""
        if self._scanned > self.position:
            while (found := self._long_line()) is None and self.reader.read(self._scanned, 1):
                pass
            if found is not None:
                return found
            end, start = self._scanned, self._text_start
        else:
            end, start = self.position + len(self.reader.read(self.position, CHUNK_BYTES)), self.position
        if end <= start:
            return None
        length = end - start
        data = self._text(min(length, self._max_line_bytes))
        nuls = start - self.position
        return Chunk(self.position, end, data, is_cut=length > self._max_line_bytes, is_tail=True, leading_nuls=nuls)


def first_line(reader: ByteReader, *, is_final: bool = False) -> bytes | None:
    """The first line without NULs before it and without line ending, at most FIRST_LINE_BYTES; None if incomplete.

    `is_final`: the file will not grow; what is there is its line. Raises OSError and Damaged.
    """
    start, scanned, text = 0, 0, b""
    while True:
        data = reader.read(scanned, CHUNK_BYTES if scanned else 4096)
        if not data:
            return text.rstrip(b"\r") or None if is_final else None
        scanned += len(data)
        if start == scanned - len(data):  # nothing but NULs so far
            data = data.lstrip(b"\0")
            start = scanned - len(data)
        newline = data.find(b"\n")
        if newline >= 0:
            return (text + data[:newline])[:FIRST_LINE_BYTES].removesuffix(b"\r")
        text += data
        if len(text) >= FIRST_LINE_BYTES:
            return text[:FIRST_LINE_BYTES]


def bytes_before(reader: ByteReader, position: int) -> bytes:
    """The MARK_BYTES before a position (fewer at the beginning); shorter than that where the file ends earlier."""
    start = max(0, position - MARK_BYTES)
    return reader.read(start, position - start)
