"""What loggers write as a time, and the index of a day."""

from __future__ import annotations

from typing import Any

import pytest

from shipper.batch import MISSING
from shipper.times import IndexPattern, event_time, event_times, first_times, is_same_instant, usual_times

TEXTS = [
    ("2024-01-15T10:30:45.123Z", "2024-01-15T10:30:45.123Z"),
    ("2024-01-15T10:30:45.123456Z", "2024-01-15T10:30:45.123456Z"),
    ("2024-01-15T10:30:45.123456789Z", "2024-01-15T10:30:45.123456789Z"),
    ("2024-01-15T10:30:45.123456789012Z", "2024-01-15T10:30:45.123456789Z"),
    ("2024-01-15T10:30:45.1Z", "2024-01-15T10:30:45.100Z"),
    ("2024-01-15T10:30:45Z", "2024-01-15T10:30:45.000Z"),
    ("2024-01-15T10:30Z", "2024-01-15T10:30:00.000Z"),
    ("2024-01-15T10:30:45.123", "2024-01-15T10:30:45.123Z"),
    ("2024-01-15 10:30:45,123", "2024-01-15T10:30:45.123Z"),
    ("2024-01-15t10:30:45z", "2024-01-15T10:30:45.000Z"),
    ("2024-01-15T10:30:45.123+02:00", "2024-01-15T08:30:45.123Z"),
    ("2024-01-15T10:30:45.123-0530", "2024-01-15T16:00:45.123Z"),
    ("2024-01-15T10:30:45+01", "2024-01-15T09:30:45.000Z"),
    ("2024-01-15 10:30:45.5 +0100", "2024-01-15T09:30:45.500Z"),
    ("2024-01-15 10:30:45 UTC", "2024-01-15T10:30:45.000Z"),
    ("2024/01/15 10:30:45", "2024-01-15T10:30:45.000Z"),
    ("2024-01-15", "2024-01-15T00:00:00.000Z"),
    (" 2024-01-15T10:30:45.123Z\n", "2024-01-15T10:30:45.123Z"),
    ("2024-01-01T00:30:00+01:00", "2023-12-31T23:30:00.000Z"),
    ("2016-12-31T23:59:60.500Z", "2016-12-31T23:59:59.500Z"),
    ("2024-02-29T00:00:00.000Z", "2024-02-29T00:00:00.000Z"),
    ("Mon Jan 15 2024 10:30:45 GMT+0100 (Central European Standard Time)", "2024-01-15T09:30:45.000Z"),
    ("Mon Jan 15 2024 10:30:45 GMT+0000", "2024-01-15T10:30:45.000Z"),
    ("Mon, 15 Jan 2024 10:30:45 GMT", "2024-01-15T10:30:45.000Z"),
    ("15/Jan/2024:10:30:45 +0100", "2024-01-15T09:30:45.000Z"),
    ("5 Jan 2024 10:30:45 -0100", "2024-01-05T11:30:45.000Z"),
    ("1705314645", "2024-01-15T10:30:45.000Z"),
    ("1705314645.123", "2024-01-15T10:30:45.123Z"),
    ("1705314645123", "2024-01-15T10:30:45.123Z"),
    ("2000-01-01T00:00:00.000Z", "2000-01-01T00:00:00.000Z"),
    ("2099-12-31T23:59:59.999Z", "2099-12-31T23:59:59.999Z"),
]

