"""What is written instead of a value: a mask, a keyed hash, its beginning, or the network of an address.

Pure functions over text as UTF-8. What an application has masked itself stays as it is, so that redacting again changes
nothing.
"""

from __future__ import annotations

import ipaddress
import json
import re
from typing import Final

import msgspec

from shipper.settings import RedactAction

MASK: Final = b"***"
HASH_DIGITS: Final = 32
KEPT_CHARACTERS: Final = 3
V4_PREFIX: Final = 24
V6_PREFIX: Final = 48
_PLACEHOLDER: Final = re.compile(
    rb"\*+|[\[<({]*(?:redacted|filtered|masked)[\])}>]*|[\[<({]+(?:hidden|removed|secret)[\])}>]+"
    rb"|null|undefined|none|nil|true|false|",
    re.IGNORECASE,
)
_NO_DIGITS: Final = bytes(byte for byte in range(256) if not 48 <= byte <= 57)
_NUMBER: Final = re.compile(rb"[+-]?[\d.,]++(?:[eE][+-]?\d++)?")
_OPAQUE: Final = re.compile(rb"[\w.~+/%=:-]{16,}")
_PUBLIC: Final = re.compile(rb"S-1-\d[\d-]*+|[A-Z]{2}[0-9a-f]{32}|\w+://.*|\d{4}-\d\d-\d\dT.*", re.DOTALL)
"""A Windows account, an identifier of Twilio's, a plain URL, a time."""
_TRUNCATED: Final = re.compile(r".{3}\*{3}", re.DOTALL)


def is_placeholder(text: bytes) -> bool:
    """Whether nothing is to be hidden: nothing there, a mask that is there already, or a word for nothing."""
    return len(text) <= 64 and _PLACEHOLDER.fullmatch(text) is not None


def is_count(text: bytes, digits: int) -> bool:
    """Whether a text is a number of at most so many digits."""
    return 0 < len(digits_of(text)) <= digits and _NUMBER.fullmatch(text) is not None


def is_opaque(text: bytes) -> bool:
    """Whether a text looks made by a machine so that nobody guesses it: long, one word, with digits."""
    return _OPAQUE.fullmatch(text) is not None and bool(digits_of(text)) and _PUBLIC.fullmatch(text) is None


def digits_of(text: bytes) -> bytes:
    return text.translate(None, _NO_DIGITS)


def acted(action: RedactAction, text: bytes, *, key: bytes, is_literal: bool = False) -> bytes:
    """What stands instead of `text` (decoded, UTF-8). `key` is for HASH alone. `is_literal`: it is no string in JSON,
    so that `true` is a value and no word for nothing.
    """
    if not is_literal and is_placeholder(text):
        return text
    if action is RedactAction.HASH:
        import hmac  # with OpenSSL, which few need

        return hmac.digest(key, text, "sha256").hex()[:HASH_DIGITS].encode()
    if action is RedactAction.TRUNCATE:
        return truncated(text)
    return MASK


def truncated(text: bytes) -> bytes:
    """An address's network, else the first characters; a short text is masked whole."""
    network = network_of(text)
    if network is not None:
        return network
    characters = text.decode("utf-8", "surrogatepass")
    if _TRUNCATED.fullmatch(characters):
        return text
    if len(characters) <= 2 * KEPT_CHARACTERS:
        return MASK
    return characters[:KEPT_CHARACTERS].encode("utf-8", "surrogatepass") + MASK


def network_of(text: bytes) -> bytes | None:
    """The first address of the /24 (v4, and v4 within v6) or /48 (v6) that an address lies in; None if it is none."""
    try:
        address = ipaddress.ip_address(text.decode("ascii"))
    except (ValueError, UnicodeDecodeError):
        return None
    if isinstance(address, ipaddress.IPv4Address):
        return str(_network(address, V4_PREFIX)).encode()
    if address.ipv4_mapped is not None:
        return f"::ffff:{_network(address.ipv4_mapped, V4_PREFIX)}".encode()
    return str(ipaddress.IPv6Address(int(address) >> 80 << 80)).encode()


def _network(address: ipaddress.IPv4Address, prefix: int) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address(int(address) >> (32 - prefix) << (32 - prefix))


def decoded(raw: bytes) -> bytes:
    """The text of a JSON string, given what stands between its quotes."""
    if b"\\" not in raw:
        return raw
    try:
        return msgspec.json.decode(b'"%b"' % raw, type=str).encode()
    except (msgspec.MsgspecError, UnicodeDecodeError):  # lone surrogates
        text: str = json.loads(b'"%b"' % raw.decode("utf-8", "replace").encode())
        return text.encode("utf-8", "surrogatepass")


def encoded(text: bytes) -> bytes:
    """`text` as it stands between the quotes of a JSON string."""
    try:
        return msgspec.json.encode(text.decode())[1:-1]
    except UnicodeDecodeError:
        return json.dumps(text.decode("utf-8", "surrogatepass"))[1:-1].encode()
