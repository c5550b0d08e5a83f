"""An archive goes away before all of it was read: what was in it is counted, as far as it tells, and said once."""

from __future__ import annotations

import gzip
import logging
import random

import pytest
import zstandard
from harness.story import NewStory, Story
from isal import isal_zlib

LONG = 3000
"""So many lines of 200 bytes are more than what is unfolded to find the first of them."""


def as_members(text: bytes) -> bytes:
    """Two, of which the first is the shorter one."""
    cut = text.index(b"\n", len(text) // 3) + 1
    return gzip.compress(text[:cut], mtime=0) + gzip.compress(text[cut:], mtime=0)


def as_zstd(text: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(text)


def last_number(data: bytes) -> int:
    """What a whole archive would have for its length."""
    return int.from_bytes(data[-4:], "little")


def archive(story: Story, name: str, text: bytes) -> None:
    story.append(name, as_zstd(text) if name.endswith(".zst") else gzip.compress(text, mtime=0))


def start_three_times(story: Story) -> None:
    """What is to be said once is not said again by the next process."""
    for _ in range(3):
        story.start()
        story.run(20.0)
        story.stop()


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]


@pytest.mark.parametrize("name", ["app.log.1.gz", "app.log.1.zst"])
@pytest.mark.parametrize("count", [1, 50, LONG])
@pytest.mark.parametrize("ends", [Story.stop, Story.kill], ids=["stopped", "killed"])
def test_before_anything_was_read(
    new_story: NewStory, caplog: pytest.LogCaptureFixture, name: str, count: int, ends: object
) -> None:
    """The output has no room, no metrics are made of it, and it is deleted under the daemon, which ends then."""
    assert callable(ends)
    story = new_story(metrics=False)
    story.block_output(is_blocked=True)
    text = story.lines(count, size=200)
    archive(story, name, text)
    story.run(20.0)
    story.path(name).unlink()
    ends(story)
    story.block_output(is_blocked=False)
    start_three_times(story)

    assert [] == story.shipped()
    assert len(text) == story.metric("unread_lost_bytes_total", source="app", reason="deleted_while_down")
    assert 1 == len(said(caplog))
    assert f"{name}' was deleted while down before {len(text)} bytes" in said(caplog)[0]


def test_just_after_it_came(story: Story, caplog: pytest.LogCaptureFixture) -> None:
    """The metrics have not read ahead yet, and nobody can say whether more was to come."""
    story.block_output(is_blocked=True)
    text = story.lines(50, size=200)
    archive(story, "app.log.1.gz", text)
    story.run(2.0)
    story.kill()
    story.path("app.log.1.gz").unlink()
    start_three_times(story)

    assert len(text) == story.lost_bytes()
    assert 1 == len(said(caplog))


def test_what_nobody_could_tell_yet_is_said_in_bytes_on_disk(story: Story, caplog: pytest.LogCaptureFixture) -> None:
    """A long one that is gone two seconds after it came: it may not have been whole, so its end says nothing."""
    story.block_output(is_blocked=True)
    archive(story, "app.log.1.gz", story.lines(LONG, size=200))
    size = story.path("app.log.1.gz").stat().st_size
    story.run(2.0)
    story.kill()
    story.path("app.log.1.gz").unlink()
    start_three_times(story)

    assert size == story.lost_bytes()
    assert 1 == len(said(caplog))


def test_of_several_members_the_last_one_tells_its_own_length(new_story: NewStory) -> None:
    """At least so much was lost."""
    story = new_story(metrics=False)
    story.block_output(is_blocked=True)
    text = story.lines(LONG, size=200)
    story.append("app.log.1.gz", as_members(text))
    story.run(20.0)
    story.stop()
    story.path("app.log.1.gz").unlink()
    start_three_times(story)

    assert len(text) / 2 < story.lost_bytes() < len(text)


def test_while_it_was_half_read(new_story: NewStory) -> None:
    """The rest is counted, to the byte."""
    story = new_story(metrics=False)
    text = story.lines(LONG, size=200)
    archive(story, "app.log.1.gz", text)
    story.read_one_batch()
    story.run(20.0)
    story.stop()
    story.path("app.log.1.gz").unlink()
    story.block_output(is_blocked=False)
    start_three_times(story)

    shipped = story.shipped()
    assert list(range(1, len(shipped) + 1)) == shipped
    assert (LONG - len(shipped)) * 200 == story.lost_bytes()


@pytest.mark.parametrize("count", [1, 50])
def test_after_all_of_it_was_read(story: Story, count: int) -> None:
    """Nothing was lost, also where an archive is longer than what is in it."""
    archive(story, "app.log.1.gz", story.lines(count, size=0 if count == 1 else 200))
    story.run(20.0)
    story.stop()
    story.path("app.log.1.gz").unlink()
    start_three_times(story)

    story.start()
    story.assert_exact()


def test_after_it_was_read_to_where_it_breaks_off(new_story: NewStory) -> None:
    """A piece of an archive ends in some number: what could be read of it is all there is."""
    story = new_story(metrics=False)
    story.block_output(is_blocked=True)
    text = b"".join(b'{"n":%d,"pad":"%s"}\n' % (n, random.Random(n).randbytes(900).hex().encode()) for n in range(300))
    data = gzip.compress(text, mtime=0)
    cut = next(at for at in range(200_000, 0, -1) if 2 * len(text) < last_number(data[:at]) < 100 * at)
    piece = data[:cut]
    torn_line = isal_zlib.decompressobj(wbits=31).decompress(piece).rpartition(b"\n")[2]
    story.append("app.log.1.gz", piece)
    story.run(20.0)
    story.block_output(is_blocked=False)
    story.run(20.0)
    story.stop()
    story.path("app.log.1.gz").unlink()
    start_three_times(story)

    assert 100 < len(story.shipped())
    assert len(torn_line) == story.lost_bytes()


def test_the_file_was_seen_before_it_was_compressed(new_story: NewStory) -> None:
    """What the file had is in its archive."""
    story = new_story(metrics=False)
    story.block_output(is_blocked=True)
    story.write("app.log.1", 3, size=200)
    story.run()
    story.stop()
    text = story.path("app.log.1").read_bytes()
    story.path("app.log.1").unlink()
    story.append("app.log.1.gz", as_members(text))
    story.start()
    story.run(2.0)
    story.kill()
    story.path("app.log.1.gz").unlink()
    start_three_times(story)

    assert len(text) == story.lost_bytes()


def test_given_up_while_the_daemon_runs(new_story: NewStory, caplog: pytest.LogCaptureFixture) -> None:
    """Beyond the limit of deleted files the oldest archive goes, with all that was in it."""
    story = new_story(metrics=False, held_deleted_bytes=4096)
    story.block_output(is_blocked=True)
    texts = [story.lines(LONG, size=200) for _ in range(2)]
    for number, text in enumerate(texts):
        archive(story, f"app.log.{number}.gz", text)
        story.run(20.0)
        story.path(f"app.log.{number}.gz").unlink()
        story.run(20.0)

    assert len(texts[0]) + len(texts[1]) == story.metric("unread_lost_bytes_total", source="app", reason="given_up")
    assert 2 == len([text for text in said(caplog) if "given up before" in text])
