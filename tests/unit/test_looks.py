"""When a file that rests is looked at again."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from harness.world import World

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
    from pathlib import Path

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


def test_a_file_is_looked_at_once_however_often_it_was_put_at_that_time() -> None:
    """An earlier look replaces a later one, and what was meant for later comes again only if it is put there."""
    looks, followed = Looks(), resting(0.0)
    looks.put(followed, 102.0)
    looks.put(followed, 101.0)
    assert looks.due(101.0) == [followed]
    looks.put(followed, 102.0)
    looks.put(followed, 103.0)
    assert looks.due(102.0) == [followed]
    assert looks.due(104.0) == []
    assert looks.next_at() is None


def test_files_that_rest_alike_are_looked_at_together_and_others_at_their_own_time() -> None:
    """What was found out for one file holds only for those with the same pause, and at the same moment."""
    looks = Looks()
    quiet, another, busy = resting(2.0), resting(2.0), resting(0.1)
    busy.changed_at = 99.9
    for followed in (quiet, another, busy):
        looks.later(followed, 100.0, files=3)
    assert looks.due(100.2) == [busy]
    looks.later(busy, 100.2, files=3)
    assert looks.next_at() == pytest.approx(100.5)
    assert looks.due(102.0) == [busy, quiet, another]
    assert [2.0, 2.0, 0.4] == pytest.approx([followed.interval for followed in (quiet, another, busy)])


def test_two_hundred_usual_lines_a_second_are_read_in_two_batches() -> None:
    """Each costs as much as a hundred lines, and nobody sees them before the next commit."""
    assert interval_of_growth(200 * 320 // 2, seconds=0.5) == SLOWEST_SECONDS


def resting(interval: float) -> Followed:
    """A file of which nothing else matters here; it has not changed for a minute and more."""
    return cast("Followed", SimpleNamespace(next_look=None, interval=interval, changed_at=0.0))


def test_a_daemon_at_rest_wakes_up_once_a_second(tmp_path: Path) -> None:
    """Looks at files fall together with those at directories, whenever it was started."""
    with World(tmp_path) as world:
        world.now += 0.3
        world.write("app.log", 1)
        os.utime(world.logs, (1, 1))  # a directory that has just changed is listed again and again
        world.run(80.0)
        wakes = []
        for _ in range(10):
            world.now += world.step()
            wakes.append(world.now)
    assert [wakes[0] + second for second in range(10)] == pytest.approx(wakes)
