"""What the stories of files share: a daemon with each kind of output, and three ways for something to happen unseen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.receiver import LocalReceiver, MemoryReceiver, Receiver
from harness.story import NewStory, Story, Unseen, after_a_kill, between_two_looks, while_stopped


@pytest.fixture(params=["server", "local"])
def receiver(request: pytest.FixtureRequest, tmp_path: Path) -> Receiver:
    """The output: a server that keeps documents by id, or the local output with its ledger."""
    return MemoryReceiver() if request.param == "server" else LocalReceiver(tmp_path / "out")


@pytest.fixture
def new_story(tmp_path: Path, receiver: Receiver) -> Iterator[NewStory]:
    """Makes a story; its daemon ends with the test."""
    stories: list[Story] = []

    def new(*, is_started: bool = True, **given: Any) -> Story:
        story = Story(tmp_path, receiver=receiver, **given)
        stories.append(story)
        if is_started:
            story.start()
            story.run(3.0)
        return story

    yield new
    for story in stories:
        if story.is_running:
            story.kill()


@pytest.fixture
def story(new_story: NewStory) -> Story:
    """A daemon that follows `logs/*.log*`, from its first start with an empty directory on."""
    return new_story()


@pytest.fixture(params=[between_two_looks, while_stopped, after_a_kill], ids=["live", "down", "killed"])
def unseen(request: pytest.FixtureRequest) -> Unseen:
    """Something happens between two looks of a daemon, while it is stopped, or after it was killed."""
    happening: Unseen = request.param
    return happening
