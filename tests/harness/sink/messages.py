"""Requests and answers as the sink sees them: the vocabulary of `core` and `server`, no sockets and no decisions."""

from __future__ import annotations

import contextlib
import http.client
from dataclasses import dataclass, field
from typing import NamedTuple, cast

from isal import igzip_lib, isal_zlib

PRODUCT = {"X-elastic-product": "Elasticsearch"}
"""The header by which clients know Elasticsearch."""
_PIECE_BYTES = 256 * 1024
_BrokenGzipError = cast(type[Exception], isal_zlib.error)  # its stub has it as an instance


@dataclass(frozen=True, slots=True)
class Head:
    """The first part of a request; header names are in lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]

    @property
    def length_bytes(self) -> int:
        """The body's length on the wire."""
        return int(self.headers.get("content-length", "0"))


class Wire(NamedTuple):
    """A request's body as it came: a part of the connection's buffer, not to be kept after the answer."""

    buffer: bytearray
    begin: int
    end: int

    def __bytes__(self) -> bytes:
        return bytes(memoryview(self.buffer)[self.begin : self.end])

    @property
    def size_bytes(self) -> int:
        """How long it is."""
        return self.end - self.begin

    @property
    def lines(self) -> int:
        """How many newlines it has."""
        return self.buffer.count(b"\n", self.begin, self.end)


def lines_of_gzip(wire: Wire) -> tuple[int, int] | None:
    """How many newlines and bytes a gzip body unfolds to, by pieces that stay in the cache; None if it is not whole."""
    inflater = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
    lines = size = 0
    given = bytes(wire)
    with contextlib.suppress(_BrokenGzipError):
        while piece := inflater.decompress(given, _PIECE_BYTES):
            lines += piece.count(b"\n")
            size += len(piece)
            given = b""
            if inflater.eof:
                return None if inflater.unused_data else (lines, size)
    return None


@dataclass(frozen=True, slots=True)
class Answer:
    """A response; `is_cut` ends it in the middle, `is_silent` keeps it back until the client gives up."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "application/json", **PRODUCT})
    is_cut: bool = False
    is_silent: bool = False

    def encoded(self, *, is_head: bool) -> bytes:
        """Return the bytes that go out."""
        lines = [f"HTTP/1.1 {self.status} {http.client.responses.get(self.status, 'Unknown')}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        lines.append(f"content-length: {len(self.body)}\r\n\r\n")
        whole = "\r\n".join(lines).encode() + (b"" if is_head else self.body)
        return whole[: len(whole) - len(self.body) // 2 - 1] if self.is_cut else whole


def inflated(head: Head, wire: Wire) -> bytes:
    """Return the uncompressed body; of a gzip that was cut off as much as there is, like the real one."""
    if head.headers.get("content-encoding") != "gzip":
        return bytes(wire)
    rest, members = bytes(wire), []
    with contextlib.suppress(_BrokenGzipError):
        while rest:
            inflater = isal_zlib.decompressobj(wbits=31)
            members.append(inflater.decompress(rest))
            rest = inflater.unused_data
    return members[0] if len(members) == 1 else b"".join(members)
