"""Several names on one inode, and copies beside a file: each line once."""

from __future__ import annotations

import os

from harness.story import Story, Unseen


def test_two_names(story: Story, unseen: Unseen) -> None:
    """One file, read once; either name may go."""
    story.write("app.log", 5)
    os.link(story.path("app.log"), story.path("app-2024-01-15.log"))
    story.run()
    with unseen(story):
        story.write("app.log", 2)
        story.path("app.log").unlink()
    story.run()
    with unseen(story):
        story.write("app-2024-01-15.log", 2)
    story.run()

    story.assert_exact()


def test_rotated_by_a_link(story: Story, unseen: Unseen) -> None:
    """As some rotate: link, unlink, create."""
    story.write("app.log", 5)
    story.run()
    for number in range(1, 4):
        with unseen(story):
            story.write("app.log", 2)
            os.link(story.path("app.log"), story.path(f"app.log.{number}"))
            story.path("app.log").unlink()
            story.write("app.log", 2)
        story.run()

    story.assert_exact()


def test_a_copy_beside_it(story: Story, unseen: Unseen) -> None:
    """`cp app.log app.log.bak`, then the file goes on and the copy does not."""
    story.write("app.log", 20)
    story.run()
    with unseen(story):
        story.write("app.log", 3)
        story.path("app.log.1").write_bytes(story.path("app.log").read_bytes())
        story.write("app.log", 3)
    story.run()
    story.path("app.log").unlink()
    story.run(60.0)

    story.assert_exact()
