"""Lines around the limit, and around the sizes in which files are read: each is one document, and the next is whole."""

from __future__ import annotations

import gzip

import pytest
from harness.story import NewStory, Story

from shipper.tail import CHUNK_BYTES

LIMIT = 1000
AROUND = (-2, -1, 0, 1, 2)
SEARCH_BYTES = CHUNK_BYTES * 4
"""What is read at once where the end of a long line is looked for."""


def long_line(story: Story, size: int) -> bytes:
    """A line of `size` bytes without its newline."""
    return story.line(size=size + 1)[:-1] if size >= 70 else story.line()[:-1]


def assert_complete(story: Story, cut: set[int]) -> None:
    """Lines in `cut` are their first LIMIT bytes as text, tagged; all others are whole; each is there once."""
    documents = list(story.receiver.documents().values())
    whole = [document["n"] for document in documents if "n" in document]
    texts = [document["message"] for document in documents if "line_too_long" in document.get("tags", ())]
    numbers = [int(text.split('"n":')[1].split(",")[0]) for text in texts]
    assert sorted(cut) == sorted(numbers)
    assert {LIMIT} == {len(text) for text in texts} or not cut
    assert sorted({*range(1, story.written + 1)} - cut) == sorted(whole)
    assert story.written == story.tally.counts.total()
    assert {1} == set(story.tally.counts.values())


@pytest.mark.parametrize("ending", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("is_archive", [False, True], ids=["plain", "gz"])
def test_around_the_limit(new_story: NewStory, ending: bytes, *, is_archive: bool) -> None:
    """A line of the limit is whole, one of a byte more is cut; a carriage return does not count."""
    story = new_story(max_line_bytes=LIMIT)
    cut = set()
    text = b""
    for more in AROUND:
        text += long_line(story, LIMIT + more) + ending + story.line()
        cut |= {story.written - 1} if more > 0 else set()
    story.append("app.log.gz" if is_archive else "app.log", gzip.compress(text) if is_archive else text)
    story.run(20.0)

    assert_complete(story, cut)


@pytest.mark.parametrize("boundary", [CHUNK_BYTES, 2 * CHUNK_BYTES, SEARCH_BYTES], ids=["64K", "128K", "256K"])
@pytest.mark.parametrize("place", ["begins", "passes the limit", "ends"])
@pytest.mark.parametrize("is_archive", [False, True], ids=["plain", "gz"])
def test_across_a_boundary(new_story: NewStory, boundary: int, place: str, *, is_archive: bool) -> None:
    """A long line begins, passes the limit or ends within two bytes of where one read ends and the next begins."""
    story = new_story(max_line_bytes=LIMIT)
    size, cut = 3000, set()
    for shift in AROUND:
        begin = boundary + shift - {"begins": 0, "passes the limit": LIMIT, "ends": size}[place]
        head = b""
        while len(head) < begin - 900:
            head += story.line(size=800)
        head += story.line(size=begin - len(head))
        assert begin == len(head)
        text = head + long_line(story, size) + b"\n" + story.line()
        cut.add(story.written - 1)
        name = f"app{shift}x.log"  # each is a stem of its own
        story.append(f"{name}.gz" if is_archive else name, gzip.compress(text) if is_archive else text)
    story.run(20.0)

    assert_complete(story, cut)


@pytest.mark.parametrize("size", [CHUNK_BYTES, SEARCH_BYTES, 2 * SEARCH_BYTES], ids=["64K", "256K", "512K"])
def test_of_the_size_of_a_read(new_story: NewStory, size: int) -> None:
    """Lines as long as a read, a byte more and less, one after another."""
    story = new_story(max_line_bytes=LIMIT)
    text, cut = b"", set()
    for more in AROUND:
        text += long_line(story, size + more) + b"\n"
        cut.add(story.written)
        text += story.line()
    story.append("app.log", text)
    story.run(20.0)

    assert_complete(story, cut)


def test_it_comes_in_pieces(new_story: NewStory) -> None:
    """The daemon looks at the long line as it grows, is restarted within it, and sees its end in the end."""
    story = new_story(max_line_bytes=LIMIT)
    story.append("app.log", story.line())
    text = long_line(story, 300_000) + b"\n" + story.line()
    for start in range(0, len(text), 50_000):
        story.append("app.log", text[start : start + 50_000])
        story.run(1.0)
        if start == 150_000:
            story.restart()
    story.run()

    assert_complete(story, {2})


@pytest.mark.parametrize("ends", ["rotated", "deleted"])
def test_it_never_ends(new_story: NewStory, ends: str) -> None:
    """The last line of a file that will not be continued, longer than the limit."""
    story = new_story(max_line_bytes=LIMIT)
    story.append("app.log", story.line() + long_line(story, 200_000))
    story.run()
    assert [1] == story.shipped()
    if ends == "rotated":
        story.path("app.log").rename(story.path("app.log.1"))
    else:
        story.path("app.log").unlink()
    story.run(60.0)

    assert_complete(story, {2})


def test_it_is_the_first_line(new_story: NewStory) -> None:
    """The identity is made of it, the same in the file, its copy and its archive."""
    story = new_story(max_line_bytes=LIMIT)
    story.append("app.log", long_line(story, 3_000_000) + b"\n" + story.line())
    story.run()
    story.path("app.log").rename(story.path("app.log.1"))
    story.compress("app.log.1")
    story.run(20.0)
    story.restart()
    story.run(20.0)

    assert_complete(story, {1})
