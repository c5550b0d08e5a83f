"""Emptied in place, without a copy: what was read stays delivered, what was not is said, what comes is read."""

from __future__ import annotations

import logging
import os

import pytest
from harness.story import Story, Unseen, between_two_looks
from xxhash import xxh3_64_intdigest

from shipper.batch import Mark
from shipper.identity import MARK_BYTES, pack_marks


def size_of(story: Story) -> int:
    return story.path("app.log").stat().st_size


def test_to_zero(story: Story, unseen: Unseen) -> None:
    """The next line is the first of a new content."""
    story.write("app.log", 20)
    story.run()
    with unseen(story):
        os.truncate(story.path("app.log"), 0)
        story.write("app.log", 3)
    story.run()

    story.assert_exact()


def test_to_zero_and_nothing_comes_for_long(story: Story, unseen: Unseen) -> None:
    """An empty file is looked at again and again."""
    story.write("app.log", 20)
    story.run()
    with unseen(story):
        os.truncate(story.path("app.log"), 0)
    story.run(300.0)
    story.write("app.log", 3)
    story.run()

    story.assert_exact()


def test_again_and_again(story: Story, unseen: Unseen) -> None:
    """The same file, emptied after each burst."""
    for _ in range(5):
        story.write("app.log", 4)
        story.run(3.0)
        with unseen(story):
            os.truncate(story.path("app.log"), 0)
    story.write("app.log", 1)
    story.run()

    story.assert_exact()


@pytest.mark.parametrize("more", [1, 19, 20, 21, 400])
def test_and_grown_again_before_anyone_looked(story: Story, unseen: Unseen, more: int) -> None:
    """To less than its old length, to just that, and past it."""
    story.append("app.log", b"".join(story.line(size=80) for _ in range(20)))
    story.run()
    with unseen(story):
        os.truncate(story.path("app.log"), 0)
        story.append("app.log", b"".join(story.line(size=80) for _ in range(more)))
    story.run()

    story.assert_exact()


@pytest.mark.parametrize("more", [20, 21, 400])
def test_and_grown_again_by_lines_that_end_alike(story: Story, unseen: Unseen, more: int) -> None:
    """They are as long as those that were there, so before the place that was read to nothing has changed."""
    story.append("app.log", story.lines(20, size=400))
    story.run()
    with unseen(story):
        os.truncate(story.path("app.log"), 0)
        story.append("app.log", story.lines(more, size=400))
    story.run()

    story.assert_exact()


def test_with_marks_of_an_earlier_release(story: Story, caplog: pytest.LogCaptureFixture) -> None:
    """Made of 256 bytes everywhere, they find nothing changed: it is another content all the same, and said once."""
    story.append("app.log", story.lines(3, size=330))
    story.run()
    data = story.path("app.log").read_bytes()
    [followed] = story.pipeline.roster.all()
    marks = [Mark(at, xxh3_64_intdigest(data[at - MARK_BYTES : at])) for at in (660, 990)]
    followed.trail.line_ends = pack_marks(marks)
    caplog.set_level(logging.INFO)
    with between_two_looks(story):
        os.truncate(story.path("app.log"), 0)
        story.append("app.log", story.lines(3, size=330))
    story.run()

    story.assert_exact()
    assert 1 == caplog.text.count("was truncated")


def test_while_lines_were_unread(story: Story) -> None:
    """The output takes nothing when the file is emptied: the metrics have its lines, the bytes are said to be lost."""
    story.write("app.log", 20)
    story.run()
    story.block_output(is_blocked=True)
    before = size_of(story)
    unread = story.write("app.log", 5)
    story.run(20.0)
    lost = size_of(story) - before
    os.truncate(story.path("app.log"), 0)
    story.run(2.0)
    story.write("app.log", 3)
    story.run(20.0)
    story.block_output(is_blocked=False)
    story.run(20.0)

    assert set(range(1, story.written + 1)) - set(unread) == set(story.shipped())
    assert dict.fromkeys(range(1, story.written + 1), 1) == story.counted()
    assert lost == story.lost_bytes()


def test_while_what_was_read_is_not_acknowledged(story: Story) -> None:
    """Lines that the output has taken over are its own: they arrive although the file is empty by now."""
    story.write("app.log", 2)
    story.run()
    receiver = story.receiver
    receiver.is_answering = False  # type: ignore[attr-defined]
    story.write("app.log", 20)
    story.run(2.0)
    os.truncate(story.path("app.log"), 0)
    story.run(2.0)
    story.write("app.log", 3)
    story.run(2.0)
    receiver.is_answering = True  # type: ignore[attr-defined]
    story.run()

    story.assert_exact()


def test_grown_again_while_lines_waited_for_room(story: Story) -> None:
    """Lines that were seen, and that neither cursor has read for want of room in the output, are said to be lost."""
    story.write("app.log", 20, size=80)
    story.run()
    before = size_of(story)
    story.block_output(is_blocked=True)
    unread = story.write("app.log", 2, size=80)
    story.run(1.0)
    unread += story.write("app.log", 5, size=80)
    story.run(1.0)
    lost = size_of(story) - before
    os.truncate(story.path("app.log"), 0)
    story.write("app.log", 60, size=80)
    story.run(0.6)
    story.block_output(is_blocked=False)
    story.run(20.0)

    story.assert_exact_but(unread, lost=lost)


@pytest.mark.parametrize("before", [0, 20])
def test_cut_behind_what_was_read(story: Story, unseen: Unseen, before: int) -> None:
    """Of lines that wait for room a part is cut off: what is left of them is read, and once; what is gone is said."""
    story.write("app.log", before, size=80)
    story.run()
    story.block_output(is_blocked=True)
    waiting = story.write("app.log", 10, size=80)
    story.run(2.0)
    size, left = size_of(story), story.offset_of("app.log", waiting[5])
    with unseen(story):
        os.truncate(story.path("app.log"), left)
    story.run(0.6)
    story.block_output(is_blocked=False)
    story.run()
    story.restart()
    story.run()

    story.assert_exact_but(waiting[5:], lost=size - left)
