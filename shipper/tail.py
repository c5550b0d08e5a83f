"""Reads whole lines from a file at a position: plain or compressed, growing, with lines of any length.

Positions are decompressed bytes. `discover` says which files, `pipeline` when to look, `parse` what the lines mean.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from shipper.compression import EDGE_BYTES, Codec, codec_of, told_bytes
from shipper.identity import FIRST_LINE_BYTES, MARK_BYTES, window

CHUNK_BYTES = 64 << 10
FULL_CHUNK_BYTES = 128 << 10
"""Where a chunk was full, so that what costs once a batch is shared by more lines, which still fit into the cache."""
MAX_BLANK_BYTES = 256 << 20
"""NULs (holes aside) and blank lines before the first line: more is no log, and would keep other files waiting."""
SCAN_BYTES = 8 << 20
"""How far one turn looks for the end of a line that is too long, so that other files get theirs."""


class Damaged(Exception):  # noqa: N818 - an outcome of reading, not of the program
    """A compressed file cannot be read on; everything before the position was."""


def open_log(path: str | Path) -> int:
    """Opens a regular file for reading, and touches nothing else: a FIFO would wait, a device might do something.

    Raises OSError.
    """
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)  # what it is can be asked before it is opened, and not swapped then
    try:
        if not stat.S_ISREG(os.fstat(place).st_mode):
            raise OSError(f"{str(path)!r} is not a regular file")
        return os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        os.close(place)


class ByteReader(Protocol):
    """Bytes at a position. Reading backwards is allowed and may cost."""

    def read(self, position: int, size: int) -> bytes:
        """At most `size` bytes from `position`; b"" at the present end. Raises OSError, and Damaged at the damage."""

    @property
    def damage(self) -> str:
        """What is wrong behind the bytes that can be read; '' if nothing is."""

    @property
    def is_complete(self) -> bool:
        """True if the end that was reached is the end for good (a compressed file with its footer)."""

    @property
    def is_seekable(self) -> bool:
        """True if reading backwards costs nothing."""


class PlainReader:
    """A file as it stands. The descriptor is not owned."""

    damage = ""
    is_complete = False
    is_seekable = True

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read(self, position: int, size: int) -> bytes:
        return os.pread(self._descriptor, size, position)

    def behind_hole(self, position: int) -> int:
        """Where data begins at or behind a position that may lie in a hole, as copytruncate makes. Raises OSError."""
        try:
            return os.lseek(self._descriptor, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but the hole
                return max(position, os.fstat(self._descriptor).st_size)
            if error.errno == errno.EINVAL:  # a file system that does not know
                return position
            raise


class CompressedReader:
    """The decompressed stream of a file that may still grow; members after one another are one stream.

    A jump backwards starts again from the beginning. What is damaged is said when everything before it has been read.
    The descriptor is not owned.
    """

    is_seekable = False

    def __init__(self, descriptor: int, codec: Codec) -> None:
        self._descriptor = descriptor
        self._codec = codec
        self._careful_from: int | None = None  # compressed position from which on single bytes are fed
        self._rewind()

    def _rewind(self) -> None:
        self._stream: Any = None
        self.compressed_position = 0  # behind what was read of the file
        self._raw_before = b""  # what stands before that
        self._pending = b""  # compressed bytes that were read and not fed
        self._ready = bytearray()  # decompressed bytes that nobody has asked for yet
        self.position = 0  # of the first byte of _ready
        self.is_complete = False
        self.damage = ""
        self._is_over = False  # what follows is no member

    def read(self, position: int, size: int) -> bytes:
        if position < self.position:
            self._rewind()
        self._drop(position)
        while self.position + len(self._ready) < position + size and self._more():
            self._drop(position)
        if self.position != position or not self._ready:
            if self.damage and size:
                raise Damaged(self.damage)
            return b""
        return bytes(memoryview(self._ready)[:size])

    def _drop(self, position: int) -> None:
        """Forgets what stands before `position`, as far as it has been decompressed."""
        count = min(position - self.position, len(self._ready))
        if count:
            del self._ready[:count]
            self.position += count

    def _more(self) -> bool:
        """Decompresses a piece; False if there is none now."""
        if self.damage or self._is_over:
            return False
        if not self._pending and getattr(self._stream, "needs_input", True):  # bz2, lzma keep what is left
            self._fill()
        if self._stream is None and not self._start_member():
            return False
        fed = self._pending
        try:
            piece, self._pending = self._codec.decompress(self._stream, fed)
        except self._codec.errors as error:
            return self._approach_damage(str(error) or "not decompressible", len(fed))
        self._ready += piece
        if self._stream.eof:
            self._pending = self._stream.unused_data
            self._stream = None
            self.is_complete = True
        return bool(piece or fed or self._stream is None)

    def _approach_damage(self, message: str, fed_bytes: int) -> bool:
        """An error takes with it what its piece would have given before: so once more, and there in single bytes."""
        if self._careful_from is not None:
            self.damage = message
            return False
        careful_from = self.compressed_position - fed_bytes
        self._rewind()
        self._careful_from = careful_from
        return True

    def _fill(self) -> None:
        size = self._codec.piece_bytes
        if self._careful_from is not None:
            size = min(size, max(1, self._careful_from - self.compressed_position))
        more = self._raw(size, self.compressed_position)
        self.compressed_position += len(more)
        self._raw_before = (self._raw_before + more)[-MARK_BYTES:]
        self._pending += more

    def is_unchanged(self) -> bool:
        """Whether the file still has before `compressed_position` what was read there. Raises OSError."""
        size = len(self._raw_before)
        return self._raw(size, self.compressed_position - size) == self._raw_before

    @property
    def unfolded(self) -> int:
        """How far it was unfolded since it was last begun."""
        return self.position + len(self._ready)

    def is_at_end(self) -> bool:
        """Whether it was unfolded to its end, or its damage. Raises OSError."""
        if self.damage or self._is_over:
            return True
        return self.is_complete and not self._pending and not self._raw(1, self.compressed_position)

    def _raw(self, size: int, position: int) -> bytes:
        return os.pread(self._descriptor, size, position)

    def _start_member(self) -> bool:
        """Begins the next member. NULs between members are passed over; other bytes end the stream, as for gzip."""
        while (begins := self._begins_member()) is None:
            had = len(self._pending)
            self._fill()
            if len(self._pending) == had:
                return False
        if not begins:
            self._is_over = True
            return False
        self._stream = self._codec.new()
        self.is_complete = False
        return True

    def _begins_member(self) -> bool | None:
        if self.is_complete:
            self._pending = self._pending.lstrip(b"\0")
        return self._codec.begins(self._pending)


def reader_for(descriptor: int) -> ByteReader:
    """Plain or compressed by the first bytes: names lie, and a `.gz` in progress is empty at first."""
    codec = codec_of(os.pread(descriptor, 4, 0))
    return PlainReader(descriptor) if codec is None else CompressedReader(descriptor, codec)


def told_by(descriptor: int) -> int:
    """How many bytes an archive that nobody writes any more says it unfolds to; 0 if it does not say.

    Raises OSError.
    """
    size = os.fstat(descriptor).st_size
    foot = os.pread(descriptor, EDGE_BYTES, max(0, size - EDGE_BYTES))
    return told_bytes(os.pread(descriptor, EDGE_BYTES, 0), foot, size)


@dataclass(slots=True)
class Chunk:
    """Whole lines, `[start, end)`. `data` ends with a newline unless the line is cut or is the file's last."""

    start: int
    end: int
    data: bytes
    is_cut: bool = False
    """One line longer than the limit: `data` is its prefix, `end` stands behind its newline."""
    is_tail: bool = False
    """What a file ends in that may be continued: the unterminated last line, or from an open line in parts on."""
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
        self.longest_bytes = max_line_bytes
        """A longer line is cut."""
        self._chunk_bytes = CHUNK_BYTES
        self._reset_line()

    def _reset_line(self) -> None:
        self._text_start = self.position  # behind the NULs
        self._scanned = self.position  # no newline before this
        self._nuls_from = self.position  # nothing but NULs from here up to `_scanned`
        self._is_at_end = False  # the last search came to the end of the file
        self._kept = bytearray()  # the line's text so far, if the reader cannot go back

    def jump(self, position: int) -> None:
        """Goes on at `position`, the beginning of a line."""
        self.position = position
        self._reset_line()

    @property
    def scanned(self) -> int:
        """How far the end of the line at `position` was looked for in vain."""
        return self._scanned

    def next_chunk(self, *, limit: int | None = None, size: int | None = None) -> Chunk | None:
        """The next whole lines, at most `size` bytes (default: by what came last) or one line, not beyond `limit`; None
        if no line is complete yet.

        Raises OSError, and Damaged when everything before the damage has been given.
        """
        if size is None:
            size = self._chunk_bytes
        if limit is not None:
            size = min(size, limit - self.position)
        if self._scanned > self.position:
            return self._long_line()
        data = self.reader.read(self.position, size) if size > 0 else b""
        self._chunk_bytes = FULL_CHUNK_BYTES if len(data) >= CHUNK_BYTES else CHUNK_BYTES
        cut = data.rfind(b"\n") + 1
        if cut and data[0]:
            return self._take(Chunk(self.position, self.position + cut, data[:cut] if cut < len(data) else data))
        if not data or (len(data) < size and data[0]):
            self._raise_damage()
            return None
        return self._long_line()

    def patient_chunk(self, *, size: int | None = None) -> Chunk | None:
        """The same for a reader that nothing else waits for: the end of a line of any length is looked for at once."""
        while (chunk := self.next_chunk(size=size)) is None and self._scanned > self.position:
            if not self.reader.read(self._scanned, 1):  # else one turn was not enough
                return None
        return chunk

    def _raise_damage(self) -> None:
        if self.reader.damage:
            raise Damaged(self.reader.damage)

    def _take(self, chunk: Chunk) -> Chunk:
        self.jump(chunk.end)
        return chunk

    def _long_line(self) -> Chunk | None:
        """A line that one chunk does not hold, or that begins with NULs."""
        newline = self._find_end(turn_bytes=SCAN_BYTES)
        return None if newline is None else self._take(self._line(newline, is_tail=False))

    def _find_end(self, *, turn_bytes: int | None) -> int | None:
        """Looks for the newline of the line at `position`; None if it is not there or the turn is over."""
        if self._is_at_end:
            self._go_back_over_nuls()
        turn_ends = None if turn_bytes is None or not self.reader.is_seekable else self._scanned + turn_bytes
        while turn_ends is None or self._scanned < turn_ends:
            data = self.reader.read(self._scanned, CHUNK_BYTES * 4)
            if not data:
                self._raise_damage()
                self._is_at_end = True
                return None
            if self._scanned == self._text_start:
                self._text_start += len(data) - len(data.lstrip(b"\0"))
            newline = data.find(b"\n")
            if newline >= 0:
                self._keep(data[:newline])
                self._scanned += newline
                return self._scanned
            self._keep(data)
            self._pass(data)
        return None

    def _pass(self, data: bytes) -> None:
        """Goes on behind data without a newline, and behind the hole that it may end in."""
        text_bytes = len(data.rstrip(b"\0"))
        if text_bytes:
            self._nuls_from = self._scanned + text_bytes
        self._scanned += len(data)
        if not text_bytes and isinstance(self.reader, PlainReader):
            is_before_text = self._text_start == self._scanned
            self._scanned = self.reader.behind_hole(self._scanned)
            if is_before_text:
                self._text_start = self._scanned

    def _go_back_over_nuls(self) -> None:
        """What a file ends in may be room that its writer has made and fills now (a mapped file, one that was allocated
        before): lines come where NULs were.
        """
        self._is_at_end = False
        if self.reader.is_seekable:
            self._scanned = self._nuls_from
            self._text_start = min(self._text_start, self._nuls_from)

    @property
    def nuls(self) -> tuple[int, int]:
        """From where to where nothing but NULs was found at the end of what was searched; not read as yet."""
        return self._nuls_from, self._scanned

    def _line(self, end: int, *, is_tail: bool) -> Chunk:
        """The line at `position`, of which the newline (or the file's end) is at `end`."""
        start, limit = self._text_start, self.longest_bytes
        length = end - start
        text = self._text(min(length, limit + 1))
        is_cut = length > limit + 1 or len(text.removesuffix(b"\r")) > limit  # a carriage return is no text
        data = text[:limit] if is_cut else text if is_tail else text + b"\n"
        nuls = start - self.position
        return Chunk(
            self.position, end if is_tail else end + 1, data, is_cut=is_cut, is_tail=is_tail, leading_nuls=nuls
        )

    def _keep(self, data: bytes) -> None:
        if not self.reader.is_seekable:
            missing = self.longest_bytes + 1 - len(self._kept)
            text = data[max(0, self._text_start - self._scanned) :]
            self._kept += text[: max(0, missing)]

    def _text(self, length: int) -> bytes:
        """The first `length` bytes of the line."""
        if not self.reader.is_seekable:
            return bytes(self._kept[:length])
        pieces = []
        position, end = self._text_start, self._text_start + length
        while position < end and (piece := self.reader.read(position, end - position)):
            pieces.append(piece)
            position += len(piece)
        return b"".join(pieces)

    def tail_chunk(self) -> Chunk | None:
        """The unterminated last line, for a file that is final; None if there is none, or nothing but NULs.

        None also where it is torn by damage: nobody knows how it goes on. Passes over nothing: to go on behind it is
        the caller's `jump`. Raises OSError.
        """
        try:
            newline = self._find_end(turn_bytes=None)
        except Damaged:
            return None
        if newline is not None or self._scanned == self._text_start:
            return None
        return self._line(self._scanned, is_tail=True)


