"""A symbolic link to the log: swapped to the next file, dangling, doubled, beside the file itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from harness.receiver import Receiver
from harness.story import NewStory, Story, Unseen


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Where the files behind the links lie: no pattern looks there."""
    directory = tmp_path / "data"
    directory.mkdir()
    return directory


def link(story: Story, name: str, target: Path) -> None:
    """Makes or swaps a link, as `ln -sfn` does."""
    path = story.path(name)
    beside = path.with_name(".link")
    beside.symlink_to(target)
    beside.replace(path)


def append(path: Path, text: bytes) -> None:
    with path.open("ab") as file:
        file.write(text)


def test_swapped_to_the_next_file(story: Story, unseen: Unseen, data: Path) -> None:
    """`current.log` leads to another file each day; the last lines of the former one were written before."""
    for day in range(14, 18):
        target = data / f"app-2024-01-{day}.log"
        append(target, story.lines(5))
        with unseen(story):
            link(story, "current.log", target)
            append(target, story.lines(2))
        story.run()
    story.run(20.0)

    story.assert_exact()


def test_lines_that_came_just_before_the_swap(story: Story, data: Path) -> None:
    """The daemon holds the former file open, and reads it to its end."""
    first, second = data / "app-2024-01-14.log", data / "app-2024-01-15.log"
    append(first, story.lines(5))
    link(story, "current.log", first)
    story.run()
    append(first, story.lines(3))
    append(second, story.lines(2))
    link(story, "current.log", second)
    story.run()
    append(first, story.lines(1))
    story.run(60.0)

    story.assert_exact()


def test_dangling(story: Story, unseen: Unseen, data: Path) -> None:
    """It leads nowhere until its target comes."""
    target = data / "app.log"
    with unseen(story):
        link(story, "current.log", target)
    story.run(20.0)
    assert [] == story.names()
    with unseen(story):
        append(target, story.lines(3))
    story.run(130.0)

    story.assert_exact()


def test_two_links_and_the_file_itself(story: Story, unseen: Unseen) -> None:
    """Three names lead to one file: it is read once, whichever of them goes."""
    story.write("app.log", 5)
    link(story, "one.log", story.path("app.log"))
    link(story, "two.log", story.path("app.log"))
    story.run()
    assert ["app.log"] == story.names()
    with unseen(story):
        story.path("one.log").unlink()
        story.write("app.log", 2)
    story.run()
    story.write("app.log", 1)
    story.run()

    story.assert_exact()


def test_the_link_is_removed(story: Story, data: Path) -> None:
    """The file goes on for a while, then nothing leads to it: what was written meanwhile was read."""
    append(data / "app.log", story.lines(5))
    link(story, "current.log", data / "app.log")
    story.run()
    append(data / "app.log", story.lines(2))
    story.path("current.log").unlink()
    story.run(2.0)
    append(data / "app.log", story.lines(2))
    story.run(5.0)

    story.assert_exact()


def test_its_target_is_rotated(story: Story, unseen: Unseen, data: Path) -> None:
    """The link stays, the file behind it is renamed and made anew."""
    append(data / "app.log", story.lines(5))
    link(story, "current.log", data / "app.log")
    story.run()
    with unseen(story):
        (data / "app.log").rename(data / "app.log.1")
        append(data / "app.log", story.lines(3))
    story.run()

    story.assert_exact()


def test_its_target_is_truncated(story: Story, unseen: Unseen, data: Path) -> None:
    """And written again, past its old length."""
    append(data / "app.log", story.lines(5))
    link(story, "current.log", data / "app.log")
    story.run()
    with unseen(story):
        os.truncate(data / "app.log", 0)
        append(data / "app.log", story.lines(30))
    story.run()

    story.assert_exact()


def test_a_circle(story: Story) -> None:
    """Links that lead to each other are no files, and stop no other."""
    link(story, "a.log", story.path("b.log"))
    link(story, "b.log", story.path("a.log"))
    story.write("app.log", 3)
    story.run()

    assert ["app.log"] == story.names()
    story.assert_exact()


def test_a_linked_directory_is_swapped(new_story: NewStory, unseen: Unseen, data: Path, receiver: Receiver) -> None:
    """`current/` leads to another release's directory, which has a file of the same name."""
    del receiver
    story = new_story(paths=["current/*.log"])
    for release in ("1", "2", "3"):
        (data / release).mkdir()
        append(data / release / "app.log", story.lines(5))
        with unseen(story):
            link(story, "current", data / release)
            append(data / release / "app.log", story.lines(2))
        story.run()

    story.assert_exact()
