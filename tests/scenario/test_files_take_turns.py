"""A file with a long backlog keeps no other waiting, and one that never ends stops none."""

from __future__ import annotations

from harness.story import Story


def test_a_backlog_beside_others(story: Story) -> None:
    """Before a half of the large file is read, all small ones are."""
    story.stop()
    large = story.write("large.log", 10_000, size=1000)
    for number in range(20):
        story.write(f"app-{number}-x.log", 2)
    story.start()
    story.step()
    while not all(str(number) in story.tally.counts for number in range(large[-1] + 1, story.written + 1)):
        story.step()
    assert len(story.tally.counts) - 40 < len(large) / 2
    story.run(20.0)

    story.assert_exact()


def test_a_writer_that_is_faster_than_we_are(story: Story) -> None:
    """One file has more at each look; another gets its turn all the same, and in the end nothing is missing."""
    for _ in range(10):
        story.write("fast.log", 200, size=1000)
        (one,) = story.write("app.log", 1)
        while str(one) not in story.tally.counts:
            story.write("fast.log", 70, size=1000)
            story.run(0.1)
    story.run(20.0)

    story.assert_exact()
