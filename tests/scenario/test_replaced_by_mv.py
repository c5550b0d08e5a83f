"""Another file is moved over the followed one: a rewritten copy, a longer one, a shorter one, or something else."""

from __future__ import annotations

from harness.story import Story, Unseen


def replace_with(story: Story, text: bytes) -> None:
    """As editors and rsync do: a new file beside it, moved over it."""
    story.path("app.new.tmp").write_bytes(text)
    story.path("app.new.tmp").replace(story.path("app.log"))


def test_by_the_same_content(story: Story, unseen: Unseen) -> None:
    """rsync of what has not changed: nothing is new."""
    story.write("app.log", 20)
    story.run()
    with unseen(story):
        replace_with(story, story.path("app.log").read_bytes())
    story.run()
    story.write("app.log", 2)
    story.run(60.0)

    story.assert_exact()


def test_by_the_same_content_and_more(story: Story, unseen: Unseen) -> None:
    """rsync of a log that grows elsewhere: only what is behind the cursor is new."""
    story.write("app.log", 20)
    story.run()
    for _ in range(3):
        with unseen(story):
            replace_with(story, story.path("app.log").read_bytes() + story.lines(5))
        story.run(10.0)

    story.assert_exact()


def test_by_another_content(story: Story, unseen: Unseen) -> None:
    """A new file is new from its beginning on, whether it is shorter or longer."""
    story.write("app.log", 20)
    story.run()
    for count in (3, 40, 1):
        with unseen(story):
            replace_with(story, story.lines(count))
        story.run()
    story.run(60.0)

    story.assert_exact()


def test_by_another_content_that_begins_equally(story: Story, unseen: Unseen) -> None:
    """Each has the header that the service writes at its start."""
    header = b'{"msg":"log opened"}\n'
    story.append("app.log", header)
    story.write("app.log", 20)
    story.run()
    with unseen(story):
        replace_with(story, header + story.lines(30))
    story.run(60.0)

    assert list(range(1, story.written + 1)) == story.shipped()
    assert dict.fromkeys(range(1, story.written + 1), 1) == story.counted()
    assert 0 == story.lost_bytes()


def test_before_it_was_read(story: Story) -> None:
    """The replaced file is open: its last lines are read although it has no name any more."""
    story.write("app.log", 20)
    story.run()
    story.write("app.log", 5)
    replace_with(story, story.lines(3))
    story.run(60.0)

    story.assert_exact()


def test_before_it_was_shipped(story: Story) -> None:
    """The output takes nothing: the replaced file is kept open until it does."""
    story.write("app.log", 20)
    story.run()
    story.block_output(is_blocked=True)
    story.write("app.log", 500, size=200)
    story.run(2.0)
    replace_with(story, story.lines(3))
    story.run(300.0)
    story.block_output(is_blocked=False)
    story.run(60.0)

    story.assert_exact()


def test_while_down_before_it_was_shipped(story: Story) -> None:
    """The rest of the replaced file is gone for good: its bytes are counted, once."""
    story.write("app.log", 20)
    story.run()
    shipped_bytes = story.path("app.log").stat().st_size
    story.block_output(is_blocked=True)
    unread = story.write("app.log", 5)
    story.run(2.0)
    lost = story.path("app.log").stat().st_size - shipped_bytes
    story.stop()
    replace_with(story, story.lines(3))
    story.block_output(is_blocked=False)
    story.start()
    story.run(20.0)
    story.restart()
    story.run(20.0)

    story.assert_exact_but(unread, lost=lost)
