"""Rotated to where no pattern looks: what was open is read to its end, what was not shipped meanwhile is not lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness.story import NewStory, Story


@pytest.fixture
def story(new_story: NewStory) -> Story:
    """Only `app.log` itself is followed."""
    return new_story(paths=["app.log"])


@pytest.fixture
def away(tmp_path: Path) -> Path:
    return tmp_path / "app.log.1"


def test_before_it_was_read(story: Story, away: Path) -> None:
    """Far more than a batch lies unread in it."""
    story.write("app.log", 1)
    story.run()
    story.write("app.log", 3000, size=100)
    story.path("app.log").rename(away)
    story.write("app.log", 10)
    story.run(20.0)

    story.assert_exact()


def test_a_writer_that_goes_on_in_it(story: Story, away: Path) -> None:
    """For minutes, until it opens the new file."""
    story.write("app.log", 1)
    story.run()
    story.path("app.log").rename(away)
    for _ in range(10):
        with away.open("ab") as file:
            file.write(story.lines(2))
        story.run(60.0)
    story.write("app.log", 1)
    story.run()

    story.assert_exact()


def test_twice_before_it_was_read(story: Story, tmp_path: Path) -> None:
    """The second file came and went between two looks: nobody saw it; the first is read to its end."""
    story.write("app.log", 1)
    story.run()
    story.write("app.log", 20)
    story.path("app.log").rename(tmp_path / "app.log.2")
    unseen = story.write("app.log", 20)
    story.path("app.log").rename(tmp_path / "app.log.1")
    story.write("app.log", 10)
    story.run(20.0)

    story.assert_exact_but(unseen, lost=0)


def test_while_the_output_takes_nothing(story: Story, away: Path) -> None:
    """It is held open for shipping, and let go when everything of it is acknowledged."""
    story.write("app.log", 1)
    story.run()
    story.block_output(is_blocked=True)
    story.write("app.log", 500, size=200)
    story.run(2.0)
    story.path("app.log").rename(away)
    story.write("app.log", 5)
    story.run(300.0)
    story.block_output(is_blocked=False)
    story.run(1500.0)

    assert ["app.log"] == story.names()
    story.assert_exact()


def test_and_back(story: Story, away: Path) -> None:
    """It goes on where it was read, after an hour too."""
    story.write("app.log", 5)
    story.run()
    for seconds in (5.0, 3600.0):
        story.path("app.log").rename(away)
        story.run(seconds)
        away.rename(story.path("app.log"))
        story.write("app.log", 2)
        story.run(130.0)

    story.assert_exact()
