"""Files that begin with the same line, or with the same 10 KiB: each line of each is one, whatever else is equal."""

from __future__ import annotations

import gzip
import os
import shutil

import pytest
from harness.story import Story, Unseen

from shipper.followed import Followed
from shipper.kinship import Kinship, kinship_of
from shipper.tail import ByteReader

HEADER = b'{"msg":"log opened","version":"1.2.3"}\n'


def assert_each_line_once(story: Story) -> None:
    """The ledger of the lines with a number; those of the header are one document by definition."""
    everything = range(1, story.written + 1)
    assert list(everything) == story.shipped()
    assert dict.fromkeys(everything, 1) == story.counted()
    assert 0 == story.lost_bytes()


@pytest.mark.parametrize("header_lines", [1, 3, 300], ids=["a line", "three", "12 KiB"])
def test_two_files_beside_each_other(story: Story, unseen: Unseen, header_lines: int) -> None:
    """They grow in turns, and while down."""
    for name in ("app-1.log", "app-2.log"):
        story.append(name, HEADER * header_lines)
        story.write(name, 5)
    story.run()
    with unseen(story):
        story.write("app-1.log", 3)
        story.write("app-2.log", 4)
    story.run()

    assert_each_line_once(story)


@pytest.mark.parametrize("header_lines", [1, 300], ids=["a line", "12 KiB"])
def test_only_the_header_at_first(story: Story, unseen: Unseen, header_lines: int) -> None:
    """As long as nothing else is there, the second file is a copy of the first; then both go their ways."""
    for name in ("app-1.log", "app-2.log"):
        story.append(name, HEADER * header_lines)
    story.run()
    with unseen(story):
        story.write("app-2.log", 3)
    story.run()
    story.write("app-1.log", 3)
    story.run()

    assert_each_line_once(story)


@pytest.mark.parametrize("header_lines", [1, 30, 300], ids=["a line", "1 KiB", "12 KiB"])
def test_after_a_rotation(story: Story, unseen: Unseen, header_lines: int) -> None:
    """Each new file begins with the same header; the rotated ones keep theirs."""
    story.append("app.log", HEADER * header_lines)
    story.write("app.log", 5)
    story.run()
    for number in range(1, 4):
        with unseen(story):
            story.write("app.log", 2)
            story.path("app.log").rename(story.path(f"app-{number}.log"))
            story.append("app.log", HEADER * header_lines)
            story.write("app.log", 2)
        story.run()

    assert_each_line_once(story)


def test_after_truncation(story: Story, unseen: Unseen) -> None:
    """The header is written again, and more than there was before."""
    story.append("app.log", HEADER)
    story.write("app.log", 5)
    story.run()
    with unseen(story):
        story.path("app.log").write_bytes(HEADER + story.lines(30))
    story.run()

    assert_each_line_once(story)


def test_in_other_stems(story: Story) -> None:
    """Equal texts in files of other stems are other documents: every line is one."""
    for name in ("app.log", "web.log"):
        story.append(name, HEADER * 3)
    story.run()

    assert 6 == len(story.receiver.documents())
    assert {str(HEADER.strip()): 6} == dict(story.tally.counts)


@pytest.mark.parametrize("size", [0, 400], ids=["short", "long"])
def test_many_files_under_one_header_are_not_compared_one_by_one(
    story: Story, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """What comes behind the header tells them apart; else a thousand of them would keep everything waiting."""
    compared = []

    def comparing(followed: Followed, reader: ByteReader, size: int) -> Kinship:
        compared.append(followed)
        return kinship_of(followed, reader, size)

    monkeypatch.setattr("shipper.relation.kinship_of", comparing)
    for number in range(40):
        story.append(f"app.log.{number}", HEADER + story.lines(1 + bool(size), size=size))
    story.run()
    assert not compared
    for number in range(50, 90):
        story.append(f"app.log.{number}", HEADER)
    story.run(3.0)
    assert len(compared) <= 2 * 40, "one that has the header alone is equal to any; one look says so"
    story.path("app.log.40").write_bytes(story.path("app.log.7").read_bytes())
    story.run()
    assert compared, "a copy is told by a look"

    assert_each_line_once(story)


@pytest.mark.parametrize("size", [400, 3000])
@pytest.mark.parametrize("lines", [1, 2, 5, 30])
def test_lines_that_end_alike(story: Story, unseen: Unseen, lines: int, size: int) -> None:
    """Under one header, of equal lengths, and different in their first bytes alone: as a time before a stack trace."""
    for name in ("app-1.log", "app-2.log"):
        story.append(name, HEADER + story.lines(lines, size=size))
    story.run()
    with unseen(story):
        story.path("app-1.log").unlink()
        story.append("app-3.log", HEADER + story.lines(lines, size=size))
    story.run()
    story.restart()
    story.append("app-4.log", HEADER + story.lines(lines, size=size))
    story.run()

    assert_each_line_once(story)


@pytest.mark.parametrize("is_emptied", [False, True], ids=["copied", "copied and emptied"])
def test_emptied_unnoticed_while_its_second_line_was_unfinished(story: Story, *, is_emptied: bool) -> None:
    """A copy is told by how the file begins now, and not by how it began when it was met."""
    story.write_anew_unseen("app.log", header=HEADER)
    shutil.copyfile(story.path("app.log"), story.path("app.log.1"))
    story.run(10.0)
    if is_emptied:
        os.truncate(story.path("app.log"), 0)
        story.run(10.0)

    everything = range(1, story.written + 1)
    assert list(everything) == story.shipped()
    assert dict.fromkeys(everything, 1) == story.counted()


@pytest.mark.parametrize("kept", [2, 4])
def test_cut_while_another_was_delivered(story: Story, kept: int) -> None:
    """A ledger has no more in common of both than the header: what is left of the one is not there yet."""
    story.append("app.log", HEADER)
    story.run()
    story.write("app.log", 5, size=400)
    story.run()
    story.path("app.log").rename(story.path("app.log.1"))
    story.append("app.log", HEADER)
    story.run()
    story.block_output(is_blocked=True)
    new = story.write("app.log", 8, size=60)
    story.run(5.0)
    os.truncate(story.path("app.log"), len(HEADER) + kept * 60)
    story.run(5.0)
    story.block_output(is_blocked=False)
    story.run(20.0)
    story.restart()
    story.run(20.0)

    assert [*range(1, 6), *new[:kept]] == story.shipped()


@pytest.mark.parametrize("is_compressed", [False, True], ids=["plain", "compressed"])
@pytest.mark.parametrize("is_kept", [False, True], ids=["gone", "beside it"])
def test_one_is_put_where_another_had_only_its_header(story: Story, *, is_kept: bool, is_compressed: bool) -> None:
    """While down, as by a backup that is brought back and gets the inode: it is what it holds, not what lay there."""
    story.append("app.log.1", HEADER)
    story.write("app.log.1", 5, size=300)
    story.append("app.log", HEADER)
    story.run()
    story.stop()
    data = story.path("app.log.1").read_bytes()
    with story.path("app.log").open("r+b") as file:
        file.truncate()
        file.write(gzip.compress(data) if is_compressed else data)
    story.path("app.log").rename(story.path("app.log.2.gz" if is_compressed else "app.log.2"))
    if not is_kept:
        story.path("app.log.1").unlink()
    story.start()
    story.run()

    assert_each_line_once(story)
