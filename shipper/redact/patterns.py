"""The catalogue: what each pack looks for in texts, whatever the field. Regular expressions find, functions check.

`find` runs on decoded text. `hint` is for the prefilter: it matches a line's bytes wherever `find` matches a text in
them (letters, digits and most punctuation that are written as `\\u00..` are found by ESCAPED instead). Each `find` is
bounded in what it looks ahead, so that finding all of its matches is linear too.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from shipper.redact.actions import MASK, network_of
from shipper.settings import Pack

Check = Callable[[bytes, int, int], tuple[int, int] | None]
"""What of `text[start:end]` is to be replaced, None if it is not what it looks like."""

ESCAPED: Final = r"\\u00(?:2[0134589acdef]|3[0-9abdf]|4[0-9a-f]|5[0-9a-f]|6[1-9a-f]|7[0-9a-e])"
"""ASCII that a JSON writer escapes although it need not: only to hide it, as far as we care."""

_BREAK: Final = r"(?:\b|\\[bfnrt]|\\u[0-9a-f]{4})"
"""Where a word begins in a line's bytes: `\\n` before it ends in a letter, but is none."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """One thing to look for. The last group of `find` is what gets replaced, or all of it if it has none.

    Expressions are RE2's, without regard to case but in `(?-i:...)`, over bytes.
    """

    rule: str
    find: str
    hint: str = ""
    """'' if it is `find`."""
    check: Check | None = None
    replace: Callable[[bytes], bytes] = lambda _: MASK
    in_numbers: bool = False
    """JSON numbers are looked at as well."""
    comes_first: bool = False
    """Before `name: value`, which would take the first word only."""


# Credentials --------------------------------------------------------------------------------------------------------

_TALK: Final = frozenset(
    b"token tokens auth authentication authorization authorisation scheme schemes realm error errors is are was of and"
    b" or not for from in on to the a an with without by via if only credential credentials header headers format type"
    b" types method methods required missing invalid expired prefix mode string value strategy provider guard"
    b" security".split()
)
_HEADER_BEFORE: Final = re.compile(rb"(?:^|[:=\"'`\\,\[({])[ \t]*$")


def _bearer(text: bytes, start: int, end: int) -> tuple[int, int] | None:
    """A token, not the next word of a sentence about bearer tokens."""
    token = text[start:end].rstrip(b".")
    if not token or token.lower() in _TALK or token.lower().startswith((b"realm=", b"error=", b"scope=")):
        return None
    if token.isalpha() and token.islower() and len(token) < 16:
        begin = text.rfind(b"earer", max(0, start - 16), start) - 1
        if not _HEADER_BEFORE.search(text, max(0, begin - 8), begin):
            return None
    return start, start + len(token)


def _basic(text: bytes, start: int, end: int) -> tuple[int, int] | None:
    """Base64 of `user:password`."""
    token = text[start:end].replace(b"%3D", b"=").replace(b"%3d", b"=").replace(b"-", b"+").replace(b"_", b"/")
    try:
        pair = base64.b64decode(token.rstrip(b"=") + b"=" * (-len(token.rstrip(b"=")) % 4), validate=True)
        is_text = pair.decode("utf-8").isprintable()
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (start, end) if is_text and b":" in pair else None


def _has_digit(text: bytes, start: int, end: int) -> tuple[int, int] | None:
    return (start, end) if any(48 <= byte <= 57 for byte in text[start:end]) else None


def _whole_key(text: bytes, start: int, end: int) -> tuple[int, int] | None:
    """A private key from its first to its last line, or to where the text is cut."""
    close = text.find(b"-----END", end)
    if close < 0:
        return start, len(text)
    dashes = text.find(b"-----", close + 8)
    return start, dashes + 5 if 0 <= dashes - close < 64 else close + 8


_START: Final = r"(?:^|[^A-Za-z0-9])"
_KEYS: Final = (
    r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{12,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|xox[a-z]-[A-Za-z0-9-]{10,}"
    r"|[rs]k_(?:live|test)_[A-Za-z0-9]{10,}|whsec_[A-Za-z0-9+/]{16,}|AIza[\w-]{30,}|ya29\.[\w-]{20,}"
    r"|gl(?:pat|ptt|dt|rt)-[\w-]{16,}|npm_[A-Za-z0-9]{30,}|SG\.[\w-]{16,}\.[\w-]{16,}|hv[sb]\.[\w-]{20,}"
    r"|dop_v1_[a-f0-9]{32,}|pypi-[\w-]{16,}|sk-[\w-]{20,}|SK[0-9a-f]{32}"
)
_KEY_HINTS: Final = (
    r"(?-i:A(?:KI|SI|BI|CC)A[A-Z0-9]|gh[pousr]_[A-Za-z0-9]|github_pat_\w|xox[a-z]-|[rs]k_(?:live|test)_|whsec_|AIza[\w-]{4}"
    r"|ya29\.|gl(?:pat|ptt|dt|rt)-|npm_[A-Za-z0-9]{8}|SG\.[\w-]{8}|hv[sb]\.[\w-]{8}|dop_v1_|pypi-[\w-]{8}"
    rf"|{_BREAK}sk-[\w-]{{8}}|SK[0-9a-f]{{8}})"
)
_URL_NAMES: Final = "sig|signature|auth|key|sid|code|access"
_CREDENTIALS: Final = (
    Pattern(
        "credentials.private_key",
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY",
        check=_whole_key,
    ),
    Pattern(
        "credentials.bearer",
        r"\bbearer(?:[ \t]{1,4}|%20|\+)[\"'\\]{0,4}([\w.~+/%-]{3,}=*)",
        hint=r"bearer(?:[ \\+]|%20)",
        check=_bearer,
    ),
    Pattern(
        "credentials.basic",
        r"\bbasic(?:[ \t]{1,4}|%20|\+)[\"'\\]{0,4}([\w+/-]{4,}(?:=|%3d){0,2})",
        hint=r"basic(?:[ \\+]|%20)",
        check=_basic,
    ),
    Pattern(
        "credentials.jwt",
        _START + r"((?-i:ey[JA])[\w-]{6,}\.[\w-]{4,}(?:\.[\w-]*){0,3})",
        hint=r"(?-i:ey[JA])[\w-]{6,}\.",
    ),
    Pattern("credentials.api_key", rf"{_START}(?-i:({_KEYS}))", hint=_KEY_HINTS, check=_has_digit),
    Pattern(
        "credentials.url_password",
        r"://[^\s/?#\"'<>:@]*:([^\s/?#\"'<>]+)@",
        hint=r":(?:\\*/){2}[^\s/?#\"'<>@]*:[^\s/?#\"'<>]*@",
    ),
    Pattern(
        "credentials.url_query",
        rf"[?&](?:{_URL_NAMES})=([\w%.~+/=-]{{16,}})",
        hint=rf"(?:[?&]|u0026)(?:{_URL_NAMES})=",
        check=_has_digit,
    ),
)

# Contact ------------------------------------------------------------------------------------------------------------

_NO_DOMAINS: Final = frozenset(
    b"png jpg jpeg gif svg webp avif ico js mjs cjs css scss ts tsx jsx json map html php py rb go rs java jar sh so"
    b" service socket timer mount target".split()
)


def _email(text: bytes, start: int, end: int) -> tuple[int, int] | None:
    """Not `icon@2x.png`, `git@host:path` or `unit@1.service`."""
    found = text[start:end].lower()
    return None if found.startswith(b"git@") or found.rpartition(b".")[2] in _NO_DOMAINS else (start, end)


def _phone(text: bytes, start: int, end: int) -> tuple[int, int] | None:
    digits = sum(48 <= byte <= 57 for byte in text[start:end])
    is_longer = text[end : end + 1].isalnum() or re.match(rb"[-.:/]\d|_", text[end : end + 2])
    is_id = text.startswith(b"00", start) and not re.search(rb"[ .-]", text[start:end])
    return None if is_longer or is_id or not 8 <= digits <= 15 else (start, end)


_INTERNATIONAL: Final = r"[1-9]\d{0,2}[ .-]?(?:\(0?\d{1,4}\)[ .-]?)?\d{1,5}(?:[ .-]?\d{2,5}){1,4}"
_NORTH_AMERICAN: Final = r"(?:\([2-9]\d\d\)[ .-]?|[2-9]\d\d[ .-])[2-9]\d\d[ .-]\d{4}"
_CONTACT: Final = (
    Pattern(
        "contact.email",
        r"([\w.%+\x80-\xff-]{1,64}(?:@|%40| ?[\[(]at[\])] ?)"
        r"(?:[\w\x80-\xff-]{1,63}(?:\.| ?[\[(]dot[\])] ?)){1,8}[a-z\x80-\xff]{2,24})(?:[^\w@-]|$)",
        hint=r"@[\w\\\x80-\xff-]|%40[\w\\\x80-\xff-]|[\[(]at[\])]",
        check=_email,
    ),
    Pattern(
        "contact.phone",
        rf"(?:^|[^\w.+-])((?:\+|00){_INTERNATIONAL}|(?:\+?1[ .-]?)?{_NORTH_AMERICAN})",
        hint=rf"(?:\+|u002b|00)[1-9][\d .()-]{{6}}|{_NORTH_AMERICAN}",
        check=_phone,
    ),
)

# National identifiers -----------------------------------------------------------------------------------------------


def _ssn(text: bytes, start: int, end: int) -> tuple[int, int] | None:
    """Numbers that are given out; not a part of something longer."""
    digits = bytes(byte for byte in text[start:end] if 48 <= byte <= 57)
    is_valid = (
        digits[:3] not in (b"000", b"666") and digits[:1] != b"9" and digits[3:5] != b"00" and digits[5:] != b"0000"
    )
    return (start, end) if is_valid and not _is_part(text, start, end) else None


_GOES_ON: Final = re.compile(rb"\w|[-.]\d")
_CAME_ON: Final = re.compile(rb"(?:\w|\d[-.])\Z")


def _is_part(text: bytes, start: int, end: int) -> bool:
    """Whether digits go on behind a dash or point, on either side."""
    return bool(_GOES_ON.match(text, end) or _CAME_ON.search(text, max(0, start - 2), start))


def _nhs(text: bytes, start: int, end: int) -> tuple[int, int] | None:
    """Ten digits, the last of which is their sum modulo 11."""
    digits = [byte - 48 for byte in text[start:end] if 48 <= byte <= 57]
    total = sum(weight * digit for weight, digit in zip(range(10, 1, -1), digits, strict=False))
    return (start, end) if -total % 11 == digits[9] and not _is_part(text, start, end) else None


_AFTER_LABEL: Final = r"(?:[ ]?(?:no|num|number|nr|id)\b\.?)?[\"'\\]{0,4}[ \t]{0,4}[:=#-]?[ \t]{0,4}[\"'\\]{0,4}"
_NATIONAL_IDS: Final = (
    Pattern(
        "national_ids.ssn",
        rf"\b(?:ssn|social security){_AFTER_LABEL}(\d{{3}}[- .]?\d{{2}}[- .]?\d{{4}})\b",
        hint=rf"{_BREAK}ssn|social security",
        check=_ssn,
        comes_first=True,
    ),
    Pattern("national_ids.ssn", r"\b\d{3}-\d{2}-\d{4}\b", hint=rf"{_BREAK}\d{{3}}-\d{{2}}-\d{{4}}\b", check=_ssn),
    Pattern(
        "national_ids.mrn",
        rf"\b(?:mrn|medical record){_AFTER_LABEL}([a-z]{{0,4}}-?\d{{4,12}})\b",
        hint=rf"{_BREAK}mrn|medical record",
        comes_first=True,
    ),
    Pattern(
        "national_ids.nhs",
        r"\b\d{3}[ -]\d{3}[ -]\d{4}\b",
        hint=rf"{_BREAK}\d{{3}}[ -]\d{{3}}[ -]\d{{4}}\b",
        check=_nhs,
    ),
)

# Payment ------------------------------------------------------------------------------------------------------------

_BRANDS: Final = re.compile(
    rb"4(?:\d{12}|\d{15}|\d{18})|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}|3[47]\d{13}"
    rb"|3(?:0[0-5]|[689]\d)\d{11}|(?:6011|64[4-9]\d|65\d\d)\d{12}|35(?:2[89]|[3-8]\d)\d{12}|62\d{14,17}"
    rb"|(?:50|5[6-9]|6[0-9])\d{14}"
)


def _card(text: bytes, start: int, end: int) -> tuple[int, int] | None:
    """Digits as a card has them: grouped in one way, a known brand, and Luhn's sum."""
    found = text[start:end]
    digits = bytes(byte for byte in found if 48 <= byte <= 57)
    if (b" " in found and b"-" in found) or not _BRANDS.fullmatch(digits) or _is_part(text, start, end):
        return None
    doubled = (sum(divmod(2 * (byte - 48), 10)) for byte in digits[-2::-2])
    return (start, end) if (sum(doubled) + sum(byte - 48 for byte in digits[::-2])) % 10 == 0 else None


