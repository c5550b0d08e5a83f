"""Cut in place, to a part of what was read, and written to before anyone looks, or not: as after a power cut."""

from __future__ import annotations

import logging
import os
import shutil

import pytest
from harness.receiver import LocalReceiver, MemoryReceiver
from harness.story import Story, Unseen

SIZE = 100
HEADER = b'{"msg":"log opened","version":"1.2.3"}\n'
LINES = 40


def fill(story: Story, count: int) -> None:
    """Lines of equal length, so that each begins at a multiple of it."""
    story.append("app.log", b"".join(story.line(size=SIZE) for _ in range(count)))


@pytest.fixture(autouse=True)
def _read(story: Story) -> None:
    """All of it is read when it is cut."""
    fill(story, LINES)
    story.run()


@pytest.mark.parametrize("kept", [11, 22, 39])
def test_looked_at_before_more_comes(story: Story, unseen: Unseen, kept: int) -> None:
    """What is left is known; what comes is new."""
    with unseen(story):
        os.truncate(story.path("app.log"), kept * SIZE)
    story.run()
    fill(story, 5)
    story.run()

    story.assert_exact()


@pytest.mark.parametrize(("kept", "more"), [(11, 5), (22, 5), (22, 17), (30, 4)])
def test_written_to_before_anyone_looks(story: Story, unseen: Unseen, kept: int, more: int) -> None:
    """It is shorter than it was all the same: every line is a document once.

    (Metrics take it for a file that was only cut: how much of it is new is not to be seen.)
    """
    with unseen(story):
        os.truncate(story.path("app.log"), kept * SIZE)
        fill(story, more)
    story.run()
    story.restart()
    fill(story, 3)
    story.run()

    assert list(range(1, story.written + 1)) == story.shipped()
    assert {1} == set(story.counted().values())
    assert story.written - more <= len(story.counted())


@pytest.mark.parametrize(("kept", "more"), [(30, 30), (22, 18), (39, 2)])
def test_grown_past_its_old_length_before_anyone_looks(story: Story, unseen: Unseen, kept: int, more: int) -> None:
    """Other bytes stand before the place that was read to: what surely is left is known, the rest is read again.

    (Metrics count again what was left behind the last mark that agrees.)
    """
    with unseen(story):
        os.truncate(story.path("app.log"), kept * SIZE)
        fill(story, more)
    story.run()
    story.restart()
    fill(story, 3)
    story.run()

    assert list(range(1, story.written + 1)) == story.shipped()
    counted = story.counted()
    assert [*range(1, story.written + 1)] == sorted(counted)
    assert [] == [number for number, count in counted.items() if count > 1 and not 20 < number <= kept]


def test_within_a_line(story: Story, unseen: Unseen) -> None:
    """The rest of the cut line is no line until something ends it; then it is what now stands there."""
    with unseen(story):
        os.truncate(story.path("app.log"), 25 * SIZE + 30)
    story.run()
    story.append("app.log", b"\n")
    fill(story, 2)
    story.run()

    torn = [text["message"] for text in story.receiver.documents().values() if "message" in text]
    assert 1 == len(torn)
    assert list(range(1, story.written + 1)) == story.shipped()
    assert {1} == set(story.counted().values())


def test_again_and_again(story: Story, unseen: Unseen) -> None:
    """Each time to less, and grown again."""
    for kept in (35, 30, 25):
        with unseen(story):
            os.truncate(story.path("app.log"), kept * SIZE)
        story.run()
        fill(story, 8)
        story.run()

    story.assert_exact()


@pytest.mark.parametrize(("kept", "more"), [(2, 0), (5, 0), (5, 3), (9, 0), (9, 4), (5, 34), (5, 35), (5, 60)])
def test_to_its_first_lines(story: Story, unseen: Unseen, kept: int, more: int) -> None:
    """The first kilobyte is known line by line: what was written before anyone looked is new, and no more."""
    with unseen(story):
        os.truncate(story.path("app.log"), kept * SIZE)
        if more:
            fill(story, more)
    story.run()
    story.restart()
    fill(story, 3)
    story.run()

    story.assert_exact()


def test_within_its_first_lines(story: Story, unseen: Unseen) -> None:
    """The piece of a line that is left is another line, once something ends it."""
    with unseen(story):
        os.truncate(story.path("app.log"), 5 * SIZE + 30)
        story.append("app.log", b"\n")
        fill(story, 2)
    story.run()

    [torn] = [text["message"] for text in story.receiver.documents().values() if "message" in text]
    assert 30 == len(torn)
    assert list(range(1, story.written + 1)) == story.shipped()
    assert {1} == set(story.counted().values())


