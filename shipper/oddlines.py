"""What can be made of lines that are no ordinary objects: other encodings, half characters, numbers beyond a double.

Of one line each, but for `is_any_too_deep`. `parse` asks, and decides what is wrong with the line.
"""

from __future__ import annotations

import codecs
import json
import math
import re
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Final

import msgspec

from shipper.batch import MISSING, Problem
from shipper.columns import DECODE_ERRORS

MAX_DEPTH: Final = 100
BOM: Final = b"\xef\xbb\xbf"
BAD_ENCODING: Final = Problem("encoding_failure", "encoding")


def is_utf8(text: bytes) -> bool:
    if text.isascii():
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def whole_characters(text: bytes) -> bytes:
    """A prefix without the character that was cut at its end."""
    return text[: codecs.utf_8_decode(text, "replace", False)[1]]


def readable(text: bytes) -> tuple[bytes, list[Problem]]:
    """A line without byte order mark, as UTF-8; what is none becomes U+FFFD."""
    if text.isascii():
        return text, []
    text = text.removeprefix(BOM)
    return (text, []) if is_utf8(text) else (text.decode("utf-8", "replace").encode(), [BAD_ENCODING])


_ESCAPES = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a pair
    rb"|(?P<lone>\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\."
)


def without_lone_surrogates(text: bytes) -> bytes:
    """JSON with U+FFFD for escapes that are half a character, which strict readers refuse."""
    return _ESCAPES.sub(lambda match: b"\\ufffd" if match["lone"] else match[0], text)


_JSON_SPACE = b" \t\r\n"
_JSON_WORDS = frozenset({b"true", b"false", b"null"})
_JSON_NUMBERS = b"-0123456789"
_IN_NUMBERS = b"+-.0123456789Ee"


def is_json(text: bytes) -> bool:
    """Whether a line is JSON of any kind. Most that are asked about are texts, which the decoder is not needed for."""
    text = text.strip(_JSON_SPACE)
    first = text[:1]
    if first in _JSON_NUMBERS:
        if text.translate(None, _IN_NUMBERS):
            return False
    elif first not in b'{["':
        return text in _JSON_WORDS
    try:
        msgspec.json.decode(text)
    except DECODE_ERRORS:
        return False
    return True


def object_in(text: bytes) -> dict[str, Any] | None:
    """The object in a line that the fast decoder refuses for its numbers; None if it is not JSON.

    Numbers that no double can hold are MISSING as a field, and null within one.
    """
    try:
        value = json.loads(text.decode(), parse_constant=_refuse, parse_int=_int, parse_float=_float)
    except (ValueError, RecursionError):
        return None
    return {key: MISSING if item is _BEYOND else _without_beyond(item) for key, item in value.items()}


_BEYOND: Final = object()


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _float(digits: str) -> Any:
    number = float(digits)
    return number if math.isfinite(number) else _BEYOND


def _int(digits: str) -> Any:
    return int(digits) if len(digits) < 300 else _float(digits)


def _without_beyond(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_beyond(item) for item in value]
    if isinstance(value, dict):
        return {key: _without_beyond(item) for key, item in value.items()}
    return None if value is _BEYOND else value


# Depth --------------------------------------------------------------------------------------------------------------

_STRINGS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"')
_STEPS = {ord("{"): 1, ord("["): 1, ord("}"): -1, ord("]"): -1}
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in _STEPS)


def is_too_deep(line: bytes) -> bool:
    """Whether a line nests deeper than MAX_DEPTH (of which a server may never answer)."""
    if len(line) <= MAX_DEPTH or _count(line, b"{") + _count(line, b"[") <= MAX_DEPTH:
        return False
    brackets = _STRINGS.sub(b"", line).translate(None, _NO_BRACKETS)
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0) > MAX_DEPTH


def is_any_too_deep(data: bytes, lines: Sequence[bytes]) -> bool:
    """Whether one of several objects is; `data` are the lines."""
    if len(lines) == 1 and b"[" not in data and data.find(b"{", data.find(b"{") + 1) < 0:
        return False  # most long lines are flat; counting would make a copy of each
    opening = _count(data, b"{") + _count(data, b"[")
    return opening >= MAX_DEPTH + len(lines) and any(map(is_too_deep, lines))


def _count(data: bytes, byte: bytes) -> int:
    """How often a byte stands in `data`: what is left without it, since `replace` looks by `memchr` and takes half the
    time of `count`, which looks at each byte (CPython 3.11: 67 against 137 ns for a line of 307 bytes).
    """
    return len(data) - len(data.replace(byte, b"")) if byte in data else 0
