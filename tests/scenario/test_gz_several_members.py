"""Archives of several members, as `cat a.gz b.gz` makes them, and archives that grow member by member."""

from __future__ import annotations

import gzip

import pytest
from harness.story import Story, Unseen


def test_members_one_after_another(story: Story) -> None:
    """Members are one stream; a line may begin in one and end in the next; empty ones and padding are nothing."""
    line = story.line()
    members = [story.lines(3), line[:20], line[20:] + story.lines(2), b"", story.lines(4)]
    story.append("app.log.1.gz", b"".join(map(gzip.compress, members)) + b"\0" * 512)
    story.run()

    story.assert_exact()


def test_a_member_is_added(story: Story, unseen: Unseen) -> None:
    """As a backup job does that appends: the new member's lines are new."""
    story.append("app.log.gz", gzip.compress(story.lines(30)))
    story.run()
    for _ in range(3):
        with unseen(story):
            story.append("app.log.gz", gzip.compress(story.lines(5)))
        story.run(10.0)

    story.assert_exact()


def test_a_line_that_a_later_member_ends(story: Story) -> None:
    """A whole archive may end within a line: that counts as one, and the longer line that it becomes is another."""
    first, line = story.lines(30), story.line()
    story.append("app.log.gz", gzip.compress(first + line[:-9]))
    story.run(20.0)
    story.append("app.log.gz", gzip.compress(line[-9:] + story.lines(2)))
    story.run(20.0)

    torn = [document["message"] for document in story.receiver.documents().values() if "message" in document]
    assert [line[:-9].decode()] == torn
    assert list(range(1, story.written + 1)) == story.shipped()
    assert 1 == story.metric("unexpected_tails_total")
    assert story.written == story.tally.counts.total()


@pytest.mark.parametrize("size", [1, 37])
def test_it_grows_while_it_is_read(story: Story, size: int) -> None:
    """So many bytes at a time, the daemon looking after each."""
    data = b"".join(gzip.compress(story.lines(2), mtime=0) for _ in range(3))
    for start in range(0, len(data), size):
        story.append("app.log.1.gz", data[start : start + size])
        story.run(0.2)
    story.run(20.0)

    story.assert_exact()


def test_garbage_behind_the_last_member(story: Story) -> None:
    """What follows is no member: the archive ends there, as it does for gzip."""
    story.append("app.log.1.gz", gzip.compress(story.lines(30)) + b"trailing garbage\n")
    story.run(20.0)

    story.assert_exact()


def test_a_writer_that_flushes(story: Story) -> None:
    """A compressing logger (`gzip` of a pipe): each flush gives whole lines, the footer comes in the end."""
    with gzip.open(story.path("app.log.gz"), "wb") as writer:
        for _ in range(4):
            writer.write(story.lines(3))
            writer.flush()
            story.run(10.0)
            assert story.written == len(story.shipped())
        writer.write(story.lines(3))
    story.run(20.0)

    story.assert_exact()
