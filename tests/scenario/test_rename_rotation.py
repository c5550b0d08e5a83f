"""Renamed and created anew: every line is read under whatever name its file has, however fast it changes."""

from __future__ import annotations

import pytest
from harness.story import NewStory, Story, Unseen


def rotate(story: Story, *, keep: int = 9, looks_seconds: float = 0.0) -> None:
    """As logrotate does in a cascade: each file one number on, from the last; with a look after each step if asked."""
    for number in range(keep, 0, -1):
        older = story.path(f"app.log.{number}")
        if older.exists():
            older.rename(story.path(f"app.log.{number + 1}"))
            story.run(looks_seconds) if looks_seconds else None
    story.path("app.log").rename(story.path("app.log.1"))
    story.run(looks_seconds) if looks_seconds else None
    story.append("app.log", b"")


def test_renamed_and_created(story: Story, unseen: Unseen) -> None:
    """Lines that came just before the rename, into the renamed file, and into the new one."""
    story.write("app.log", 3)
    story.run()
    with unseen(story):
        story.write("app.log", 2)
        story.path("app.log").rename(story.path("app.log.1"))
        story.write("app.log.1", 2)
        story.write("app.log", 2)
    story.run()

    assert ["app.log", "app.log.1"] == story.names()
    story.assert_exact()


def test_a_writer_that_goes_on_in_the_renamed_file(story: Story) -> None:
    """It keeps the old file open for a while, as most do until they are told."""
    story.write("app.log", 1)
    story.run()
    story.path("app.log").rename(story.path("app.log.1"))
    story.write("app.log", 1)
    story.run()
    story.write("app.log.1", 1)
    story.run()

    story.assert_exact()


def test_a_cascade(story: Story, unseen: Unseen) -> None:
    """All names move on by one, four times, with lines before each: nothing is taken for another file."""
    story.write("app.log", 2)
    story.run()
    with unseen(story):
        for _ in range(4):
            rotate(story)
            story.write("app.log", 3)
    story.run()

    assert 5 == len(story.names())
    story.assert_exact()


@pytest.mark.parametrize("looks_seconds", [0.05, 0.3, 2.0])
def test_a_cascade_in_slow_motion(story: Story, looks_seconds: float) -> None:
    """The daemon looks between all the renames of one rotation, when a number is there that another had before."""
    story.write("app.log", 2)
    for _ in range(4):
        story.run(looks_seconds)
        rotate(story, looks_seconds=looks_seconds)
        story.write("app.log", 3)
    story.run()

    story.assert_exact()


def test_renamed_before_it_was_read(story: Story, unseen: Unseen) -> None:
    """Far more than a batch lies unread in the file when it is renamed, and again in the next."""
    story.write("app.log", 1)
    story.run()
    with unseen(story):
        story.write("app.log", 3000, size=100)
        rotate(story)
        story.write("app.log", 3000, size=100)
        rotate(story)
        story.write("app.log", 10)
    story.run()

    story.assert_exact()


def test_rotated_while_the_output_takes_nothing(story: Story) -> None:
    """Shipping is behind in all files; metrics are current all the time, and nothing is missing in the end."""
    story.write("app.log", 5)
    story.run()
    story.block_output(is_blocked=True)
    for _ in range(3):
        story.write("app.log", 500, size=200)
        story.run(20.0)
        rotate(story)
    assert story.written == sum(story.counted().values())
    assert story.written > len(story.shipped())
    story.restart()
    story.block_output(is_blocked=False)
    story.run(20.0)

    story.assert_exact()


def test_the_oldest_is_deleted_each_time(story: Story) -> None:
    """`rotate 2`: a file that has been read is no loss when it goes."""
    for _ in range(6):
        story.write("app.log", 20)
        story.run()
        story.path("app.log.2").unlink(missing_ok=True)
        rotate(story, keep=1)
    story.run(60.0)

    assert ["app.log", "app.log.1", "app.log.2"] == sorted(path.name for path in story.logs.iterdir())
    story.assert_exact()


@pytest.mark.parametrize("rotations", [1, 2, 3])
def test_rotated_to_the_same_name_with_a_date(story: Story, unseen: Unseen, rotations: int) -> None:
    """Winston's and logrotate's dated names: the new file has the date of its day, the old one keeps its name."""
    story.write("app-2024-01-14.log", 4)
    story.run()
    with unseen(story):
        for day in range(15, 15 + rotations):
            story.write(f"app-2024-01-{day - 1}.log", 2)
            story.write(f"app-2024-01-{day}.log", 3)
    story.run()

    story.assert_exact()


def test_back_under_its_first_name(story: Story, unseen: Unseen) -> None:
    """A rotation that is undone by hand."""
    story.write("app.log", 4)
    story.run()
    with unseen(story):
        story.path("app.log").rename(story.path("app.log.1"))
        story.write("app.log.1", 1)
    story.run()
    with unseen(story):
        story.path("app.log.1").rename(story.path("app.log"))
        story.write("app.log", 1)
    story.run()

    story.assert_exact()


def test_files_that_swap_their_names(new_story: NewStory, unseen: Unseen) -> None:
    """Two followed files, each under the other's name: what was read is known by content, not by name."""
    story = new_story()
    story.write("a.log", 3)
    story.write("b.log", 30)
    story.run()
    with unseen(story):
        story.path("a.log").rename(story.path("c.tmp"))
        story.path("b.log").rename(story.path("a.log"))
        story.path("c.tmp").rename(story.path("b.log"))
        story.write("a.log", 1)
        story.write("b.log", 1)
    story.run()

    assert list(range(1, story.written + 1)) == story.shipped()
    assert dict.fromkeys(range(1, story.written + 1), 1) == story.counted()
