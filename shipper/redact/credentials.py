"""The pack that is on by default: what gives access, by its looks. What has a name that says so is found by `names`."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

from shipper.redact.patterns import BREAK, START, Pattern, has_digit

_TALK: Final = frozenset(
    b"token tokens auth authentication authorization authorisation scheme schemes realm error errors is are was of and"
    b" or not for from in on to the a an with without by via if only credential credentials header headers format type"
    b" types method methods required missing invalid expired prefix mode string value strategy provider guard"
    b" security".split()
)
_HEADER_BEFORE: Final = re.compile(rb"(?:^|[:=\"'`\\,\[({])[ \t]*$")
_PARAMETERS: Final = (b"realm=", b"error=", b"scope=")


def _bearer(text: bytes, start: int, end: int) -> tuple[int, int] | None:
    """A token, not the next word of a sentence about bearer tokens."""
    token = text[start:end].rstrip(b".")
    lowered = token.lower()
    if not token or lowered in _TALK or lowered.startswith(_PARAMETERS):
        return None
    if token.isalpha() and token.islower() and len(token) < 16:
        begin = text.rfind(b"earer", max(0, start - 16), start) - 1
        if not _HEADER_BEFORE.search(text, max(0, begin - 8), begin):
            return None
    return start, start + len(token)


def _basic(text: bytes, start: int, end: int) -> tuple[int, int] | None:
    """Base64 of `user:password`."""
    token = text[start:end].replace(b"%3D", b"").replace(b"%3d", b"").rstrip(b"=").translate(_STANDARD)
    try:
        pair = base64.b64decode(token + b"=" * (-len(token) % 4), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (start, end) if ":" in pair and pair.isprintable() else None


def _api_key(text: bytes, start: int, end: int) -> tuple[int, int] | None:
    """Not a title such as `sk-learn-pipeline-for-images`."""
    return has_digit(text, start, end) if text.startswith(b"sk-", start) else (start, end)


_STANDARD: Final = bytes.maketrans(b"-_", b"+/")


def _whole_key(text: bytes, start: int, end: int) -> tuple[int, int] | None:
    """A private key from its first to its last line, or to where the text is cut."""
    close = text.find(b"-----END", end)
    if close < 0:
        return start, len(text)
    dashes = text.find(b"-----", close + 8)
    return start, dashes + 5 if 0 <= dashes - close < 64 else close + 8


_KINDS: Final = (
    r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{12,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|xox[a-z]-[A-Za-z0-9-]{10,}"
    r"|[rs]k_(?:live|test)_[A-Za-z0-9]{10,}|whsec_[A-Za-z0-9+/]{16,}|AIza[\w-]{30,}|ya29\.[\w-]{20,}"
    r"|gl(?:pat|ptt|dt|rt)-[\w-]{16,}|npm_[A-Za-z0-9]{30,}|SG\.[\w-]{16,}\.[\w-]{16,}|hv[sb]\.[\w-]{20,}"
    r"|dop_v1_[a-f0-9]{32,}|pypi-[\w-]{16,}|sk-[\w-]{20,}|SK[0-9a-f]{32}"
)
_KIND_HINTS: Final = (
    r"(?-i:A(?:KI|SI|BI|CC)A[A-Z0-9]|gh[pousr]_[A-Za-z0-9]|github_pat_\w|xox[a-z]-|[rs]k_(?:live|test)_|whsec_"
    r"|AIza[\w-]{4}|ya29\.|gl(?:pat|ptt|dt|rt)-|npm_[A-Za-z0-9]{8}|SG\.[\w-]{8}|hv[sb]\.[\w-]{8}|dop_v1_|pypi-[\w-]{8}"
    rf"|{START}sk-[\w-]{{20}}|SK[0-9a-f]{{8}})"
)
_MYSQL: Final = "mysql(?:dump|admin)?|mariadb(?:-dump|-admin)?"
_LDAP: Final = "ldap(?:search|modify|add|delete|whoami)"
_COMMANDS: Final = "|".join(
    rf"(?:{program})[ ](?:[^\n|;]*?[ ])??(?:{option})[\"'\\]{{0,2}}{before}"
    for program, option, before in (
        ("curl", "-u[ ]?|--(?:proxy-)?user[ =]", r"[^\s:\"'\\]+:"),
        ("https?", "-a[ ]?|--auth[ =]", r"[^\s:/\"'\\]+:"),
        ("smbclient", "(?-i:-U)[ ]?|--user[ =]", r"[^\s%\"'\\]+%"),
        (_MYSQL, "(?-i:-p)", ""),
        (f"sshpass|mongo(?:sh|dump|restore)?|docker login|{_LDAP}", "(?-i:-[pw])[ =]?", ""),
        ("redis-cli", "-a[ ]", ""),
    )
)
"""Programs, the options by which they take a password, and what stands before it."""
_IN_ESCAPED_URL: Final = r"[^\s/?#\"'<>&%]|%(?:[014-9a-f][0-9a-f]|2[0-9a-e]|3[0-9b-e])"
"""What is neither a slash, `?`, `:` nor the end."""
_URL_NAMES: Final = "sig|signature|auth|key|sid|code|access"

CREDENTIALS: Final = (
    Pattern("credentials.private_key", r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY", check=_whole_key, comes_first=True),
    Pattern(
        "credentials.bearer",
        BREAK + r"bearer(?:(?:[ \t]|\\t){1,4}|%20|\+)[\"'\\<({\[]{0,4}([\w.~+/%-]{3,}=*)",
        hint=r"bearer(?:[ \t\\+]|%20)",
        check=_bearer,
    ),
    Pattern(
        "credentials.basic",
        BREAK + r"basic(?:(?:[ \t]|\\t){1,4}|%20|\+)[\"'\\]{0,4}([\w+/-]{4,}(?:=|%3d){0,2})",
        hint=r"basic(?:[ \t\\+]|%20)",
        check=_basic,
    ),
    Pattern(
        "credentials.jwt",
        START + r"((?-i:ey[JA])[\w-]{6,}\.[\w-]{4,}(?:\.[\w-]*){0,3})",
        hint=r"(?-i:ey[JA])[\w-]{6,}\.",
    ),
    Pattern("credentials.api_key", rf"{START}(?-i:({_KINDS}))", hint=_KIND_HINTS, check=_api_key),
    Pattern(
        "credentials.url_password",
        r"://[^\s/?#\"'<>:@]*:([^\s/?#\"'<>]+)@",
        hint=r":(?:\\*/){2}[^\s/?#\"'<>@]*:[^\s/?#\"'<>]*@",
    ),
    Pattern(
        "credentials.url_password",
        rf"%3a%2f%2f(?:{_IN_ESCAPED_URL})*?%3a((?:{_IN_ESCAPED_URL})+)%40",
        hint=r"%3a%2f%2f[^\s/?#\"'<>]*%40",
    ),
    Pattern("credentials.option", rf"{BREAK}(?:{_COMMANDS})([^\s\"'\\]+)", hint=_COMMANDS),
    Pattern("credentials.url_password", r"jdbc:oracle:\w{1,8}:[^\s/@]+/([^\s@]+)@"),
    Pattern(
        "credentials.sql",
        BREAK + r"(?:identified(?:[ ]with[ ]\S{1,40})?[ ]by|(?:with|encrypted|(?:user|role)[ ]\S{1,64})[ ]password)"
        r"[ ]+'([^']+)'",
        hint=r"identified[ ][^\n]*by[ ]+(?:'|\\u0027)|[ ]password[ ]+(?:'|\\u0027)",
    ),
    Pattern(
        "credentials.url_query",
        rf"[?&](?:{_URL_NAMES})=([\w%.~+/=-]{{16,}})",
        hint=rf"(?:[?&]|u0026)(?:{_URL_NAMES})=",
        check=has_digit,
    ),
)