NO_TIMES = [
    "",
    "now",
    "10:30:45",
    "2024-13-01T00:00:00.000Z",
    "2023-02-29T00:00:00.000Z",
    "2024-01-15T24:00:00.000Z",
    "2024-01-15T10:60:00.000Z",
    "2024-01-15T10:30:61.000Z",
    "2024-01-15T10:30:45.123+24:00",
    "2024-01-15T10:30:45.123+01:60",
    "2024-01/15T10:30:45.123Z",
    "2024-01-15T10:30:45.Z",
    "2024-01-15T10:30:45.123Z and more",
    "2024-01-15T10:30:45.123Z\n2024-01-15T10:30:45.123Z",
    "٢٠٢٤-01-15T10:30:45.123Z",
    "0001-01-01T00:00:00.000Z",
    "0001-01-01T00:00:00.000+14:00",
    "9999-12-31T23:59:59.999Z",
    "9999-12-31T23:59:59.999-14:00",
    "1999-12-31T23:59:59.999Z",
    "2100-01-01T00:00:00.000Z",
    "2000-01-01T00:30:00.000+01:00",
    "Mon Foo 15 2024 10:30:45 GMT+0000",
    "32/Jan/2024:10:30:45 +0000",
    "-1705314645",
    "20240115103045",
    "2024" * 100,
]


@pytest.mark.parametrize(("text", "expected"), TEXTS)
def test_texts_that_are_times(text: str, expected: str) -> None:
    """What loggers write, as RFC 3339 in UTC with as many decimals as there were, three at least."""
    assert expected == event_time(text)


@pytest.mark.parametrize("text", NO_TIMES)
def test_texts_that_are_no_times(text: str) -> None:
    """Neither an error nor a guess: no time."""
    assert event_time(text) is None


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (1705314645, "2024-01-15T10:30:45.000Z"),
        (1705314645123, "2024-01-15T10:30:45.123Z"),
        (1705314645123456, "2024-01-15T10:30:45.123456Z"),
        (1705314645123456789, "2024-01-15T10:30:45.123456789Z"),
        (1705314645.123, "2024-01-15T10:30:45.123Z"),
        (1705314645.5, "2024-01-15T10:30:45.500Z"),
        (1705314645123.5, "2024-01-15T10:30:45.1235Z"),
        (1.705314645e9, "2024-01-15T10:30:45.000Z"),
        (1.705314645123456e18, "2024-01-15T10:30:45.123456Z"),
        (946684800, "2000-01-01T00:00:00.000Z"),
        (946684799, None),
        (4102444799999, "2099-12-31T23:59:59.999Z"),
        (4102444800000, None),
        (0, None),
        (-1705314645, None),
        (10**19, None),
        (10**400, None),
        (float("inf"), None),
        (float("-inf"), None),
        (float("nan"), None),
        (True, None),
    ],
)
def test_numbers(number: float, expected: str | None) -> None:
    """Seconds, ms, µs or ns since 1970: the unit that gives a time of 2000-2099."""
    assert expected == event_time(number)


@pytest.mark.parametrize("value", [None, MISSING, [], {}, ["2024-01-15"], b"2024-01-15"])
def test_values_that_are_neither_text_nor_number(value: Any) -> None:
    """A field of another type than usual is no time."""
    assert event_time(value) is None


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("2024-01-15T10:30:45.123Z", "2024-01-15T10:30:45.123000Z", True),
        ("2024-01-15T10:30:40.000Z", "2024-01-15T10:30:40.000000000Z", True),
        ("2024-01-15T10:30:45.123Z", "2024-01-15T10:30:45.1230001Z", False),
        ("2024-01-15T10:30:40.000Z", "2024-01-15T10:30:4.000Z", False),
    ],
)
def test_the_same_instant(first: str, second: str, expected: bool) -> None:
    """Zeros at the end say nothing."""
    assert expected is is_same_instant(first, second)


ALL_VALUES: list[Any] = [text for text, _ in TEXTS] + NO_TIMES + [1705314645123, 1705314645.25, None, True, {}]


@pytest.mark.parametrize("value", ALL_VALUES)
@pytest.mark.parametrize("others", [[], ["2024-01-15T10:30:45.123Z"], ["2024-01-15 10:30:45.12+01:00"]])
def test_a_column_gives_what_its_values_give(value: Any, others: list[Any]) -> None:
    """The fast ways for columns of one form differ in nothing from the way for one value."""
    for column in ([value, *others], [*others, value], [value, value]):
        assert [event_time(item) or "" for item in column] == list(event_times(column))


