"""The codecs that only archives have, beside those of live files: bzip2 and xz. Loaded when such a file is met."""

from __future__ import annotations

import bz2
import lzma
from typing import Any

from shipper.compression import Codec, codec_of

_UNFOLDED_BYTES = 256 << 10
_MOST_MEMORY = 192 << 20
"""What an xz stream may ask for; `xz -9` needs 65 MiB."""


class Bz2Codec:
    errors: tuple[type[Exception], ...] = (OSError, EOFError)
    piece_bytes = 16 << 10

    def begins(self, head: bytes) -> bool | None:
        return _begins(head, b"BZh")

    def new(self) -> Any:
        return bz2.BZ2Decompressor()

    def decompress(self, stream: Any, data: bytes) -> tuple[bytes, bytes]:
        return stream.decompress(data, _UNFOLDED_BYTES), b""


class XzCodec:
    errors: tuple[type[Exception], ...] = (lzma.LZMAError, EOFError)
    piece_bytes = 16 << 10

    def begins(self, head: bytes) -> bool | None:
        return _begins(head, b"\xfd7zXZ\0")

    def new(self) -> Any:
        return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_MOST_MEMORY)

    def decompress(self, stream: Any, data: bytes) -> tuple[bytes, bytes]:
        return stream.decompress(data, _UNFOLDED_BYTES), b""


def _begins(head: bytes, magic: bytes) -> bool | None:
    if len(head) < len(magic):
        return None if magic.startswith(head) else False
    return head.startswith(magic)


def archive_codec_of(head: bytes) -> Codec | None:
    """The codec of a file that begins with these six bytes; None for a plain one."""
    live = codec_of(head[:4])
    if live is not None:
        return live
    codecs: tuple[Codec, ...] = (Bz2Codec(), XzCodec())
    return next((codec for codec in codecs if codec.begins(head)), None)
