"""Byte readers for what archives hold: a part of another stream, a stream within it, standard input, and the limits
that a hostile archive meets.

All are `tail.ByteReader`s; `entries` puts them together.
"""

from __future__ import annotations

import io
import os
import select
from collections.abc import Callable

import msgspec

from shipper.compression import Codec
from shipper.tail import ByteReader, CompressedReader, Damaged, PlainReader

FREE_BYTES = 64 << 20
"""So much may unfold at any ratio: short files of equal lines are no bombs."""
_KEPT_BYTES = 4 << 20
_KEPT_BEFORE_BYTES = 64 << 10
_WAIT_SECONDS = 0.2


class Limits(msgspec.Struct, frozen=True):
    """What a compressed file may unfold to; 0: without limit."""

    ratio: int = 250
    size_bytes: int = 256 << 30


class Raw:
    """Compressed bytes at a position, of whatever holds them."""

    def __init__(self, read: Callable[[int, int], bytes], *, is_repeatable: bool = True) -> None:
        self.read = read
        """Position, size."""
        self.is_repeatable = is_repeatable


class Unfolded(CompressedReader):
    """What a compressed stream decompresses to, within limits. Damaged where it goes beyond them."""

    def __init__(self, raw: Raw, codec: Codec, limits: Limits) -> None:
        self._source = raw
        self._limits = limits
        super().__init__(-1, codec)

    def read(self, position: int, size: int) -> bytes:
        data = super().read(position, size)
        problem = self._beyond(position + len(data))
        if problem:
            self.damage = problem
            raise Damaged(problem)
        return data

    def _beyond(self, unfolded_bytes: int) -> str:
        limits = self._limits
        if limits.size_bytes and unfolded_bytes > limits.size_bytes:
            return f"decompresses to more than {limits.size_bytes >> 20:,} MiB (--max-size)"
        is_much = unfolded_bytes > FREE_BYTES and unfolded_bytes > limits.ratio * max(1, self.compressed_position)
        if limits.ratio and is_much:
            return f"decompresses to more than {limits.ratio} times its size (--max-ratio)"
        return ""

    def _raw(self, size: int, position: int) -> bytes:
        return self._source.read(position, size)

    def _approach_damage(self, message: str, fed_bytes: int) -> bool:
        if self._source.is_repeatable:
            return super()._approach_damage(message, fed_bytes)
        self.damage = message
        return False


class Section:
    """A part of another reader: one file of a tar archive. The other reader is not owned."""

    def __init__(self, inner: ByteReader, *, start: int, size: int) -> None:
        self._inner = inner
        self._start = start
        self._size = size
        self._has_ended = False

    def read(self, position: int, size: int) -> bytes:
        size = min(size, self._size - position)
        if size <= 0:
            self._has_ended = True
            return b""
        data = self._inner.read(self._start + position, size)
        if not data:
            raise Damaged("the archive ends within this file")
        return data

    @property
    def damage(self) -> str:
        return self._inner.damage

    @property
    def is_complete(self) -> bool:
        """Nothing is ever added to it."""
        return self._has_ended

    @property
    def is_seekable(self) -> bool:
        return self._inner.is_seekable


class Stream:
    """Standard input, which gives each byte once. Its beginning is kept, for those who look at it before they read it.

    The descriptor is not owned.
    """

    damage = ""
    is_seekable = False

    def __init__(self, descriptor: int, *, is_stopping: Callable[[], bool]) -> None:
        self._descriptor = descriptor
        self._is_stopping = is_stopping
        self._kept = bytearray()
        self._start = 0
        self.is_complete = False

    def read(self, position: int, size: int) -> bytes:
        if position < self._start:
            raise OSError(f"cannot go back to offset {position} of a stream")
        self._drop(position)
        while not self.is_complete and self._start + len(self._kept) < position + size:
            if not self._is_readable():
                break
            piece = os.read(self._descriptor, 1 << 18)
            self.is_complete = not piece
            self._kept += piece
            self._drop(position)
        at = position - self._start
        return bytes(memoryview(self._kept)[at : at + size])

    def _is_readable(self) -> bool:
        """Waits until there is something, or the end; False if this process is to stop."""
        while not select.select([self._descriptor], [], [], _WAIT_SECONDS)[0]:
            if self._is_stopping():
                return False
        return True

    def _drop(self, position: int) -> None:
        beyond = min(position - _KEPT_BEFORE_BYTES - self._start, len(self._kept))
        if beyond > 0 and len(self._kept) > _KEPT_BYTES:
            del self._kept[:beyond]
            self._start += beyond


class AsFile(io.RawIOBase):
    """A reader as a file object, as `tarfile` wants one."""

    def __init__(self, reader: ByteReader) -> None:
        self._reader = reader
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_END:
            raise OSError("the end of a stream is not known")
        self._position = offset + (self._position if whence == io.SEEK_CUR else 0)
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int = -1) -> bytes:
        pieces = []
        while size > 0 and (piece := self._reader.read(self._position, size)):
            pieces.append(piece)
            self._position += len(piece)
            size -= len(piece)
        return b"".join(pieces)


def consumed(reader: ByteReader) -> int | None:
    """How many bytes on disk were read for what a reader gave; None for a plain one, where positions say it."""
    if isinstance(reader, CompressedReader):
        return reader.compressed_position
    return consumed(reader._inner) if isinstance(reader, Section) else None  # noqa: SLF001 - one module's own


def is_plain(reader: ByteReader) -> bool:
    """Whether its bytes stand in a file of their own, as they are."""
    return isinstance(reader, PlainReader)
