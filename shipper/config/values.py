"""What single values mean: environment references, numbers, sizes, durations, addresses, URLs.

Pure functions from text to value. Each raises BadValue, whose message says what is expected and never repeats the text:
`decode` knows whether the text may be shown, and where it stands.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from shipper.routepatterns import parse_pattern
from shipper.settings import Kind, Secret

LITERAL_REFERENCE: Final = "$${"
_REFERENCE: Final = re.compile(r"\$\$\{|\$\{(?P<inside>[^}]*)(?P<end>\}?)")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_INTEGER: Final = re.compile(r"[+-]?[0-9]+")
MAX_DIGITS: Final = 20
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
_WITH_UNIT: Final = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?)\s*([A-Za-z]*)")
_SIZE_UNITS: Final[Mapping[str, int]] = {
    "": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
    "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
}  # fmt: skip
_DURATION_UNITS: Final[Mapping[str, Decimal | int]] = {
    "": 1,
    "ms": Decimal("0.001"),
    "s": 1,
    "m": 60,
    "h": 3600,
    "d": 86400,
}
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_SEGMENT: Final = re.compile(r"[A-Za-z0-9._~-]+")
OWN_HEADERS: Final = frozenset(
    {"accept", "accept-encoding", "connection", "content-encoding", "content-length", "content-type"}
    | {"host", "transfer-encoding", "x-opaque-id"}
)
NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


class BadValue(Exception):  # noqa: N818 - a finding, turned into a line of ConfigError by `decode`
    """A text is not what its field needs; the message is what is wrong or expected, without the text."""


def substitute(text: str, environ: Mapping[str, str]) -> str:
    """`text` with `${NAME}` and `${NAME:-default}` replaced, and `$${` as a literal `${`.

    As in a shell, the default stands in for an empty variable, too. The result is not looked at again, so what a
    variable holds can neither refer to others nor change the YAML around it.
    """

    def value(match: re.Match[str]) -> str:
        inside = match["inside"]
        if inside is None:
            return "${"
        name, has_default, default = inside.partition(":-")
        if not match["end"] or not _NAME.fullmatch(name):
            raise BadValue("`${` begins ${NAME} or ${NAME:-default}; a literal one is written $${")
        found = environ.get(name)
        if found is None and not has_default:
            raise BadValue(f"environment variable {name} is not set; set it or write ${{{name}:-default}}")
        return found or default

    return _REFERENCE.sub(value, text)


def boolean(text: str) -> bool:
    if text not in _BOOLEANS:
        raise BadValue("expected true or false")
    return _BOOLEANS[text]


def integer(text: str) -> int:
    if not _INTEGER.fullmatch(text) or len(text) > MAX_DIGITS:
        raise BadValue("expected a whole number")
    return int(text)


def number(text: str) -> float:
    value = float(text) if _NUMBER.fullmatch(text) else math.inf
    if not math.isfinite(value):
        raise BadValue("expected a number")
    return value


def size(text: str) -> int:
    """Bytes of `10GB`, `512KiB`, `1024`: B, KB, MB, GB, TB count in thousands, KiB, MiB, GiB, TiB in 1024s."""
    match = _WITH_UNIT.fullmatch(text)
    if not match or match[2].lower() not in _SIZE_UNITS:
        raise BadValue("expected a size such as 20MB, 512KiB or a number of bytes")
    return int(Decimal(match[1]) * _SIZE_UNITS[match[2].lower()])


def duration(text: str) -> float:
    """Seconds of `500ms`, `5s`, `2m`, `1h`, `1d`; a number alone is seconds."""
    match = _WITH_UNIT.fullmatch(text)
    if not match or match[2] not in _DURATION_UNITS:
        raise BadValue("expected a duration such as 500ms, 5s, 2m or a number of seconds")
    return float(Decimal(match[1]) * _DURATION_UNITS[match[2]])


def amount(number: float, kind: Kind | None) -> str:
    """A bound or default as it would be written: `64MiB`, `0.5s`, `100`."""
    if kind is Kind.SIZE and number >= 1024:
        return f"{number / (1 << 20):g}MiB" if number >= 1 << 20 else f"{number / 1024:g}KiB"
    return f"{number:g}s" if kind is Kind.DURATION else f"{number:g}"


def untyped(text: str, *, is_plain: bool) -> str | int | float | bool:
    """A value where any is allowed (`fields`): only what is written without quotes can be other than text."""
    if not is_plain:
        return text
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _INTEGER.fullmatch(text):
        if len(text) > MAX_DIGITS or not -(1 << 63) <= int(text) < 1 << 64:
            raise BadValue("the number is too large; put it in quotes")
        return int(text)
    return number(text) if _NUMBER.fullmatch(text) else text


def listen(text: str) -> str:
    """`text` as host:port, '' where nothing listens; a bare port (`:9640`) listens on every address."""
    if not text:
        return ""
    host, port = parse_listen(text)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_listen(text: str) -> tuple[str, int]:
    """Host (a v6 address without brackets) and port (0: any free one) of host:port or [v6]:port."""
    host, colon, port = text.rpartition(":")
    is_bracketed = host.startswith("[") and host.endswith("]")
    bare = host[1:-1] if is_bracketed else host
    if not colon or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise BadValue("expected host:port, with a port from 0 to 65535")
    if (":" in bare) != is_bracketed or not re.fullmatch(r"[A-Za-z0-9._:%-]*", bare):
        raise BadValue("expected host:port, or [address]:port for IPv6")
    return bare or "0.0.0.0", int(port)  # noqa: S104 - what `:9640` asks for  # nosec B104


class Url(NamedTuple):
    """The parts of a URL that we use."""

    address: str
    """scheme://host:port/prefix, without user and password."""
    username: str
    password: str


