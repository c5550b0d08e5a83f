"""The packs for what identifies people: contact, national identifiers, payment, dates of birth."""

from __future__ import annotations

import re
from typing import Final

from shipper.redact.actions import digits_of
from shipper.redact.patterns import BREAK, Pattern, is_part

LABELLED: Final = r"(?:[ ]?(?:no|num|number|nr|id)\b\.?)?[\"'\\]{0,4}[ \t]{0,4}[:=#-]?[ \t]{0,4}[\"'\\]{0,4}"
"""What may stand between `SSN` and the number."""

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
    """Not a part of something longer, and not a number that is filled up with zeros."""
    found = text[start:end]
    count = len(digits_of(found))
    is_longer = re.match(rb"\w|[-.:/]\d", text[end : end + 2])
    is_filled = found.startswith(b"00") and (count < 12 or not re.search(rb"[ .-]", found))
    came_on = not found.startswith(b"+") and re.match(rb"\d ", text[max(0, start - 2) : start])
    return None if is_longer or is_filled or came_on or not 8 <= count <= 15 else (start, end)


_INTERNATIONAL: Final = r"[1-9]\d{0,2}[ .-]?(?:\(0?\d{1,4}\)[ .-]?)?\d{1,5}(?:[ .-]?\d{2,5}){1,4}"
_NORTH_AMERICAN: Final = r"(?:\([2-9]\d\d\)[ .-]?|[2-9]\d\d[ .-])[2-9]\d\d[ .-]\d{4}"
_LOCAL_PART: Final = r"[\w.%+\x80-\xff-]{1,64}"
_AT: Final = r"(?:@|%40| ?[\[(]at[\])] ?)"
_DOT: Final = r"(?:\.| ?[\[(]dot[\])] ?)"
CONTACT: Final = (
    Pattern(
        "contact.phone",
        rf"(?:^|[^\w.+-]|\\[bfnrt])((?:\+|00){_INTERNATIONAL}|(?:\+?1[ .-]?)?{_NORTH_AMERICAN})",
        hint=rf"(?:\+|u002b|00)[1-9][\d .()-]{{6}}|{_NORTH_AMERICAN}",
        check=_phone,
        comes_first=True,
    ),
    Pattern(
        "contact.email",
        rf"({_LOCAL_PART}{_AT}(?:[\w\x80-\xff-]{{1,63}}{_DOT}){{1,8}}[a-z\x80-\xff]{{2,24}})(?:[^\w\x80-\xff@-]|$)",
        hint=r"(?:@|%40)[\w\\\x80-\xff-]|[\[(]at[\])]",
        check=_email,
    ),
)

# National identifiers -----------------------------------------------------------------------------------------------


def _ssn(text: bytes, start: int, end: int) -> tuple[int, int] | None:
    """A number that can have been given out."""
    digits = digits_of(text[start:end])
    is_given = (
        digits[:3] not in (b"000", b"666") and digits[:1] != b"9" and digits[3:5] != b"00" and digits[5:] != b"0000"
    )
    return (start, end) if is_given and not is_part(text, start, end) else None


def _nhs(text: bytes, start: int, end: int) -> tuple[int, int] | None:
    """Ten digits, the last of which makes the weighted sum a multiple of 11."""
    digits = [byte - 48 for byte in digits_of(text[start:end])]
    total = sum(weight * digit for weight, digit in zip(range(10, 0, -1), digits, strict=True))
    return (start, end) if total % 11 == 0 and not is_part(text, start, end) else None


NATIONAL_IDS: Final = (
    Pattern(
        "national_ids.ssn",
        rf"{BREAK}(?:ssn|social security){LABELLED}(\d{{3}}[- .]?\d{{2}}[- .]?\d{{4}})\b",
        hint=rf"{BREAK}(?:ssn|social security)",
        check=_ssn,
        comes_first=True,
    ),
    Pattern("national_ids.ssn", rf"{BREAK}(\d{{3}}-\d{{2}}-\d{{4}})\b", check=_ssn, comes_first=True),
    Pattern(
        "national_ids.mrn",
        rf"{BREAK}(?:mrn|medical record){LABELLED}([a-z]{{0,4}}-?\d{{4,12}})\b",
        hint=rf"{BREAK}(?:mrn|medical record)",
        comes_first=True,
    ),
    Pattern("national_ids.nhs", rf"{BREAK}(\d{{3}}[ -]\d{{3}}[ -]\d{{4}})\b", check=_nhs, comes_first=True),
)

