"""A file of five gigabytes: offsets beyond 32 bits, through restart, rotation, archive and truncation.

Nothing of that size is written: the file is a hole with lines at both ends, and the source has `start: end`, so that
what lay there at the very first start is neither read nor shipped.
"""

from __future__ import annotations

import os

import pytest
from harness.story import NewStory, Story, Unseen

from shipper.settings import MetricsStart, Start

SIZE = 5 << 30


@pytest.fixture
def story(new_story: NewStory) -> Story:
    """Follows such a file from its present end on."""
    story = new_story(is_started=False, start=Start.END, metrics_start=MetricsStart.NOW)
    with story.path("app.log").open("wb") as file:
        file.write(b'{"n":0}\n')
        file.truncate(SIZE - 9)
        file.seek(0, os.SEEK_END)
        file.write(b'\n{"n":0}\n')
    story.start()
    story.run(3.0)
    assert SIZE == story.path("app.log").stat().st_size
    assert story.path("app.log").stat().st_blocks < 1000
    return story


def offsets(story: Story) -> list[int]:
    return sorted(document["log"]["offset"] for document in story.receiver.documents().values())


def assert_once(story: Story) -> None:
    everything = range(1, story.written + 1)
    assert list(everything) == story.shipped()
    assert dict.fromkeys(everything, 1) == story.counted()


def test_grows_is_restarted_and_rotated(story: Story, unseen: Unseen) -> None:
    """What comes stands behind 5 GiB, in ids and documents as well."""
    story.write("app.log", 5)
    story.run()
    with unseen(story):
        story.write("app.log", 5)
        story.path("app.log").rename(story.path("app.log.1"))
        story.write("app.log", 5)
    story.run(20.0)

    assert_once(story)
    assert 10 == sum(offset >= SIZE for offset in offsets(story))
    assert offsets(story) == sorted(int(line_id.split("-")[1]) for line_id in story.receiver.documents())
    assert 0 == story.lost_bytes()


def test_is_truncated(story: Story, unseen: Unseen) -> None:
    """To nothing: it begins anew at 0."""
    story.write("app.log", 5)
    story.run()
    with unseen(story):
        os.truncate(story.path("app.log"), 0)
        story.write("app.log", 5)
    story.run()

    assert_once(story)
    assert 5 == sum(offset < 1000 for offset in offsets(story))
    assert 0 == story.lost_bytes()


def test_goes_before_it_was_shipped(story: Story) -> None:
    """Only what came since is lost: the rest had never been asked for."""
    story.block_output(is_blocked=True)
    story.write("app.log", 5)
    story.run()
    lost = story.path("app.log").stat().st_size - SIZE
    os.truncate(story.path("app.log"), 0)
    story.run()

    assert lost == story.lost_bytes()
