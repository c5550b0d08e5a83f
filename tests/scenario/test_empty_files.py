"""Files without a line: empty, blank, NULs; nothing comes of them until there is one."""

from __future__ import annotations

import pytest
from harness.story import Story, Unseen


@pytest.mark.parametrize(
    "text", [b"", b"\n", b"\n\n \r\n\t\n", b"\0" * 5000], ids=["empty", "newline", "blank", "NULs"]
)
def test_until_a_line_comes(story: Story, unseen: Unseen, text: bytes) -> None:
    """It is looked at again and again, and its first line is its first."""
    story.append("app.log", text)
    story.run(200.0)
    assert {} == story.receiver.documents()
    with unseen(story):
        story.write("app.log", 3)
    story.run(10.0)

    story.assert_exact()


def test_blank_lines_between(story: Story) -> None:
    """They are no documents, and are not counted."""
    for _ in range(4):
        story.append("app.log", b"\n\n  \n" + story.line() + b"\r\n")
        story.run(2.0)

    assert story.written == story.tally.counts.total()
    story.assert_exact()


def test_many_that_come_and_go(story: Story, unseen: Unseen) -> None:
    """As programs make them that open their log before they have anything to say: nothing is lost with them."""
    for number in range(30):
        story.append(f"empty-{number}-run.log", b"")
    story.write("app.log", 1)
    story.run()
    with unseen(story):
        for number in range(30):
            story.path(f"empty-{number}-run.log").unlink()
    story.run(20.0)

    story.assert_exact()


def test_an_empty_archive(story: Story) -> None:
    """gzip of nothing, and a file of no bytes with its name."""
    story.append("app.log.1.gz", b"")
    story.append("app.log.2.gz", bytes.fromhex("1f8b0800000000000003030000000000 00000000"))
    story.write("app.log", 1)
    story.run(20.0)

    story.assert_exact()
