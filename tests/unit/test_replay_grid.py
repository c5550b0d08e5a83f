"""The grid of history: which sample counts an event first, in which day it lies, and when the last one is."""

from __future__ import annotations

import pytest

from shipper.replay.grid import DAY_MS, Grid, day_of, milliseconds

GRID = Grid(step_ms=15_000)
MIDNIGHT = milliseconds("2024-01-16T00:00:00.000Z")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:01.002Z", 1_002),
        ("2024-01-15T10:30:45.123Z", 1_705_314_645_123),
        ("2024-01-15T10:30:45.123000Z", 1_705_314_645_123),
        ("2024-01-15T10:30:45.1230001Z", 1_705_314_645_124),
    ],
)
def test_times_become_milliseconds(text: str, expected: int) -> None:
    """What is finer counts as one more: a sample must not be before what it counts."""
    assert milliseconds(text) == expected


@pytest.mark.parametrize(("after", "expected"), [(0, 0), (1, 1), (14_999, 1), (15_000, 1), (15_001, 2)])
def test_an_event_belongs_to_the_sample_at_or_behind_it(after: int, expected: int) -> None:
    """As if Prometheus had scraped at the multiples of a step."""
    assert GRID.step_of(MIDNIGHT + after) == GRID.step_of(MIDNIGHT) + expected


@pytest.mark.parametrize("step_ms", [1_000, 7_000, 15_000, 60_000, 3_600_000])
def test_every_step_lies_in_one_day(step_ms: int) -> None:
    """Also where a day is no multiple of a step: days follow one another without a gap."""
    grid = Grid(step_ms=step_ms)
    day = MIDNIGHT // DAY_MS
    first, last = grid.steps_of_day(day)

    assert [grid.day_number(step) for step in (first - 1, first, last, last + 1)] == [day - 1, day, day, day + 1]
    assert grid.steps_of_day(day + 1)[0] == last + 1
    assert day_of(MIDNIGHT) == "2024-01-16"


def test_the_last_sample_is_at_the_last_event() -> None:
    """Behind it a daemon may have been scraped already, and would seem to have counted all of it again."""
    last = MIDNIGHT + 16_001

    assert GRID.time_text(GRID.step_of(last), last_ms=last) == f"{last // 1000}.001"
    assert GRID.time_text(GRID.step_of(MIDNIGHT), last_ms=last) == str(MIDNIGHT // 1000)