@pytest.mark.parametrize("ends", ["answered", "stopped", "killed"])
def test_while_a_server_did_not_answer(story: Story, ends: str) -> None:
    """What was sent of it and is there no more arrives, or is said to be lost when the process ends before."""
    assert isinstance(story.receiver, MemoryReceiver | LocalReceiver)
    story.receiver.is_answering = False
    fill(story, 10)
    story.run()
    kept = LINES + 5
    os.truncate(story.path("app.log"), kept * SIZE)
    story.run()
    assert 0 == story.lost_bytes()
    if ends == "stopped":
        story.stop()
    elif ends == "killed":
        story.kill(keeps_submitted=False)
    story.receiver.is_answering = True
    if ends != "answered":
        story.start()
    story.run()

    are_there = LINES + 10 if ends == "answered" else kept
    assert list(range(1, are_there + 1)) == story.shipped()
    assert (LINES + 10 - are_there) * SIZE == story.lost_bytes()
    assert dict.fromkeys(range(1, LINES + 11), 1) == story.counted()


def _unanswered_and_cut(story: Story, name: str, *, lines: int, kept_bytes: int) -> None:
    assert isinstance(story.receiver, MemoryReceiver | LocalReceiver)
    story.receiver.is_answering = False
    story.append(name, story.lines(lines, size=SIZE))
    story.run()
    os.truncate(story.path(name), kept_bytes)
    story.run()
    story.kill(keeps_submitted=False)
    story.receiver.is_answering = True


def test_another_file_begins_with_the_same_header_while_down(story: Story) -> None:
    """It does not go on where the file was cut of which something was under way."""
    story.append("web.log", HEADER + story.lines(2, size=SIZE))
    story.run()
    _unanswered_and_cut(story, "web.log", lines=8, kept_bytes=len(HEADER) + 3 * SIZE)
    story.path("web.log").rename(story.path("web.log.1"))
    story.append("web.log", HEADER)
    new = story.write("web.log", 10, size=SIZE)
    story.start()
    story.run()

    first = [*range(1, LINES + 4), *new]
    assert first == story.shipped()
    assert {1} == {story.counted()[number] for number in first}
    assert 7 * SIZE == story.lost_bytes()


@pytest.mark.parametrize("torn_bytes", [0, 30])
def test_and_copied_and_emptied_while_down(story: Story, torn_bytes: int) -> None:
    """What is left stands in the copy alone, and was never delivered."""
    _unanswered_and_cut(story, "web.log", lines=40, kept_bytes=22 * SIZE + torn_bytes)
    shutil.copyfile(story.path("web.log"), story.path("web.log.1"))
    os.truncate(story.path("web.log"), 0)
    new = story.write("web.log", 3, size=SIZE)
    story.start()
    story.run()
    story.restart()
    story.run()

    assert [*range(1, LINES + 23), *new] == story.shipped()


@pytest.mark.parametrize("kept", [5, 22])
def test_killed_before_anything_more_was_written(story: Story, kept: int) -> None:
    """Between the look that found it cut and the commit: the next process finds the same."""
    story.commit_seconds = 1e9
    os.truncate(story.path("app.log"), kept * SIZE)
    story.pipeline.take_pending = lambda: None  # type: ignore[method-assign]  # no commit comes about
    story.run(3.0)
    story.kill()
    story.commit_seconds = 1.0
    story.start()
    story.run()
    fill(story, 3)
    story.run()

    story.assert_exact()


@pytest.mark.parametrize("more", [5, 30])
def test_killed_as_soon_as_it_was_noticed(story: Story, more: int) -> None:
    """It is committed at once, however long ago the last commit was: what is written then is known to be new."""
    story.commit_seconds = 1e9
    os.truncate(story.path("app.log"), 22 * SIZE)
    story.run(3.0)
    fill(story, more)
    story.run(3.0)
    story.kill()
    story.commit_seconds = 1.0
    story.start()
    story.run()

    story.assert_exact()


@pytest.mark.parametrize("more", [0, 1, 9])
@pytest.mark.parametrize("is_cut_late", [False, True])
def test_after_it_came_back_from_a_backup_while_lines_waited(story: Story, more: int, *, is_cut_late: bool) -> None:
    """It is a copy of the deleted file that is held open still; what is left in it of that one is known."""
    story.block_output(is_blocked=True)
    new = story.write("other.log", 4, size=300)
    story.run(20.0)
    backup = story.elsewhere / "other.log"
    backup.write_bytes(story.path("other.log").read_bytes())
    story.path("other.log").unlink()
    backup.rename(story.path("other.log"))
    story.run(3.0)
    cut_at = story.offset_of("other.log", new[2])
    if is_cut_late:
        story.block_output(is_blocked=False)
        story.run(0.2)
    os.truncate(story.path("other.log"), cut_at)
    story.run(3.0)
    story.block_output(is_blocked=False)
    story.write("other.log", more, size=300)
    story.run(60.0)

    story.assert_exact()


def test_of_a_file_that_was_emptied_unnoticed_while_it_had_but_a_header(
    story: Story, caplog: pytest.LogCaptureFixture
) -> None:
    """What it began with at first, behind the header, is not what it begins with now: it is cut once, not for ever."""
    story.write_anew_unseen("another.log", header=HEADER)
    os.truncate(story.path("another.log"), story.path("another.log").stat().st_size - 10 * 300)
    caplog.set_level(logging.INFO, logger="shipper.roster")
    story.run()
    story.write("another.log", 3)
    story.run()

    assert 1 == caplog.text.count("was truncated")
    story.assert_exact()
