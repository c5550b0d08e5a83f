"""A file shorter than any header that others want to see first: two bytes are a line."""

from __future__ import annotations

import pytest
from harness.story import Story, Unseen


@pytest.mark.parametrize("text", [b"{}\n", b"1\n", b"x\n", b"\xff\n", b"{}\r\n"])
def test_one_short_line(story: Story, unseen: Unseen, text: bytes) -> None:
    """It is delivered and counted once, live, while down, and when the file is renamed."""
    story.write("other.log", 1)
    story.run()
    with unseen(story):
        story.append("app.log", text)
    story.run()
    with unseen(story):
        story.path("app.log").rename(story.path("app.log.1"))
    story.run()
    story.restart()
    story.run()

    assert 2 == len(story.receiver.documents())
    assert 2 == story.tally.counts.total()


def test_many_files_of_one_line(story: Story, unseen: Unseen) -> None:
    """As jobs write them that live for a moment."""
    with unseen(story):
        for number in range(60):
            story.write(f"job-{number}-run.log", 1)
    story.run()

    story.assert_exact()


def test_it_grows_by_single_lines(story: Story) -> None:
    """Restarted after each: with the fewest bytes to know it by."""
    for _ in range(12):
        story.write("app.log", 1)
        story.run()
        story.restart()

    story.assert_exact()
