"""Byte-order marks, UTF-16, bytes that are no UTF-8, and a limit that falls within a character."""

from __future__ import annotations

import codecs

import pytest
from harness.story import NewStory, Story, Unseen


def test_a_mark_of_utf_8(story: Story, unseen: Unseen) -> None:
    """As Windows tools write it before the first line: it is no part of it."""
    story.append("app.log", codecs.BOM_UTF8 + story.line())
    story.run()
    with unseen(story):
        story.write("app.log", 2)
        story.path("app.log").rename(story.path("app.log.1"))
        story.append("app.log", codecs.BOM_UTF8 + story.line())
    story.run()

    story.assert_exact()


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16(story: Story, encoding: str) -> None:
    """It is not what is asked for: what stands between its newline bytes is text, tagged, and stops no other line."""
    story.append("app.log", "\N{BYTE ORDER MARK}".encode(encoding) + '{"a":1}\n{"a":2}\n'.encode(encoding))
    story.append("app.log", b"\n" + story.line())
    story.run()

    tags = [document["tags"] for document in story.receiver.documents().values() if "n" not in document]
    assert tags
    assert all("parse_failure" in each for each in tags)
    assert [1] == story.shipped()


def test_bytes_that_are_no_utf_8(story: Story, unseen: Unseen) -> None:
    """They are replaced and tagged; the line's other values, and its neighbours, are what they were."""
    story.write("app.log", 1)
    story.run()
    with unseen(story):
        story.append("app.log", story.line().replace(b"}", b',"name":"M\xfcller"}'))
        story.write("app.log", 1)
    story.run()

    (odd,) = [document for document in story.receiver.documents().values() if document["n"] == 2]
    assert ("M\ufffdller", ["encoding_failure"]) == (odd["name"], odd["tags"])
    story.assert_exact()


@pytest.mark.parametrize("limit", range(100, 105))
def test_a_limit_within_a_character(new_story: NewStory, limit: int) -> None:
    """The prefix of a line that is too long is text: half a character at its end does not make it invalid."""
    story = new_story(max_line_bytes=limit)
    story.append("app.log", ("é🩺" * 100).encode() + b"\n" + story.line())
    story.run()

    (prefix,) = [document["message"] for document in story.receiver.documents().values() if "n" not in document]
    assert ("é🩺" * 100).startswith(prefix.rstrip("\ufffd"))
    assert limit - 4 < len(prefix.rstrip("\ufffd").encode()) <= limit
    assert [1] == story.shipped()


def test_nul_bytes(story: Story) -> None:
    """Within a line they are no JSON: the line is text; its neighbours are lines."""
    story.append("app.log", story.line() + b'{"a":"\0\0"}\n' + story.line())
    story.run()

    (odd,) = [document for document in story.receiver.documents().values() if "n" not in document]
    assert ["parse_failure", "time_failure"] == odd["tags"]
    assert [1, 2] == story.shipped()