def _iban(text: bytes, start: int, end: int) -> tuple[int, int] | None:
    """Country, check digits and account whose remainder is 1; may be followed by words in capitals."""
    found = text[start:end]
    for stop in range(len(found), 14, -1):
        account = found[:stop].replace(b" ", b"").upper()
        if 15 <= len(account) <= 34 and not found[stop - 1 : stop].isspace() and not found[stop : stop + 1].isalnum():
            number = int("".join(str(int(chr(byte), 36)) for byte in account[4:] + account[:4]))
            if number % 97 == 1:
                return start, start + stop
    return None


_PAYMENT: Final = (
    Pattern(
        "payment.card",
        r"\b[2-6](?:[ -]?\d){12,18}\b",
        hint=rf"{_BREAK}[2-6](?:[ -]?\d){{12,18}}\b",
        check=_card,
        in_numbers=True,
    ),
    Pattern(
        "payment.iban",
        r"\b((?:[A-Z]{2})\d{2}(?:[ ]?[A-Z0-9]{4}){2,7}(?:[ ]?[A-Z0-9]{1,3})?)\b",
        hint=rf"{_BREAK}[A-Z]{{2}}\d{{2}}(?:[ ]?[A-Z0-9]{{4}}){{2}}",
        check=_iban,
    ),
)

