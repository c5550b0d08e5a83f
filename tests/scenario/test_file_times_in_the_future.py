"""Modification times of tomorrow, of 1970, and such that do not change: a file server's clock is not ours."""

from __future__ import annotations

import os

import pytest
from harness.story import NewStory, Story, Unseen

DAY = 86_400
TIMES = {"tomorrow": 2_000_000_000 + DAY, "in 2100": 4_102_444_800, "in 1970": 0}


def set_time(story: Story, name: str, seconds: float) -> None:
    os.utime(story.path(name), (seconds, seconds))


@pytest.mark.parametrize("seconds", TIMES.values(), ids=TIMES)
def test_of_the_file(story: Story, unseen: Unseen, seconds: int) -> None:
    """It is read as it grows, rotated and compressed, whatever its time says."""
    story.write("app.log", 5)
    set_time(story, "app.log", seconds)
    story.run()
    with unseen(story):
        story.write("app.log", 2)
        set_time(story, "app.log", seconds)
        story.path("app.log").rename(story.path("app.log.1"))
        story.compress("app.log.1")
        set_time(story, "app.log.1.gz", seconds)
        story.write("app.log", 2)
        set_time(story, "app.log", seconds)
    story.run(20.0)

    story.assert_exact()


@pytest.mark.parametrize("seconds", TIMES.values(), ids=TIMES)
def test_of_the_directory(story: Story, seconds: int) -> None:
    """Files that come are found although the directory's time stays what it is: by the full look once a minute."""
    for number in range(3):
        story.write(f"app-{number}.log", 2)
        set_time(story, ".", seconds)
        story.run(65.0)

    story.assert_exact()


def test_that_never_change(story: Story, unseen: Unseen) -> None:
    """A writer with mmap or a file system without times: the size says that it has grown."""
    story.write("app.log", 5)
    set_time(story, "app.log", 1_000_000_000)
    story.run()
    for _ in range(3):
        with unseen(story):
            story.write("app.log", 2)
            set_time(story, "app.log", 1_000_000_000)
        story.run()

    story.assert_exact()


def test_of_an_archive_that_is_read_once(new_story: NewStory) -> None:
    """A run that ends does not wait until tomorrow for an archive without a last newline."""
    story = new_story(is_started=False, reads_once=True)
    story.write("app.log", 5)
    story.append("app.log", story.line()[:-1])
    story.compress("app.log")
    set_time(story, "app.log.gz", 4_102_444_800)
    story.start()
    story.run_once()

    story.assert_exact()