BLANK = b"\0 \t\n\r\x0b\x0c"


class EndlessError(Damaged):
    """A file begins with so much that is no line that no more of it is looked at."""


def first_line(reader: ByteReader, *, is_final: bool = False) -> bytes | None:
    """The first line that is not blank, without NULs before it and line ending, at most FIRST_LINE_BYTES; None if there
    is no complete one.

    `is_final`: the file will not grow; an unterminated line is a line. Raises OSError and Damaged, EndlessError too.
    """
    position, text, blank_bytes = 0, b"", 0
    while True:
        data = reader.read(position, CHUNK_BYTES if position else 4096)
        position += len(data)
        lines, text = _lines_of(text, data)
        for line in lines:
            if found := _first_text(line):
                return found
        text = text.lstrip(b"\0")
        if not data:
            return _first_text(text) if is_final else None
        if len(text) > FIRST_LINE_BYTES:
            return _first_text(text)
        blank_bytes = 0 if text.strip() else blank_bytes + len(data)
        if blank_bytes > MAX_BLANK_BYTES:
            raise EndlessError(f"begins with more than {MAX_BLANK_BYTES >> 20} MiB without a line")
        if not text and isinstance(reader, PlainReader):
            position = reader.behind_hole(position)


def _lines_of(text: bytes, data: bytes) -> tuple[list[bytes], bytes]:
    """The lines that end in `data`, which comes after `text`, and what is left; fast where there is nothing in it."""
    if not (text + data).translate(None, BLANK):
        return [], (text + data).rpartition(b"\n")[2]
    *lines, left = (text + data).split(b"\n")
    return lines, left


def _first_text(line: bytes) -> bytes | None:
    """What of a first line enters the identity; None if it is blank. A longer line gives what its prefix gives."""
    text = line.lstrip(b"\0")
    if len(text.removesuffix(b"\r")) > FIRST_LINE_BYTES:
        return text[:FIRST_LINE_BYTES]
    text = text.removesuffix(b"\r")
    return text if text.strip() else None


def bytes_before(reader: ByteReader, position: int) -> bytes:
    """What the mark at a position is made of; fewer bytes where the file ends earlier."""
    size = window(position)
    return reader.read(position - size, size)