# Dates of birth -----------------------------------------------------------------------------------------------------

_MONTH: Final = r"(?:jan|feb|m(?:a|\xc3\xa4)r|apr|ma[iy]|jun|jul|aug|sep|o[ck]t|nov|de[cz])[a-z]{0,6}"
_DATE: Final = (
    r"\d{1,4}[-/. ]\d{1,2}[-/. ]\d{1,4}|\d{8}"
    rf"|\d{{1,2}}(?:st|nd|rd|th|\.)?[ -]{{1,2}}{_MONTH}[ .,-]{{1,3}}\d{{2,4}}"
    rf"|{_MONTH}\.?[ ]\d{{1,2}}(?:st|nd|rd|th)?,?[ ]\d{{2,4}}"
)
_BIRTH: Final = r"dob|d\.o\.b|date of birth|birth ?da(?:te|y)|born|geburtsdatum"
_DATES_OF_BIRTH: Final = (
    Pattern(
        "dates_of_birth.date",
        rf"\b(?:{_BIRTH})\b\.?(?: (?:on|is|was))?{_AFTER_LABEL}({_DATE})\b",
        hint=rf"{_BREAK}(?:{_BIRTH})\b",
        comes_first=True,
    ),
)

PATTERNS: Final[dict[Pack, Sequence[Pattern]]] = {
    Pack.CREDENTIALS: _CREDENTIALS,
    Pack.CONTACT: _CONTACT,
    Pack.NATIONAL_IDS: _NATIONAL_IDS,
    Pack.PAYMENT: _PAYMENT,
    Pack.DATES_OF_BIRTH: _DATES_OF_BIRTH,
}

