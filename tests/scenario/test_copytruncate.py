"""copytruncate: the copy lies beside the file, inside the pattern or outside; the file itself begins anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from harness.story import NewStory, Story, Unseen

from shipper.followed import Followed


def test_with_the_copy_inside_the_pattern(story: Story, unseen: Unseen) -> None:
    """What was not read yet is read in the copy; what was, is not read again there."""
    story.write("app.log", 20)
    story.run()
    with unseen(story):
        story.write("app.log", 7)
        story.copy_and_truncate("app.log", "app.log.1")
        story.write("app.log", 3)
    story.run(20.0)

    story.assert_exact()


def test_again_and_again(story: Story, unseen: Unseen) -> None:
    """Rotated four times so, the copies moving on by one."""
    story.write("app.log", 2)
    story.run()
    for _ in range(4):
        with unseen(story):
            story.write("app.log", 3)
            for number in range(4, 0, -1):
                if story.path(f"app.log.{number}").exists():
                    story.path(f"app.log.{number}").rename(story.path(f"app.log.{number + 1}"))
            story.copy_and_truncate("app.log", "app.log.1")
            story.write("app.log", 2)
        story.run()
    story.run(20.0)

    story.assert_exact()


def test_grown_past_its_old_length_before_anyone_looked(story: Story, unseen: Unseen) -> None:
    """The size alone would say that the file has only grown."""
    story.write("app.log", 20)
    story.run()
    with unseen(story):
        story.write("app.log", 5)
        story.copy_and_truncate("app.log", "app.log.1")
        story.write("app.log", 100)
    story.run(20.0)

    story.assert_exact()


def test_grown_to_exactly_its_old_length(story: Story, unseen: Unseen) -> None:
    """Neither size nor inode say anything; the bytes before the cursor do."""
    story.append("app.log", b"".join(story.line(size=100) for _ in range(10)))
    story.run()
    with unseen(story):
        story.copy_and_truncate("app.log", "app.log.1")
        story.append("app.log", b"".join(story.line(size=100) for _ in range(10)))
    story.run(20.0)

    assert 20 == story.written
    story.assert_exact()


def test_the_copy_is_made_slowly(story: Story) -> None:
    """The daemon looks while the copy grows, and between the end of copying and truncation."""
    story.write("app.log", 2000, size=100)
    story.run()
    story.write("app.log", 10)
    text = story.path("app.log").read_bytes()
    for start in range(0, len(text), 50_000):
        story.append("app.log.1", text[start : start + 50_000])
        story.run(0.5)
    story.path("app.log").write_bytes(b"")
    story.run(1.0)
    story.write("app.log", 3)
    story.run(20.0)

    story.assert_exact()


def test_before_the_first_look(story: Story) -> None:
    """Both are met at once, without a known past."""
    story.stop()
    story.write("app.log", 20)
    story.copy_and_truncate("app.log", "app.log.1")
    story.write("app.log", 3)
    story.start()
    story.run(20.0)

    story.assert_exact()


def test_the_copy_is_compressed_at_once(story: Story, unseen: Unseen) -> None:
    """copytruncate with compress: of the copy only the archive is ever seen."""
    story.write("app.log", 20)
    story.run()
    with unseen(story):
        story.write("app.log", 7)
        story.copy_and_truncate("app.log", "app.log.1")
        story.compress("app.log.1")
        story.write("app.log", 3)
    story.run(20.0)

    story.assert_exact()


def test_with_the_copy_outside_the_pattern(story: Story, unseen: Unseen, tmp_path: Path) -> None:
    """All that was there when it was read is delivered; the copy is not needed."""
    story.write("app.log", 20)
    story.run()
    with unseen(story):
        story.copy_and_truncate("app.log", tmp_path / "elsewhere.copy")
        story.write("app.log", 3)
    story.run(20.0)

    story.assert_exact()


def test_unread_lines_go_where_nobody_looks(story: Story, tmp_path: Path) -> None:
    """The output takes nothing, the daemon has seen the lines, and they go outside the pattern: lost bytes, counted."""
    story.write("app.log", 20)
    story.run()
    story.block_output(is_blocked=True)
    before = story.path("app.log").stat().st_size
    unread = story.write("app.log", 7)
    story.run(2.0)
    lost = story.path("app.log").stat().st_size - before
    story.copy_and_truncate("app.log", tmp_path / "elsewhere.copy")
    story.run(2.0)
    story.block_output(is_blocked=False)
    story.write("app.log", 3)
    story.run(20.0)

    story.assert_exact_but(unread, lost=lost)


def test_unread_lines_that_went_while_down_are_said(story: Story, tmp_path: Path) -> None:
    """Of the last size that the daemon had seen, what was not read is counted as lost, once, over a restart as well."""
    story.write("app.log", 20)
    story.run()
    story.block_output(is_blocked=True)
    before = story.path("app.log").stat().st_size
    unread = story.write("app.log", 7)
    story.run(2.0)
    lost = story.path("app.log").stat().st_size - before
    story.stop()
    story.copy_and_truncate("app.log", tmp_path / "elsewhere.copy")
    story.write("app.log", 3)
    story.block_output(is_blocked=False)
    story.start()
    story.run(20.0)
    assert lost == story.lost_bytes()
    story.restart()
    story.run(20.0)

    story.assert_exact_but(unread, lost=lost)


def test_written_to_both_at_once(story: Story) -> None:
    """The copy gets lines as well, as if somebody appended to a backup: it is a file then, and its lines are lines."""
    story.write("app.log", 5)
    story.run()
    story.copy_and_truncate("app.log", "app.log.1")
    story.write("app.log", 2)
    story.write("app.log.1", 2)
    story.run(20.0)

    story.assert_exact()


def test_a_writer_that_does_not_append(story: Story) -> None:
    """It writes on at its old place: NULs stand before its next line, which is whole and comes once."""
    with story.path("app.log").open("wb", buffering=0) as writer:
        writer.write(story.lines(20))
        story.run()
        story.copy_and_truncate("app.log", "app.log.1")
        writer.write(story.lines(3))
        story.run()
        writer.write(story.lines(2))
        assert b"\0\0\0" == story.path("app.log").read_bytes()[:3]
    story.run(20.0)

    story.assert_exact()


def test_grown_to_its_old_length_where_times_are_coarse(new_story: NewStory) -> None:
    """Neither size nor time of the file says anything, and it was closed; its copy makes it be looked into."""
    story = new_story(open_limit=1)
    story.write("app.log", 20, size=80)
    story.run(3.0)
    story.write("other.log", 5)
    story.run(3.0)
    assert not story.followed("app.log").is_open
    before = story.path("app.log").stat()
    story.copy_and_truncate("app.log", "app.log.1")
    story.write("app.log", 20, size=80)
    os.utime(story.path("app.log"), ns=(before.st_atime_ns, before.st_mtime_ns))
    story.run(20.0)

    story.assert_exact()


def test_between_the_look_at_its_first_line_and_the_first_read(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was empty when its reading began: the copy is it all the same, and nothing is said to be lost."""
    adopt = Followed.adopt

    def adopt_emptied(followed: Followed, descriptor: int) -> None:
        if not story.path("app.log.1").exists():
            story.copy_and_truncate("app.log", "app.log.1")
        adopt(followed, descriptor)

    monkeypatch.setattr(Followed, "adopt", adopt_emptied)
    story.write("app.log", 20)
    story.run(20.0)

    assert story.path("app.log.1").exists()
    story.assert_exact()
