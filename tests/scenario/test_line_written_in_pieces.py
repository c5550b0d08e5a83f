"""A writer that hands over a byte at a time, or breaks in the middle of a character: a line is whole or nothing."""

from __future__ import annotations

import pytest
from harness.story import Story, Unseen

TEXT = '{"n":1,"name":"Zoë Müller 🩺","text":"a\\nb"}\r\n'.encode()


def test_a_byte_at_a_time(story: Story) -> None:
    """The daemon looks after each byte, at the first line and at later ones."""
    story.written = 2
    for text in (TEXT, TEXT.replace(b'"n":1', b'"n":2')):
        for position in range(len(text)):
            assert story.written - 2 == len(story.shipped())
            story.append("app.log", text[position : position + 1])
            story.run(0.3)
        story.run(1.5)
        story.written += 1
    story.written -= 2

    assert ["Zoë Müller 🩺"] * 2 == [document["name"] for document in story.receiver.documents().values()]
    story.assert_exact()


@pytest.mark.parametrize("at", [1, 7, 18, 30, -2, -1])
def test_while_the_other_half_is_to_come(story: Story, unseen: Unseen, at: int) -> None:
    """Cut within the key, within a character, before CR, between CR and LF: with a restart between the halves."""
    line = TEXT.replace(b'"n":1', b'"n":4')
    story.write("app.log", 3)
    story.append("app.log", line[:at])
    story.run()
    with unseen(story):
        story.append("app.log", line[at:])
    story.written = 4
    story.write("app.log", 1)
    story.run()

    story.assert_exact()


def test_two_writers_that_take_turns(story: Story) -> None:
    """Several lines in one write, and the half of the next."""
    rest = b""
    for _ in range(10):
        data = rest + story.lines(7)
        cut = len(data) - 13
        story.append("app.log", data[:cut])
        rest = data[cut:]
        story.run(0.5)
    story.append("app.log", rest)
    story.run()

    story.assert_exact()
