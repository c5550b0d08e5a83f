"""When a line happened: what loggers write as a time, as RFC 3339 in UTC, and the name of that day's index.

Depends on nothing but the value (never on "now"), so that live, late and replayed lines get the same time and index.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from shipper.batch import MISSING, Column

FIRST_YEAR: Final = 2000
LAST_YEAR: Final = 2099
UNDATED: Final = "undated"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_SECOND = int(datetime(FIRST_YEAR, 1, 1, tzinfo=UTC).timestamp())
_END_SECOND = int(datetime(LAST_YEAR + 1, 1, 1, tzinfo=UTC).timestamp())

_ISO = re.compile(
    r"(?P<day>\d{4}([-/])\d\d\2\d\d)"
    r"(?:[Tt ](?P<clock>\d\d:\d\d(?::\d\d)?)(?:[.,](?P<fraction>\d{1,12}))?"
    r" ?(?P<zone>[Zz]|UTC|GMT|[+-]\d\d(?::?\d\d)?)?)?",
    re.ASCII,
)
_JAVASCRIPT = re.compile(
    r"[A-Z][a-z]{2},? (?P<month>[A-Z][a-z]{2}) (?P<day>\d\d) (?P<year>\d{4}) (?P<clock>\d\d:\d\d:\d\d)"
    r"(?: GMT(?P<zone>[+-]\d{4})?)?(?: \([^)]*\))?",
    re.ASCII,
)
_MAIL = re.compile(
    r"(?:[A-Z][a-z]{2}, )?(?P<day>\d\d?)[ /-](?P<month>[A-Z][a-z]{2})[ /-](?P<year>\d{4})[ :](?P<clock>\d\d:\d\d:\d\d)"
    r"(?: (?P<zone>GMT|UTC|Z|[+-]\d{4}))?",
    re.ASCII,
)
_NUMBER = re.compile(r"\d{9,19}(?:\.\d{1,9})?", re.ASCII)
_MONTHS = {"Jan": 1, "Feb": 2, "Mar": 3, "Apr": 4, "May": 5, "Jun": 6, "Jul": 7, "Aug": 8, "Sep": 9, "Oct": 10}
_MONTHS |= {"Nov": 11, "Dec": 12}
_LONGEST_TEXT = 100


def event_time(value: Any) -> str | None:
    """The time that a field's value means, as RFC 3339 (UTC, `Z`, 3 to 9 decimals); None if it means none of 2000-2099.

    Takes ISO 8601 and RFC 3339 (without zone: UTC), JavaScript's `Date` text, mail and nginx dates, and numbers (also
    as text): seconds, ms, µs or ns by size.
    """
    if isinstance(value, str):
        return _from_text(value.strip()) if len(value) <= _LONGEST_TEXT else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 10**19:
        return None
    return _from_digits(str(value) if isinstance(value, int) else f"{value:.6f}")


def is_same_instant(first: str, second: str) -> bool:
    """Whether two times, as `event_time` gives them, differ in nothing but zeros at the end."""
    return first.rstrip("Z").rstrip("0") == second.rstrip("Z").rstrip("0")


def _from_text(text: str) -> str | None:
    if match := _ISO.fullmatch(text):
        second = _utc_second(match["day"].replace("/", "-"), match["clock"] or "00:00:00", match["zone"])
        return second and f"{second}.{(match['fraction'] or '')[:9]:0<3}Z"
    if match := _JAVASCRIPT.fullmatch(text) or _MAIL.fullmatch(text):
        day = f"{match['year']}-{_MONTHS.get(match['month'], 0):02d}-{int(match['day']):02d}"
        second = _utc_second(day, match["clock"], match["zone"])
        return second and f"{second}.000Z"
    return _from_digits(text) if _NUMBER.fullmatch(text) else None


@lru_cache(maxsize=1024)
def _utc_second(day: str, clock: str, zone: str | None) -> str | None:
    """`2024-01-15T10:30:45` in UTC; None for what is no date, or not of 2000-2099."""
    if len(clock) == len("10:30"):
        clock += ":00"
    if clock.endswith(":60"):  # a leap second, which neither Python nor Elasticsearch knows
        clock = clock[:-2] + "59"
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}+00:00") - _zone_offset(zone)
    except (ValueError, OverflowError):
        return None
    return f"{moment:%Y-%m-%dT%H:%M:%S}" if FIRST_YEAR <= moment.year <= LAST_YEAR else None


def _zone_offset(zone: str | None) -> timedelta:
    """Raises ValueError for what is no zone."""
    if not zone or zone[0] not in "+-":
        return timedelta()
    digits = zone[1:].replace(":", "")
    hours, minutes = int(digits[:2]), int(digits[2:] or 0)
    if hours > 23 or minutes > 59:
        raise ValueError("no time zone")
    offset = timedelta(hours=hours, minutes=minutes)
    return -offset if zone[0] == "-" else offset


def _from_digits(text: str) -> str | None:
    """A number of seconds, ms, µs or ns since 1970: the unit is the one that gives a time in 2000-2099."""
    whole, _, decimals = text.partition(".")
    number = int(whole)
    for digits in (0, 3, 6, 9):
        seconds, rest = divmod(number, 10**digits)
        if _FIRST_SECOND <= seconds < _END_SECOND:
            fraction = (f"{rest:0{digits}d}" if digits else "") + decimals
            return f"{_second_text(seconds)}.{_trimmed(fraction):0<3}Z"
    return None


@lru_cache(maxsize=1024)
def _second_text(seconds: int) -> str:
    return f"{_EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}"


def _trimmed(fraction: str) -> str:
    """At most 9 decimals, without zeros behind the third."""
    return fraction[:3] + fraction[3:9].rstrip("0")


# Columns ------------------------------------------------------------------------------------------------------------

_DIGITS_TO_ZERO = str.maketrans("123456789", "000000000")
_DIGIT_BYTES_TO_ZERO = bytes.maketrans(b"123456789", b"000000000")
_USUAL = b"\n0000-00-00T00:00:00.000Z"
_CANONICAL = frozenset(f"0000-00-00T00:00:00.{'0' * decimals}Z" for decimals in range(3, 10))


def usual_times(column: Column) -> tuple[list[bytes], list[str]] | None:
    """A column as bytes, and its days, each once and in order, if every value is like `2024-01-15T10:30:45.123Z`; else
    None. Such a column needs no conversion.
    """
    try:
        joined = "\n".join(column).encode()
    except (TypeError, UnicodeEncodeError):
        return None
    if joined.translate(_DIGIT_BYTES_TO_ZERO) != (_USUAL * len(column))[1:]:
        return None
    ascending = sorted(column)  # which lines nearly are, so this takes less time than min and max
    first, last = ascending[0][:18], ascending[-1][:18]
    # Within a minute all seconds lie between the first and the last.
    prefixes = {first, last} if first[:16] == last[:16] else {text[:18] for text in ascending}
    if not all(map(_begins_time, prefixes)):
        return None
    return joined.split(b"\n"), sorted({prefix[:10] for prefix in prefixes})


def given_times(columns: Sequence[Column]) -> tuple[list[bytes], list[str]] | None:
    """What `usual_times` says of the values in the first column; None also where it has none, or another one has."""
    given = [value for value in columns[0] if value is not MISSING]
    if not given or any(column.count(MISSING) < len(column) for column in columns[1:]):
        return None
    return usual_times(given)


@lru_cache(maxsize=4096)
def _begins_time(prefix: str) -> bool:
    """Whether `2024-01-15T10:30:4` begins a real time of 2000-2099."""
    return _utc_second(prefix[:10], prefix[11:] + "0", None) is not None and prefix[17] != "6"


def event_times(column: Column) -> Sequence[str]:
    """What `event_time` gives for each value, '' for None."""
    kinds = set(map(type, column))
    if kinds == {str}:
        return _text_times(column)
    if kinds == {int} and min(column) >= _FIRST_SECOND * 1000 and max(column) < _END_SECOND * 1000:
        seconds = {second: _second_text(second) for second in {value // 1000 for value in column}}
        return [f"{seconds[value // 1000]}.{value % 1000:03d}Z" for value in column]
    return [event_time(value) or "" for value in column]


def _text_times(column: Column) -> Sequence[str]:
    """The times of texts; faster where they need no change, or all have one form."""
    lines = "\n".join(column).translate(_DIGITS_TO_ZERO).split("\n")
    forms = set(lines)
    if len(lines) == len(column) and forms <= _CANONICAL and all(map(_begins_time, {text[:18] for text in column})):
        return column
    match = _ISO.fullmatch(lines[0]) if len(forms) == 1 and "/" not in lines[0] else None
    if match is None or match["clock"] is None or len(lines) != len(column):
        return [event_time(value) or "" for value in column]
    (clock, clock_end), (zone, zone_end) = match.span("clock"), match.span("zone")
    fraction, fraction_end = match.span("fraction")
    return [
        f"{second}.{text[fraction : min(fraction_end, fraction + 9)]:0<3}Z"
        if (second := _utc_second(text[:10], text[clock:clock_end], text[zone:zone_end]))
        else ""
        for text in column
    ]


def first_times(columns: Sequence[Column], count: int) -> list[str]:
    """For each line the time in the first column that holds a usable one; '' where none does."""
    times = [""] * count
    without: Sequence[int] = range(count)
    for column in columns:
        if column.count(MISSING) == count:
            continue
        filled = [i for i in without if column[i] is not MISSING]
        if filled:
            for i, text in zip(filled, event_times([column[i] for i in filled]), strict=True):
                times[i] = text
            without = [i for i in without if not times[i]]
        if not without:
            break
    return times


class IndexPattern:
    """Index names of a strftime pattern: `logs-%Y.%m.%d` gives `logs-2024.01.15`, or `logs-undated` without a day."""

    _TOKEN = re.compile(r"%.")

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self._names: dict[str, str] = {"": self._undated()}

    def _undated(self) -> str:
        tokens = [found for found in self._TOKEN.finditer(self.pattern) if found[0] != "%%"]
        start, end = (tokens[0].start(), tokens[-1].end()) if tokens else (len(self.pattern), len(self.pattern))
        name = self.pattern[:start] + (UNDATED if tokens else "") + self.pattern[end:]
        return name.replace("%%", "%")

    def name(self, day: str) -> str:
        """The index of a day (`2024-01-15`); of '' the undated one."""
        name = self._names.get(day)
        if name is None:
            name = self._names[day] = date.fromisoformat(day).strftime(self.pattern)
        return name
