"""A last line without its newline: left alone while it may go on, one line when it will not, never two."""

from __future__ import annotations

import gzip

import pytest
from harness.story import NewStory, Story, Unseen


def write_unterminated(story: Story, name: str = "app.log") -> None:
    story.append(name, story.line()[:-1])


def test_continued(story: Story, unseen: Unseen) -> None:
    """It waits, for hours if need be, and is delivered when its end comes."""
    story.write("app.log", 5)
    story.append("app.log", (line := story.line())[:20])
    story.run(3600.0)
    assert 5 == len(story.shipped())
    with unseen(story):
        story.append("app.log", line[20:])
        story.write("app.log", 2)
    story.run()

    story.assert_exact()


def test_continued_then_rotated(story: Story, unseen: Unseen) -> None:
    """Its end comes just before, or just after the rename."""
    story.write("app.log", 5)
    story.append("app.log", (line := story.line())[:20])
    story.run()
    with unseen(story):
        story.append("app.log", line[20:30])
        story.path("app.log").rename(story.path("app.log.1"))
        story.append("app.log.1", line[30:])
        story.write("app.log", 2)
    story.run(20.0)

    story.assert_exact()


def test_rotated_without_its_end(story: Story, unseen: Unseen) -> None:
    """The writer died: nobody will end it, so after five quiet seconds it is a line."""
    story.write("app.log", 5)
    write_unterminated(story)
    story.run()
    assert 5 == len(story.shipped())
    with unseen(story):
        story.path("app.log").rename(story.path("app.log.1"))
        story.write("app.log", 2)
    story.run(20.0)
    story.restart()
    story.run(20.0)

    story.assert_exact()


def test_compressed_without_its_end(story: Story, unseen: Unseen) -> None:
    """The same in the archive."""
    story.write("app.log", 5)
    write_unterminated(story)
    story.run()
    with unseen(story):
        story.path("app.log").rename(story.path("app.log.1"))
        story.compress("app.log.1")
        story.write("app.log", 2)
    story.run(20.0)

    story.assert_exact()


def test_rotated_without_its_end_and_compressed_later(story: Story, unseen: Unseen) -> None:
    """It was delivered from the renamed file: the archive holds nothing new."""
    story.write("app.log", 5)
    write_unterminated(story)
    story.run()
    story.path("app.log").rename(story.path("app.log.1"))
    story.run(20.0)
    with unseen(story):
        story.compress("app.log.1")
    story.run(20.0)

    story.assert_exact()


def test_ended_after_it_was_delivered(story: Story, unseen: Unseen) -> None:
    """The newline alone comes late: it is the same line."""
    story.write("app.log", 5)
    write_unterminated(story)
    story.run()
    story.path("app.log").rename(story.path("app.log.1"))
    story.run(20.0)
    with unseen(story):
        story.append("app.log.1", b"\n")
        story.write("app.log.1", 1)
    story.run(20.0)

    assert 0 == story.metric("unexpected_tails_total")
    story.assert_exact()


def test_continued_after_it_was_delivered(story: Story, unseen: Unseen) -> None:
    """More of it comes after all: the longer line is another document, and that is counted as unexpected."""
    story.write("app.log", 5)
    story.append("app.log", (line := story.line())[:-3])
    story.run()
    story.path("app.log").rename(story.path("app.log.1"))
    story.run(20.0)
    with unseen(story):
        story.append("app.log.1", line[-3:])
        story.write("app.log.1", 1)
    story.run(20.0)

    torn = [document["message"] for document in story.receiver.documents().values() if "message" in document]
    assert [line[:-3].decode()] == torn
    assert list(range(1, story.written + 1)) == story.shipped()
    assert 1 == story.metric("unexpected_tails_total")
    assert story.written == story.tally.counts.total()


def test_emptied_after_it_was_delivered(story: Story, unseen: Unseen) -> None:
    """What is written there then, past its old length, is another content from its first line, and not its end."""
    story.write("app.log", 5)
    write_unterminated(story)
    story.run()
    story.path("app.log").rename(story.path("app.log.1"))
    story.run(20.0)
    with unseen(story):
        story.path("app.log.1").write_bytes(story.lines(40, size=90))
    story.run(20.0)

    assert 0 == story.metric("unexpected_tails_total")
    story.assert_exact()


def test_the_only_line(story: Story, unseen: Unseen) -> None:
    """A file that holds nothing else: it is met when its line has an end, or when it was renamed."""
    write_unterminated(story, "app.log")
    write_unterminated(story, "web.log")
    story.run(20.0)
    assert [] == story.shipped()
    with unseen(story):
        story.append("app.log", b"\n")
        story.path("web.log").rename(story.path("web.log.1"))
    story.run(20.0)
    if story.shipped() != [1, 2]:  # renamed while nobody looked: nothing says that it had another name before
        story.append("web.log.1", b"\n")
        story.run()

    story.assert_exact()


@pytest.mark.parametrize("is_object", [True, False], ids=["an object", "torn"])
def test_read_once(new_story: NewStory, *, is_object: bool) -> None:
    """A run that ends takes it if it is a whole JSON object, and leaves it if it is torn."""
    story = new_story(is_started=False, reads_once=True)
    story.write("app.log", 5)
    story.append("app.log", story.line()[: -1 if is_object else -4])
    story.append("web.log.gz", gzip.compress(story.lines(2)[:-1]))
    story.start()
    story.run_once()

    missing = set() if is_object else {6}
    assert sorted({*range(1, 9)} - missing) == story.shipped()


def test_a_carriage_return_is_no_text(story: Story) -> None:
    """Lines that end with CR LF, the two in different writes."""
    story.append("app.log", story.line()[:-1] + b"\r\n" + story.line()[:-1] + b"\r")
    story.run()
    assert [1] == story.shipped()
    story.append("app.log", b"\n" + story.line()[:-1] + b"\r\n")
    story.run()

    story.assert_exact()


@pytest.mark.parametrize("seconds", [0.3, 8.0], ids=["at once", "after a while"])
def test_the_only_line_deleted(story: Story, seconds: float) -> None:
    """The file has been held open: the line is its first and last one, once nobody has written on for five seconds."""
    story.append("app.log", story.line()[:-1])
    story.run(seconds)
    story.path("app.log").unlink()
    story.run(20.0)

    story.assert_exact()


def test_only_blanks_deleted(story: Story) -> None:
    """No line can be made of them, and nothing is shipped; they are told as lost."""
    story.append("app.log", b"   ")
    story.run(8.0)
    story.path("app.log").unlink()
    story.run(20.0)

    story.assert_exact(lost=3)
