"""Deleted under the daemon's eyes: what is open is read to its end, then let go, so that its disk space comes back."""

from __future__ import annotations

from harness.story import Story


def test_read_to_its_end(story: Story) -> None:
    """Lines that came between the last look and the deletion."""
    story.write("app.log", 20)
    story.run()
    story.write("app.log", 5)
    story.path("app.log").unlink()
    story.run(60.0)

    assert [] == story.names()
    story.assert_exact()


def test_a_writer_that_does_not_know(story: Story) -> None:
    """It writes on into the deleted file: its lines are read, as long as they come."""
    with story.path("app.log").open("ab", buffering=0) as writer:
        writer.write(story.lines(5))
        story.run()
        story.path("app.log").unlink()
        for _ in range(10):
            writer.write(story.lines(2))
            story.run(20.0)
    story.run(60.0)

    assert [] == story.names()
    story.assert_exact()


def test_while_the_output_takes_nothing(story: Story) -> None:
    """It is held for shipping, and released when everything of it is acknowledged."""
    story.write("app.log", 20)
    story.run()
    story.block_output(is_blocked=True)
    story.write("app.log", 500, size=200)
    story.run(2.0)
    story.path("app.log").unlink()
    story.run(300.0)
    assert ["app.log"] == story.names()
    story.block_output(is_blocked=False)
    story.run(60.0)

    assert [] == story.names()
    story.assert_exact()


def test_and_created_again_at_once(story: Story) -> None:
    """The next file has the name, perhaps even the inode: both are read."""
    for _ in range(6):
        story.write("app.log", 4)
        story.run(1.5)
        story.write("app.log", 2)
        story.path("app.log").unlink()
    story.write("app.log", 1)
    story.run(60.0)

    story.assert_exact()


def test_last_line_without_its_end(story: Story) -> None:
    """Nobody will finish it: it is a line."""
    story.write("app.log", 5)
    story.append("app.log", story.line()[:-1])
    story.run()
    assert 5 == len(story.shipped())
    story.path("app.log").unlink()
    story.run(60.0)

    story.assert_exact()


def test_restored_from_a_backup(story: Story) -> None:
    """What was delivered before it was deleted is known when it comes back."""
    story.write("app.log", 20)
    story.run()
    text = story.path("app.log").read_bytes()
    story.path("app.log").unlink()
    story.run(60.0)
    story.restart()
    story.path("app.log").write_bytes(text + story.lines(3))
    story.run()

    story.assert_exact()
