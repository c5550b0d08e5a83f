"""What is switched on by keys of their own: the networks of IP addresses, path segments, URL parameters."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from shipper.redact.actions import MASK, network_of
from shipper.redact.patterns import BREAK, Pattern, is_part

_WORD: Final = re.compile(rb"\w")
_INSIDE: Final = re.compile(rb"[\w:.]")


def _v4(text: bytes, start: int, end: int) -> tuple[int, int] | None:
    """A whole address: valid, and not a part of a longer number or name."""
    is_valid = all(int(part) <= 255 for part in text[start:end].split(b"."))
    return (start, end) if is_valid and not is_part(text, start, end) else None


def _v6(text: bytes, start: int, end: int) -> tuple[int, int] | None:
    """A whole address, without the full stop or colon of the sentence."""
    found = text[start:end].rstrip(b".")
    if found.endswith(b":") and not found.endswith(b"::"):
        found = found[:-1]
    stop = start + len(found)
    if (start and _INSIDE.match(text, start - 1)) or _WORD.match(text, stop) or network_of(found) is None:
        return None
    return start, stop


def _v4_network(text: bytes) -> bytes:
    return text[: text.rindex(b".") + 1] + b"0"


def _v6_network(text: bytes) -> bytes:
    return network_of(text) or MASK


ADDRESSES: Final = (
    Pattern("ip", rf"{BREAK}(\d{{1,3}}(?:\.\d{{1,3}}){{3}})\b", check=_v4, replace=_v4_network),
    Pattern(
        "ip",
        r"(?:[0-9a-f]{1,4}:){1,7}:[0-9a-f:.]*|::[0-9a-f][0-9a-f:.]*|(?:[0-9a-f]{1,4}:){6}[0-9a-f:.]+",
        check=_v6,
        replace=_v6_network,
    ),
)


def segments_pattern(names: Sequence[str]) -> Pattern:
    """The path segments after those that are called `names`."""
    named = "|".join(map(re.escape, names))
    return Pattern(
        "url_segments",
        rf"(?:/|%2f)(?:{named})(?:/|%2f)((?:[^/?#\s\"'&<>\\%;]|%(?:[013-9a-f][0-9a-f]|2[0-9a-e]))+)",
        hint=rf"(?:/|%2f)(?:{named})(?:\\*/|%2f)",
    )


def query_pattern(name: str, rule: str, replace: Callable[[bytes], bytes]) -> Pattern:
    """The values of the URL parameters that are called `name`."""
    named = re.escape(name)
    return Pattern(
        rule,
        rf"(?:[?&]|%26|%3f){named}=([^&#\s\"'<>]+)",
        hint=rf"(?:[?&]|u0026|%26|%3f){named}=",
        replace=replace,
    )
