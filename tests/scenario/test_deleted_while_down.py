"""Deleted while nobody looked: what had been read is no loss; what had not is counted in bytes, and said once."""

from __future__ import annotations

import pytest
from harness.story import Story


@pytest.mark.parametrize("ends", [Story.stop, Story.kill], ids=["stopped", "killed"])
def test_after_it_was_read(story: Story, ends: object) -> None:
    """Nothing is lost, and a new file of that name is new."""
    assert callable(ends)
    story.write("app.log", 20)
    story.run()
    ends(story)
    story.path("app.log").unlink()
    story.write("app.log", 3)
    story.start()
    story.run()

    story.assert_exact()


@pytest.mark.parametrize("rest", [b"", b"other.log"], ids=["directory empty", "another file there"])
def test_before_it_was_shipped(story: Story, rest: bytes) -> None:
    """What the daemon had seen and not shipped is lost, and said once over several starts."""
    story.write("app.log", 20)
    story.run()
    shipped_bytes = story.path("app.log").stat().st_size
    story.block_output(is_blocked=True)
    unread = story.write("app.log", 5)
    story.run()
    lost = story.path("app.log").stat().st_size - shipped_bytes
    story.stop()
    story.path("app.log").unlink()
    if rest:
        story.write(rest.decode(), 2)
    story.block_output(is_blocked=False)
    for _ in range(3):
        story.start()
        story.run()
        story.stop()

    assert lost == story.lost_bytes()
    assert lost == story.metric("unread_lost_bytes_total", source="app", reason="deleted_while_down")
    assert sorted({*range(1, story.written + 1)} - {*unread}) == story.shipped()
    assert dict.fromkeys(range(1, story.written + 1), 1) == story.counted()


def test_and_moved_where_no_pattern_looks(story: Story) -> None:
    """Unread bytes of a file that lies elsewhere now are said too: nobody will read them there."""
    story.write("app.log", 20)
    story.run()
    shipped_bytes = story.path("app.log").stat().st_size
    story.block_output(is_blocked=True)
    story.write("app.log", 5)
    story.run()
    lost = story.path("app.log").stat().st_size - shipped_bytes
    story.stop()
    story.path("app.log").rename(story.logs.parent / "copy.away")
    story.block_output(is_blocked=False)
    story.start()
    story.run()

    assert lost == story.lost_bytes()


def test_and_given_back(story: Story) -> None:
    """It lies there again after a start without it: reading goes on where it had come to."""
    story.write("app.log", 20)
    story.run()
    story.stop()
    text = story.path("app.log").read_bytes()
    story.path("app.log").unlink()
    story.start()
    story.run(60.0)
    story.stop()
    story.path("app.log").write_bytes(text + story.lines(4))
    story.start()
    story.run()

    story.assert_exact()


def test_and_given_back_shorter(story: Story) -> None:
    """An older backup that is written on looks like a copy in the making until it grows to a mark; then it is read."""
    first = story.write("app.log", 10, size=300)
    backup = story.path("app.log").read_bytes()
    story.write("app.log", 20, size=300)
    story.run()
    story.path("app.log").unlink()
    story.run(60.0)
    story.path("app.log").write_bytes(backup)
    story.run()
    new = story.write("app.log", 2, size=300)
    story.run(20.0)
    assert new[0] not in story.shipped()
    new += story.write("app.log", 3, size=300)
    story.run(20.0)

    assert list(range(1, story.written + 1)) == story.shipped()
    assert {1} == {times for number, times in story.counted().items() if number not in first}