# What is switched on by itself --------------------------------------------------------------------------------------


def _v4(text: bytes, start: int, end: int) -> tuple[int, int] | None:
    """A whole address: valid, and not a part of a longer number or name."""
    is_part = _CAME_ON.search(text, max(0, start - 2), start) or _GOES_ON.match(text, end)
    return None if is_part or network_of(text[start:end]) is None else (start, end)


def _v6(text: bytes, start: int, end: int) -> tuple[int, int] | None:
    """A whole address, without the full stop or colon of the sentence."""
    found = text[start:end].rstrip(b".")
    if found.endswith(b":") and not found.endswith(b"::"):
        found = found[:-1]
    stop = start + len(found)
    is_part = re.match(rb"[\w:.]", text[max(0, start - 1) : start]) or re.match(rb"\w", text[stop : stop + 1])
    return None if is_part or network_of(found) is None else (start, stop)


def _network(text: bytes) -> bytes:
    return network_of(text) or MASK


ADDRESSES: Final = (
    Pattern(
        "ip",
        r"\b\d{1,3}(?:\.\d{1,3}){3}\b",
        hint=rf"{_BREAK}\d{{1,3}}(?:\.\d{{1,3}}){{3}}\b",
        check=_v4,
        replace=_network,
    ),
    Pattern(
        "ip",
        r"(?:[0-9a-f]{1,4}:){1,7}:[0-9a-f:.]*|::[0-9a-f][0-9a-f:.]*|(?:[0-9a-f]{1,4}:){6}[0-9a-f:.]+",
        check=_v6,
        replace=_network,
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
