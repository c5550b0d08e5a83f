"""Which lines a replay wants: what people type as a time, what is between, and which files are out for certain."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from shipper.batch import MISSING, Batch, Columns
from shipper.errors import ConfigError
from shipper.replay.choice import Choice, choice_of, end_of, moment, why_left_out

NOW = datetime(2024, 3, 10, 12, 30, 15, 250_000, tzinfo=UTC)

MOMENTS = {
    "": "",
    "2024-01-15": "2024-01-15T00:00:00.000Z",
    "2024-01-15T10:30:00Z": "2024-01-15T10:30:00.000Z",
    "2024-01-15 10:30": "2024-01-15T10:30:00.000Z",
    "2024-01-15T10:30:00+02:00": "2024-01-15T08:30:00.000Z",
    "1705314600": "2024-01-15T10:30:00.000Z",
    "now": "2024-03-10T12:30:15.250Z",
    "today": "2024-03-10T00:00:00.000Z",
    "yesterday": "2024-03-09T00:00:00.000Z",
    "90m": "2024-03-10T11:00:15.250Z",
    "7d": "2024-03-03T12:30:15.250Z",
    "-7d": "2024-03-03T12:30:15.250Z",
    "2 w ago": "2024-02-25T12:30:15.250Z",
    "1.5h": "2024-03-10T11:00:15.250Z",
}


@pytest.mark.parametrize("text", MOMENTS)
def test_a_time_is_written_as_people_do(text: str) -> None:
    """Days, times with and without zone, Unix times, ages."""
    assert moment(text, now=NOW, option="--since") == MOMENTS[text]


@pytest.mark.parametrize("text", ["soon", "2024-13-01", "7 fortnights", "99999999999999d", "1", "d"])
def test_what_is_no_time_is_refused(text: str) -> None:
    """The message names the option and shows how a time is written."""
    with pytest.raises(ConfigError, match="--since"):
        moment(text, now=NOW, option="--since")


ENDS = {
    "2024-01-15": "2024-01-16T00:00:00.000Z",
    "2024-02-29": "2024-03-01T00:00:00.000Z",
    "today": "2024-03-11T00:00:00.000Z",
    "2024-01-15T00:00": "2024-01-15T00:00:00.000Z",
    "7d": "2024-03-03T12:30:15.250Z",
    "": "",
}


@pytest.mark.parametrize("text", ENDS)
def test_a_day_as_the_end_is_in_the_range(text: str) -> None:
    """`--until 2024-01-15` means the whole of that day; a time means that moment."""
    assert end_of(text, now=NOW, option="--until") == ENDS[text]


def batch_of(count: int, **columns: list[object]) -> Batch:
    return Batch("a", "a.log", "0" * 12, 0, 100, [b"{}"] * count, range(count), Columns(columns))


TIMES = [
    "2024-01-14T23:59:59.999Z",
    "2024-01-15T00:00:00.000Z",
    "2024-01-15T12:00:00.123456Z",
    "",
    "2024-01-16T00:00:00.000Z",
]


def test_the_range_begins_with_since_and_ends_before_until() -> None:
    """A line without a time is in no range; without bounds it is wanted."""
    choice = Choice(since="2024-01-15T00:00:00.000Z", until="2024-01-16T00:00:00.000Z")

    assert set(choice.unwanted(batch_of(5), TIMES)) == {0, 3, 4}
    assert choice.take_span() == ("2024-01-15T00:00:00.000Z", "2024-01-15T12:00:00.123456Z")
    assert choice.take_span() == ("", "")
    assert set(Choice().unwanted(batch_of(5), TIMES)) == set()


def test_an_expression_chooses_too() -> None:
    """A missing field makes it false; its fields are asked for."""
    choice = choice_of(since="", until="2024-01-16T00:00:00.000Z", where="n > 1")

    assert choice.fields == {"n"}
    assert set(choice.unwanted(batch_of(5, n=[9, 1, 2, 9, 9]), TIMES)) == {1, 3, 4}
    assert set(choice.unwanted(batch_of(1, n=[MISSING]), TIMES[1:2])) == {0}


def test_an_expression_that_is_none_is_refused() -> None:
    """With the option and the column."""
    with pytest.raises(ConfigError, match=r"--where: column \d+"):
        choice_of(since="", until="", where="n > > 1")


SINCE, UNTIL = "2024-01-15T00:00:00.000Z", "2024-01-16T00:00:00.000Z"
OLD = datetime(2024, 1, 13, 23, 59, tzinfo=UTC).timestamp()
FILES = [
    ("2024-01-15T10:00:00.000Z", NOW.timestamp(), ""),
    ("2024-01-16T23:59:59.999Z", NOW.timestamp(), ""),
    ("2024-01-17T00:00:00.000Z", NOW.timestamp(), "begins at"),
    ("", NOW.timestamp(), ""),
    ("2024-01-13T10:00:00.000Z", OLD, "was last written"),
    ("2024-01-13T10:00:00.000Z", OLD + 120, ""),
    ("", OLD, "was last written"),
    ("", 0.0, ""),
]


@pytest.mark.parametrize(("first", "mtime", "expected"), FILES)
def test_a_file_is_left_out_only_a_day_beyond_the_range(first: str, mtime: float, expected: str) -> None:
    """Lines out of order, and clocks that differ, have a day; what does not say when it was written is read."""
    assert why_left_out(first=first, mtime=mtime, since=SINCE, until=UNTIL).startswith(expected)
    assert bool(why_left_out(first=first, mtime=mtime, since=SINCE, until=UNTIL)) == bool(expected)
    assert why_left_out(first=first, mtime=mtime, since="", until="") == ""


def test_the_margin_is_a_day() -> None:
    """The cases above rest on it."""
    assert datetime.fromisoformat(UNTIL) + timedelta(days=1) == datetime(2024, 1, 17, tzinfo=UTC)
