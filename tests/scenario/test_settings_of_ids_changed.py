"""A reload changes what ids are made of: files that are followed keep theirs, whatever becomes of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from harness.story import Story
from harness.world import World


def rename(story: Story) -> None:
    story.path("app.log").rename(story.path("app.log.1"))
    story.write("app.log", 5)


def compress(story: Story) -> None:
    story.compress("app.log")
    story.write("app.log", 5)


def copy_and_truncate(story: Story) -> None:
    story.copy_and_truncate("app.log", "app.log.1")
    story.write("app.log", 5)


def copy_beside_it(story: Story) -> None:
    story.path("app.log.1").write_bytes(story.path("app.log").read_bytes())
    story.write("app.log", 5)


@pytest.mark.parametrize("happens", [rename, compress, copy_and_truncate, copy_beside_it])
@pytest.mark.parametrize("is_read", [True, False], ids=["read", "half read"])
def test_no_line_comes_twice(story: Story, happens: Callable[[Story], None], *, is_read: bool) -> None:
    """With another `identity_scope` (or another redaction of the first line) from the reload on."""
    story.write("app.log", 20, size=100)
    story.run(5.0)
    story.scope = "another"
    story.reload()
    story.run(3.0)
    story.block_output(is_blocked=not is_read)
    story.write("app.log", 5)
    story.run(3.0)
    happens(story)
    story.run(20.0)
    story.block_output(is_blocked=False)
    story.run(60.0)

    World.assert_exact(story)