def url(text: str) -> Url:
    """Takes `http(s)://[user:password@]host:port[/prefix]` apart; percent signs in user and password are decoded."""
    if re.search(r"[\s\x00-\x1f\x7f\\]", text):
        raise BadValue("a URL holds no spaces")
    if not re.match(r"(?i)https?://", text):
        raise BadValue("expected http://host:port or https://host:port")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise BadValue("expected host:port after the //; write / @ : of a password as %2F %40 %3A") from None
    if not host or port == 0 or parts.query or parts.fragment:
        raise BadValue("expected http(s)://[user:password@]host:port[/prefix]")
    if port is None:
        raise BadValue(
            f"the port is missing; write :9200 (or :{443 if parts.scheme == 'https' else 80}) behind the host"
        )
    shown = f"[{host}]" if ":" in host else host
    address = f"{parts.scheme}://{shown}:{port}{parts.path.rstrip('/')}"
    return Url(address, unquote(parts.username or ""), unquote(parts.password or ""))


def without_credentials(text: str) -> str:
    """A URL as it may be shown."""
    return re.sub(r"//.*@", "//***@", text) if "//" in text else re.sub(r".*:.*@", "***@", text)


def as_shown(argument: str) -> str:
    """What was typed, as it may be repeated: a URL without its password."""
    return without_credentials(argument) if "://" in argument else argument


def secret(text: str) -> Secret | None:
    """None where there is none, as where an optional variable is not set."""
    return Secret(text) if text else None


def fingerprint(text: str) -> str:
    """64 lower-case hex digits of a SHA-256 with or without colons; '' stays ''."""
    digits = text.replace(":", "").lower()
    if text and not re.fullmatch(r"[0-9a-f]{64}", digits):
        raise BadValue("expected the 64 hex digits of a SHA-256 fingerprint")
    return digits


def header_name(text: str) -> str:
    if not _HEADER_NAME.fullmatch(text):
        raise BadValue("expected the name of an HTTP header")
    if text.lower() in OWN_HEADERS:
        raise BadValue("this header is set by shipper itself")
    return text


def header_value(text: str) -> str:
    if not text.isascii() or not text.isprintable():
        raise BadValue("expected printable ASCII")
    return text


def name(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise BadValue("expected printable text that is not empty")
    return text


def segment(text: str) -> str:
    if not _SEGMENT.fullmatch(text):
        raise BadValue("expected one part of a path, of letters, digits, '.', '_', '~' and '-'")
    return text


def route(text: str) -> str:
    """`text`, if it is a pattern of routes."""
    try:
        parse_pattern(text)
    except ValueError as error:
        raise BadValue(str(error)) from None
    return text


def field_name(text: str) -> str:
    if not all(text.split(".")):
        raise BadValue("expected the name of a field (nested: with dots between)")
    return text
