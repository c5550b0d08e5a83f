"""Compressed streams: which codec a file's first bytes tell, and how one is unfolded piece by piece.

`tail` reads files with them; nothing here knows of files.
"""

from __future__ import annotations

import zlib
from typing import Any, Protocol, cast

from isal import isal_zlib


class Codec(Protocol):
    """How one kind of compressed stream is read."""

    errors: tuple[type[Exception], ...]
    piece_bytes: int
    """Compressed bytes fed at a time: bounds what a hostile ratio can unfold to in one step."""

    def begins(self, head: bytes) -> bool | None:
        """Whether a stream begins so; None if that is too short to say."""

    def new(self) -> Any: ...

    def decompress(self, stream: Any, data: bytes) -> tuple[bytes, bytes]:
        """What `data` gives, and what of it was not taken yet."""


def _begins(head: bytes, magic: bytes) -> bool | None:
    if len(head) < len(magic):
        return None if magic.startswith(head) else False
    return head.startswith(magic)


class GzipCodec:
    errors: tuple[type[Exception], ...] = (zlib.error, cast("type[Exception]", isal_zlib.error))
    piece_bytes = 16 << 10
    unfolded_bytes = 256 << 10
    highest_ratio = 1032  # https://www.zlib.net/zlib_tech.html

    def begins(self, head: bytes) -> bool | None:
        return _begins(head, b"\x1f\x8b")

    def new(self) -> Any:
        return isal_zlib.decompressobj(wbits=31)

    def decompress(self, stream: Any, data: bytes) -> tuple[bytes, bytes]:
        return stream.decompress(data, self.unfolded_bytes), stream.unconsumed_tail

    def told_bytes(self, foot: bytes, size: int) -> int:
        """What a whole file of `size` bytes that ends in `foot` gives; of several members, the last one."""
        told = int.from_bytes(foot[-4:], "little")
        return told if told <= size * self.highest_ratio else 0  # what a file that was cut ends in is any number


class ZstdCodec:
    piece_bytes = 1 << 10  # the library has no limit on what a piece unfolds to
    window_bytes = 8 << 20  # what all levels below --ultra need; a file may ask for 128 MiB, and many files for as much

    def __init__(self) -> None:
        import zstandard  # 1 MB of memory that only .zst files need

        self.errors: tuple[type[Exception], ...] = (zstandard.ZstdError,)
        self._content_size = zstandard.frame_content_size
        self.new = zstandard.ZstdDecompressor(max_window_size=self.window_bytes).decompressobj

    @staticmethod
    def begins(head: bytes) -> bool | None:
        if head and 0x50 <= head[0] <= 0x5F:  # a frame to be skipped, such as pzstd writes before others
            return _begins(head[1:], b"\x2a\x4d\x18")
        return _begins(head, b"\x28\xb5\x2f\xfd")

    def decompress(self, stream: Any, data: bytes) -> tuple[bytes, bytes]:
        return stream.decompress(data), b""

    def told_bytes(self, head: bytes) -> int:
        """What the first frame gives, if it says so."""
        try:
            return max(0, self._content_size(head))
        except self.errors:
            return 0


def codec_of(head: bytes) -> Codec | None:
    """The codec of a file that begins with these (four) bytes; None for a plain one, or too few bytes to say."""
    if GzipCodec().begins(head):
        return GzipCodec()
    return ZstdCodec() if ZstdCodec.begins(head) else None


EDGE_BYTES = 18
"""The longest header of a zstd frame."""


def told_bytes(head: bytes, foot: bytes, size: int) -> int:
    """How many bytes a whole file says it unfolds to, by its first and last EDGE_BYTES; 0 if it does not say."""
    codec = codec_of(head)
    if isinstance(codec, GzipCodec):
        return codec.told_bytes(foot, size)
    return codec.told_bytes(head) if isinstance(codec, ZstdCodec) else 0
