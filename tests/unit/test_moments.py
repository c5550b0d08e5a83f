"""Event times as numbers: of the source's own fields, of the container runtime, or none."""

from __future__ import annotations

import math
from typing import Any

import pytest

from shipper.batch import MISSING, Batch, Columns
from shipper.moments import Moments, moment
from shipper.settings import SourceSettings

AT = 1_705_314_645.0


def _batch(source: str, count: int, **columns: list[Any]) -> Batch:
    return Batch(source, "p", "i", 0, 1, [b"{}"] * count, range(count), columns=Columns(columns))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-01-15T10:30:45.123Z", AT + 0.123),
        ("2024-01-15T10:30:45.000Z", AT),
        ("2024-01-15T10:30:45.123456789Z", pytest.approx(AT + 0.123456789)),
    ],
)
def test_a_time_is_seconds_since_1970(text: str, expected: float) -> None:
    """With its decimals."""
    assert moment(text) == expected


def test_the_first_usable_field_of_the_source_decides() -> None:
    """Each source has its own fields; what holds no time is none."""
    moments = Moments(
        [
            SourceSettings(name="a", paths=("x",), time=("ts", "time")),
            SourceSettings(name="b", paths=("y",), time=("date",)),
            SourceSettings(name="c", paths=("z",), time=("other",), metrics=False),
        ]
    )
    assert moments.fields == {"ts", "time", "date"}
    ts: list[Any] = ["2024-01-15T10:30:45Z", "soon", MISSING, None]
    time: list[Any] = [0, AT * 1000, "2024-01-15 11:30:46+01:00", MISSING]
    found = moments(_batch("a", 4, ts=ts, time=time, date=[MISSING] * 4))
    assert found[:3] == [AT, AT, AT + 1]
    assert math.isnan(found[3])
    assert list(moments(_batch("b", 1, date=["2024-01-15T10:30:45.5Z"]))) == [AT + 0.5]


def test_the_container_runtimes_time_stands_in() -> None:
    """Where the line itself has none."""
    moments = Moments([SourceSettings(name="a", paths=("x",), time=("ts",))])
    batch = _batch("a", 2, ts=[MISSING, "2024-01-15T10:30:46Z"])
    batch.runtime_times = ["2024-01-15T10:30:45.25Z"] * 2
    assert list(moments(batch)) == [AT + 0.25, AT + 1]
