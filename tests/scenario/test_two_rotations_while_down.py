"""The daemon is away for a weekend: several rotations, compression and deletion by age happen meanwhile."""

from __future__ import annotations

import pytest
from harness.story import Story

LINES = 30


def rotations_while_down(story: Story, count: int, *, keeps_newest_plain: bool) -> None:
    """Rotates so often; older files are compressed, the newest one perhaps not yet (`delaycompress`)."""
    for rotation in range(count):
        for number in range(rotation, 0, -1):
            for suffix in ("", ".gz"):
                older = story.path(f"app.log.{number}{suffix}")
                if older.exists():
                    older.rename(story.path(f"app.log.{number + 1}{suffix}"))
        story.path("app.log").rename(story.path("app.log.1"))
        newest = 2 if keeps_newest_plain else 1
        if story.path(f"app.log.{newest}").exists():
            story.compress(f"app.log.{newest}")
        story.write("app.log", LINES)


@pytest.mark.parametrize("keeps_newest_plain", [True, False], ids=["delaycompress", "compress"])
@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("ends", [Story.stop, Story.kill], ids=["stopped", "killed"])
def test_rotations_while_down(story: Story, count: int, ends: object, *, keeps_newest_plain: bool) -> None:
    """The file that was read, those that came and went to archives meanwhile, and the present one: each line once."""
    assert callable(ends)
    story.write("app.log", LINES)
    story.run()
    ends(story)
    story.write("app.log", LINES)
    rotations_while_down(story, count, keeps_newest_plain=keeps_newest_plain)
    story.start()
    story.run(20.0)

    story.assert_exact()


def test_rotated_twice_before_it_was_ever_read(story: Story) -> None:
    """At its first start the daemon finds archives, a rotated file and a present one."""
    story.stop()
    story.write("app.log", LINES)
    rotations_while_down(story, 3, keeps_newest_plain=True)
    story.start()
    story.run(20.0)

    story.assert_exact()


def test_what_was_rotated_away_is_said(story: Story) -> None:
    """`rotate 1`: of the file that was half shipped when the daemon ended the rest is gone; its bytes are counted."""
    story.write("app.log", LINES)
    story.run()
    shipped_bytes = story.path("app.log").stat().st_size
    story.block_output(is_blocked=True)
    unread = story.write("app.log", 3)
    story.run()
    lost = story.path("app.log").stat().st_size - shipped_bytes
    story.stop()
    story.path("app.log").rename(story.path("app.log.1"))
    story.write("app.log", LINES)
    story.path("app.log").replace(story.path("app.log.1"))
    story.write("app.log", LINES)
    story.block_output(is_blocked=False)
    story.start()
    story.run()

    assert sorted({*range(1, story.written + 1)} - {*unread}) == story.shipped()
    assert dict.fromkeys(range(1, story.written + 1), 1) == story.counted()
    assert lost == story.lost_bytes()


def test_compressed_and_deleted_by_age(story: Story) -> None:
    """What was read to its end, and deleted then, is no loss."""
    story.write("app.log", LINES)
    story.run()
    story.stop()
    story.path("app.log").rename(story.path("app.log.1"))
    story.compress("app.log.1")
    story.path("app.log.1.gz").unlink()
    story.write("app.log", LINES)
    story.start()
    story.run(20.0)

    story.assert_exact()
