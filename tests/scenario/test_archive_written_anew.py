"""An archive is written anew in its place, as `gzip -c > same.gz` each day or `rsync --inplace` do: what is in it is
read from its beginning, whether it is open or was closed meanwhile.
"""

from __future__ import annotations

import gzip

import pytest
from harness.story import NewStory, Story, Unseen


def write_anew(story: Story, count: int) -> None:
    """In the same inode."""
    data = gzip.compress(story.lines(count, size=200))
    with story.path("app.log.gz").open("r+b") as file:
        file.write(data)
        file.truncate(len(data))


@pytest.mark.parametrize("is_open", [True, False], ids=["open", "closed"])
@pytest.mark.parametrize("count", [1, 20, 60, 3000], ids=["less", "as much", "more", "much more"])
def test_with_other_lines(new_story: NewStory, unseen: Unseen, count: int, *, is_open: bool) -> None:
    """Less, as many, more and many more than there were before."""
    story = new_story(open_limit=100 if is_open else 1)
    story.path("app.log.gz").write_bytes(gzip.compress(story.lines(20, size=200)))
    story.run(10.0)
    story.write("other.log", 5)
    story.run(5.0)
    assert is_open == story.followed("app.log.gz").is_open
    with unseen(story):
        write_anew(story, count)
    story.run(20.0)

    story.assert_exact()


def test_with_what_was_in_it_and_more(story: Story, unseen: Unseen) -> None:
    """The same lines, packed anew, and others behind them: what was read is not read again."""
    lines = story.lines(20, size=200)
    story.path("app.log.gz").write_bytes(gzip.compress(lines, 1))
    story.run(10.0)
    with unseen(story):
        story.path("app.log.gz").write_bytes(gzip.compress(lines + story.lines(50, size=200), 9))
    story.run(20.0)

    story.assert_exact()
