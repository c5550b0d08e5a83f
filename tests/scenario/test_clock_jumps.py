"""The wall clock is set, forth and back, by seconds and by years: nothing of following or counting depends on it."""

from __future__ import annotations

import pytest
from harness.story import Story, Unseen

HOUR = 3600.0
JUMPS = {
    "an hour forth": HOUR,
    "an hour back": -HOUR,
    "a year forth": 8760 * HOUR,
    "before 1970": -1e9 * 2,
}


@pytest.mark.parametrize("offset_seconds", JUMPS.values(), ids=JUMPS)
def test_while_lines_come(story: Story, offset_seconds: float) -> None:
    """Between writing, rotating, compressing and restarting, and back again each time."""
    for number in range(4):
        story.clock_offset_seconds = offset_seconds if number % 2 else 0.0
        story.write("app.log", 3)
        story.run()
        story.clock_offset_seconds = 0.0 if number % 2 else offset_seconds
        story.write("app.log", 2)
        story.path("app.log").rename(story.path(f"app.log.{number}"))
        story.run()
        if number % 2:
            story.compress(f"app.log.{number}")
            story.restart()
        story.run()

    story.assert_exact()


@pytest.mark.parametrize("offset_seconds", JUMPS.values(), ids=JUMPS)
def test_over_a_restart(story: Story, unseen: Unseen, offset_seconds: float) -> None:
    """The state was written at a time that has not come yet, or long ago."""
    story.write("app.log", 5)
    story.run()
    with unseen(story):
        story.clock_offset_seconds = offset_seconds
        story.path("app.log").rename(story.path("app.log.1"))
        story.write("app.log", 3)
    story.run(20.0)
    with unseen(story):
        story.clock_offset_seconds = -offset_seconds
        story.write("app.log", 2)
    story.run(20.0)

    story.assert_exact()


def test_asleep_for_an_hour(story: Story) -> None:
    """Monotonic and wall clock go on at once, as after a suspended machine: what came meanwhile is read."""
    story.write("app.log", 5)
    story.run()
    story.now += HOUR
    story.write("app.log", 5)
    story.path("app.log").rename(story.path("app.log.1"))
    story.write("app.log", 5)
    story.run()

    story.assert_exact()