# Payment ------------------------------------------------------------------------------------------------------------

_BRANDS: Final = re.compile(
    rb"4(?:\d{12}|\d{15}|\d{18})|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}|3[47]\d{13}"
    rb"|3(?:0[0-5]|[689]\d)\d{11}|(?:6011|64[4-9]\d|65\d\d)\d{12}|35(?:2[89]|[3-8]\d)\d{12}|62\d{14,17}"
    rb"|(?:50|5[6-9]|6[0-9])\d{14}"
)


def _card(text: bytes, start: int, end: int) -> tuple[int, int] | None:
    """Digits as a card has them: grouped in one way, of a known brand, and with the right check digit."""
    found = text[start:end]
    digits = digits_of(found)
    if (b" " in found and b"-" in found) or not _BRANDS.fullmatch(digits) or is_part(text, start, end):
        return None
    doubled = (sum(divmod(2 * (byte - 48), 10)) for byte in digits[-2::-2])
    return (start, end) if (sum(doubled) + sum(byte - 48 for byte in digits[::-2])) % 10 == 0 else None


def _iban(text: bytes, start: int, end: int) -> tuple[int, int] | None:
    """Country, check digits and account whose remainder is 1; words in capitals may follow."""
    found = text[start:end]
    for stop in range(len(found), 14, -1):
        account = found[:stop].replace(b" ", b"")
        if 15 <= len(account) <= 34 and found[stop - 1] != 32 and not found[stop : stop + 1].isalnum():
            number = int("".join(str(int(chr(byte), 36)) for byte in account[4:] + account[:4]))
            if number % 97 == 1:
                return start, start + stop
    return None


PAYMENT: Final = (
    Pattern(
        "payment.iban",
        rf"{BREAK}(?-i:([A-Z]{{2}}\d{{2}}(?:[ ]?[A-Z0-9]{{4}}){{2,7}}(?:[ ]?[A-Z0-9]{{1,3}})?))\b",
        hint=rf"{BREAK}(?-i:[A-Z]{{2}}\d{{2}}(?:[ ]?[A-Z0-9]{{4}}){{2}})",
        check=_iban,
        comes_first=True,
    ),
    Pattern("payment.card", rf"{BREAK}([2-6](?:[ -]?\d){{12,18}})\b", check=_card, in_numbers=True, comes_first=True),
)

# Dates of birth -----------------------------------------------------------------------------------------------------

_MONTH: Final = r"(?:jan|feb|m(?:a|\xc3\xa4)r|apr|ma[iy]|jun|jul|aug|sep|o[ck]t|nov|de[cz])[a-z]{0,6}"
_DATE: Final = (
    r"\d{1,4}[-/. ]\d{1,2}[-/. ]\d{1,4}|\d{8}"
    rf"|\d{{1,2}}(?:st|nd|rd|th|\.)?[ -]{{1,2}}{_MONTH}[ .,-]{{1,3}}\d{{2,4}}"
    rf"|{_MONTH}\.?[ ]\d{{1,2}}(?:st|nd|rd|th)?,?[ ]\d{{2,4}}"
)
_BIRTH: Final = r"dob|d\.o\.b|date of birth|birth ?da(?:te|y)|born|geburtsdatum"
DATES_OF_BIRTH: Final = (
    Pattern(
        "dates_of_birth.date",
        rf"{BREAK}(?:{_BIRTH})\b\.?(?: (?:on|is|was))?{LABELLED}({_DATE})\b",
        hint=rf"{BREAK}(?:{_BIRTH})\b",
        comes_first=True,
    ),
)
