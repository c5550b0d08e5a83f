"""Which lines are wanted: by event time and by an expression. Pure; the enricher asks for each batch.

Times are compared as text: `event_time` writes all of them as RFC 3339 in UTC.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from shipper.batch import Batch
from shipper.errors import ConfigError, ExpressionError
from shipper.expressions import FUNCTIONS, Function, compile_predicate
from shipper.times import event_time

_MILLISECONDS = len("2024-01-15T10:30:45.123")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_RELATIVE = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d|w)")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
MARGIN = timedelta(days=1)
"""Lines of a file may be so much out of order, and clocks so wrong, before a file is left out by its dates."""


class Choice:
    """Of a line without a time nobody knows whether it lies between two: it is left out where there is a bound.

    Notes the first and the last time of the lines that were wanted since `take_span`.
    """

    def __init__(
        self,
        *,
        since: str = "",
        until: str = "",
        where: str = "",
        functions: Mapping[str, Function] = FUNCTIONS,
    ) -> None:
        """`since` (from there on) and `until` (before there) as `moment` gives them. Raises ExpressionError."""
        self.since = since[:_MILLISECONDS]
        self.until = until[:_MILLISECONDS]
        self._where = compile_predicate(where, functions=functions) if where else None
        self.fields: frozenset[str] = frozenset(self._where.fields) if self._where is not None else frozenset()
        self._first = self._last = ""

    def unwanted(self, batch: Batch, times: Sequence[str]) -> Collection[int]:
        """As `enrich.Choice`."""
        left_out: set[int] = set()
        if self._where is not None:
            left_out = set(range(batch.count)).difference(self._where(batch.columns, batch.count))
        first, last = min(times), max(times)
        if (self.since and first[:_MILLISECONDS] < self.since) or (self.until and last[:_MILLISECONDS] >= self.until):
            left_out.update(i for i, text in enumerate(times) if not self._is_between(text[:_MILLISECONDS]))
        if left_out:
            wanted = [text for i, text in enumerate(times) if i not in left_out]
            first, last = (min(wanted), max(wanted)) if wanted else ("", "")
        self._first = min(filter(None, (self._first, first)), default="")
        self._last = max(self._last, last)
        return left_out

    def _is_between(self, text: str) -> bool:
        return bool(text) and text >= self.since and (not self.until or text < self.until)

    def take_span(self) -> tuple[str, str]:
        """The first and the last time since the last call; '' if there was none."""
        span = self._first, self._last
        self._first = self._last = ""
        return span


def choice_of(*, since: str, until: str, where: str) -> Choice:
    """The choice that was typed. Raises ConfigError."""
    try:
        return Choice(since=since, until=until, where=where)
    except ExpressionError as error:
        raise ConfigError([f"--where: column {error.column}: {error.message}"]) from None


def moment(text: str, *, now: datetime, option: str) -> str:
    """When a text means, as `event_time` writes it: a day, a time (without zone: UTC), `7d` ago, today, yesterday, now.

    '' for ''. Raises ConfigError.
    """
    text = text.strip()
    if not text:
        return ""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    named = {"now": now, "today": midnight, "yesterday": midnight - timedelta(days=1)}
    if text in named:
        return _written(named[text])
    if match := _RELATIVE.fullmatch(text.removesuffix(" ago").removeprefix("-")):
        try:
            return _written(now - timedelta(seconds=float(match[1]) * _UNITS[match[2]]))
        except OverflowError:
            raise ConfigError([f"{option}: {text!r} ago is before all times"]) from None
    found = event_time(text)
    if found is None:
        raise ConfigError(
            [f"{option}: {text!r} is no time; write a day (2024-01-15), a time (2024-01-15T10:30:00Z) or an age (7d)"]
        )
    return found


def end_of(text: str, *, now: datetime, option: str) -> str:
    """The same for the end of a range: a day is in it as a whole. Raises ConfigError."""
    found = moment(text, now=now, option=option)
    is_day = _DAY.fullmatch(text.strip()) is not None or text.strip() in ("today", "yesterday")
    return _written(_parsed(found) + timedelta(days=1)) if is_day and found else found


def _written(moment: datetime) -> str:
    moment = moment.astimezone(UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def _parsed(text: str) -> datetime:
    return datetime.fromisoformat(text[:_MILLISECONDS] + "+00:00")


def why_left_out(*, first: str, mtime: float, since: str, until: str) -> str:
    """Why a whole file is certain to have nothing between the bounds; '' if it is not.

    `first`: the time of its first line that has one, '' if unknown; `mtime`: when it was last written to.
    """
    if until and first and _parsed(first) >= _parsed(until) + MARGIN:
        return f"begins at {first}, more than a day after the end of the range"
    if since and datetime.fromtimestamp(mtime, UTC) < _parsed(since) - MARGIN and mtime > 0:
        return f"was last written more than a day before {since}"
    return ""
