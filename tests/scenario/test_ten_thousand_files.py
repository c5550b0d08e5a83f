"""Ten thousand files in one directory: each is found, followed, counted once and known again."""

from __future__ import annotations

from pathlib import Path

from harness.receiver import LocalReceiver, MemoryReceiver, Receiver
from harness.story import Story

FILES = 10_000


def grown(story: Story) -> None:
    """Some of them get another line."""
    for number in range(0, FILES, 100):
        story.write(f"app-{number}-x.log", 1)


def follow(directory: Path, receiver: Receiver) -> None:
    story = Story(directory, receiver=receiver)
    for number in range(FILES):
        story.write(f"app-{number}-x.log", 1)
    story.start()
    story.run_until(lambda: len(story.tally.counts) == story.written)
    assert FILES == len(story.names())
    grown(story)
    story.run_until(lambda: len(story.tally.counts) == story.written)
    story.stop()
    grown(story)
    story.start()
    story.run_until(lambda: len(story.tally.counts) == story.written)
    story.stop()

    assert list(range(1, story.written + 1)) == story.shipped()
    assert dict.fromkeys(range(1, story.written + 1), 1) == story.counted()
    assert 0 == story.lost_bytes()
    assert 0 == getattr(receiver, "conflicts", 0)


def test_into_a_server(tmp_path: Path) -> None:
    """All of them, grown, and grown again over a restart: nothing is sent a second time."""
    follow(tmp_path, MemoryReceiver())


def test_into_a_directory(tmp_path: Path) -> None:
    """The same with the ledger of a local output."""
    follow(tmp_path, LocalReceiver(tmp_path / "out"))
