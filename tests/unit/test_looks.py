"""When a file that rests is looked at again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from shipper.looks import (
    FIRST_SECONDS,
    PAYING_BYTES,
    SLOWEST_SECONDS,
    Looks,
    interval_of_growth,
    next_interval,
    next_look,
)

if TYPE_CHECKING:
    from shipper.followed import Followed


@pytest.mark.parametrize(
    ("now", "interval", "expected"),
    [
        (100.0, 0.05, 100.05),
        (100.1, 0.2, 100.3),
        (100.1, 0.4, 100.5),
        (100.25, 0.25, 100.5),
        (100.0, 1.0, 101.0),
        (100.3, 1.0, 101.0),
        (100.9, 2.0, 102.0),
        (100.3, 20.0, 120.0),
    ],
)
def test_looks_fall_together_and_never_later_than_they_should(now: float, interval: float, expected: float) -> None:
    """On a grid of a second or a quarter, as far as the pause is that long."""
    assert expected == pytest.approx(next_look(now, interval))
    assert now < next_look(now, interval) <= now + interval


def test_a_file_that_rests_is_looked_at_ever_seldomer() -> None:
    """Up to a second, two after a while, and thousands of files seldomer still."""
    pauses = [0.0]
    for _ in range(8):
        pauses.append(next_interval(pauses[-1], quiet_seconds=1, files=10))
    assert [FIRST_SECONDS, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0] == pytest.approx(pauses[1:])
    assert next_interval(1.0, quiet_seconds=60, files=10) == 2.0
    assert next_interval(16.0, quiet_seconds=60, files=10_000) == 20.0


@pytest.mark.parametrize(
    ("grown_bytes", "seconds", "expected"),
    [
        (300, 0.05, SLOWEST_SECONDS),
        (PAYING_BYTES // 10, 0.25, SLOWEST_SECONDS),
        (PAYING_BYTES // 2, 0.2, 0.4),
        (PAYING_BYTES, 0.1, 0.1),
        (2 * PAYING_BYTES, 0.25, 0.125),
        (PAYING_BYTES * 100, 0.25, FIRST_SECONDS),
        (300, 60.0, FIRST_SECONDS),
        (0, 0.25, FIRST_SECONDS),
        (-5_000, 0.25, FIRST_SECONDS),
    ],
)
def test_a_file_that_grows_is_looked_at_when_it_pays(grown_bytes: int, seconds: float, expected: float) -> None:
    """As often as about so much is new; at once again where it begins to grow, was emptied, or only touched."""
    assert expected == pytest.approx(interval_of_growth(grown_bytes, seconds=seconds))


def test_a_file_that_was_read_is_looked_at_when_it_pays_next() -> None:
    """Also where reading took several steps; only a look that finds nothing makes the pause longer."""
    looks, followed = Looks(), SimpleNamespace(next_look=None, interval=0.1, changed_at=99.9)
    looks.after_reading(cast("Followed", followed), 100.0)
    assert looks.next_at() == pytest.approx(100.1)
    assert followed.interval == 0.1
    assert looks.due(100.2) == [followed]
    looks.later(cast("Followed", followed), 100.2, files=1)
    assert looks.next_at() == pytest.approx(100.4)
    assert followed.interval == 0.2
