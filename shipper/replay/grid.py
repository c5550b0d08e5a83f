"""The grid on which a counter's history is written, as if it had been scraped: samples at multiples of a step.

A sample says what was counted up to its time, so an event belongs to the first sample at or behind it. Pure.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

import msgspec

DAY_MS = 86_400_000
_SECOND = len("2024-01-15T10:30:45")
_MILLISECOND = len("2024-01-15T10:30:45.123")


@lru_cache(maxsize=4096)
def _second_ms(text: str) -> int:
    return int(datetime.fromisoformat(f"{text}+00:00").timestamp()) * 1000


def milliseconds(text: str) -> int:
    """Milliseconds since 1970 of a time as `times` writes it; what is finer counts as one more."""
    finer = text[_MILLISECOND:-1].strip("0")
    return _second_ms(text[:_SECOND]) + int(text[_SECOND + 1 : _MILLISECOND]) + bool(finer)


def day_of(moment_ms: int) -> str:
    """The UTC day of a moment, as 2024-01-15."""
    return f"{datetime.fromtimestamp(moment_ms // 1000, UTC):%Y-%m-%d}"


class Grid(msgspec.Struct, frozen=True):
    """Steps are numbered from 1970 on."""

    step_ms: int

    def step_of(self, moment_ms: int) -> int:
        """The sample that first counts an event."""
        return -(-moment_ms // self.step_ms)

    def day_number(self, step: int) -> int:
        """The UTC day in which a sample lies, numbered from 1970 on."""
        return step * self.step_ms // DAY_MS

    def steps_of_day(self, day: int) -> tuple[int, int]:
        """The first and the last step that lie in a day."""
        first = -(-day * DAY_MS // self.step_ms)
        return first, -(-(day + 1) * DAY_MS // self.step_ms) - 1

    def time_text(self, step: int, *, last_ms: int) -> str:
        """When a sample is, in seconds; the last one of all at the last event, not behind it.

        Where a daemon began to count just then, a sample behind its first scrape would count everything twice.
        """
        moment = min(step * self.step_ms, last_ms)
        seconds, rest = divmod(moment, 1000)
        return f"{seconds}.{rest:03d}" if rest else str(seconds)