@pytest.mark.parametrize(
    "column",
    [
        [1705314645123, 1705314645124, 1705314646000, 946684800000, 4102444799999],
        [1705314645123, 4102444800000],
        [1705314645123, -1],
        ["2024-01-15T10:30:45.123Z", "2024-01-15T10:30:45.123456Z"],
        ["2024-01-15T10:30:45.123+01:00", "2024-02-30T10:30:45.123+01:00", "2024-01-01T00:30:45.123+01:00"],
        ["2024-01-15T10:30:45", "2024-01-15T10:30:61"],
        ["2024-01-15", "2024-01-16"],
        ["2024-01-15T10:30:45.123Z\n2024-01-15T10:30:45.123Z", "2024-01-15T10:30:45.123Z"],
    ],
)
def test_a_column_of_one_kind_gives_what_its_values_give(column: list[Any]) -> None:
    """Milliseconds and texts of one form go a faster way; where one of them is no time, only that one is none."""
    assert [event_time(item) or "" for item in column] == list(event_times(column))


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (["2024-01-15T10:30:45.123Z"], ["2024-01-15"]),
        (["2024-01-16T00:00:00.000Z", "2024-01-15T23:59:59.999Z"] * 3, ["2024-01-15", "2024-01-16"]),
        (["2024-01-15T10:30:45.123Z", MISSING], None),
        (["2024-01-15T10:30:45.123Z", 5], None),
        (["2024-01-15T10:30:45.123Z", ""], None),
        (["2024-01-15T10:30:45.12Z"], None),
        (["2024-02-30T10:30:45.123Z"], None),
        (["2024-01-15T10:30:60.123Z"], None),
        (["2024-01-15T24:30:45.123Z"], None),
        (["2024-01-15T10:30:45.123Z", "2024-01-15T10:31:75.123Z", "2024-01-15T10:32:45.123Z"], None),
        (["2024-01-15T10:30:45.123Z", "2024-01-15T10:30:65.123Z"], None),
        (["1999-01-15T10:30:45.123Z"], None),
        (["2100-01-15T10:30:45.123Z"], None),
        (["2024-01-15T10:30:45.123Z\n2024-01-15T10:30:45.123Z"], None),
        (["2024-01-15T10:30:45.12٣Z"], None),
    ],
)
def test_days_of_a_usual_column(column: list[Any], expected: list[str] | None) -> None:
    """Only a column in which nothing is to be converted is usual; it is made bytes at once."""
    found = usual_times(column)
    assert (expected and ([time.encode() for time in column], expected)) == found


def test_the_first_field_that_holds_a_usable_time_counts() -> None:
    """Line by line: a field that is missing, or no time, leaves the line to the next field."""
    columns: list[list[Any]] = [
        ["2024-01-15T10:30:45.123Z", MISSING, "nonsense", MISSING, None],
        [MISSING] * 5,
        ["2024-01-16", 1705314645, 1705314645123, MISSING, True],
    ]
    expected = ["2024-01-15T10:30:45.123Z", "2024-01-15T10:30:45.000Z", "2024-01-15T10:30:45.123Z", "", ""]
    assert expected == first_times(columns, 5)


@pytest.mark.parametrize(
    ("pattern", "day", "expected"),
    [
        ("logs-%Y.%m.%d", "2024-01-15", "logs-2024.01.15"),
        ("logs-%Y.%m.%d", "", "logs-undated"),
        ("logs-%Y-%j-x", "2024-02-01", "logs-2024-032-x"),
        ("logs-%Y-%j-x", "", "logs-undated-x"),
        ("logs", "2024-01-15", "logs"),
        ("logs", "", "logs"),
        ("100%%-%Y", "2024-01-15", "100%-2024"),
        ("100%%-%Y", "", "100%-undated"),
        ("%Y", "", "undated"),
    ],
)
def test_the_index_of_a_day(pattern: str, day: str, expected: str) -> None:
    """The date's place is taken by `undated` where there is no day."""
    index = IndexPattern(pattern)
    assert expected == index.name(day)
    assert expected == index.name(day)
