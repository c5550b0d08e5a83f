"""Winston's names: the newer file of a day gets the number, each day has its own, and an archive replaces the file.

(The real Winston writes in tests/e2e/test_winston_to_elasticsearch.py.)
"""

from __future__ import annotations

import gzip
import itertools

import pytest
from harness.story import NewStory, Story, Unseen

DAY = "combined-2024-01-15.log"


def zip_in_place(story: Story, name: str) -> None:
    """`zippedArchive`: within milliseconds the file is gone and its archive there."""
    text = story.path(name).read_bytes()
    story.path(f"{name}.gz").write_bytes(gzip.compress(text, mtime=0))
    story.path(name).unlink()


@pytest.mark.parametrize("is_zipped", [False, True], ids=["plain", "zipped"])
def test_size_suffixes_and_a_new_day(story: Story, unseen: Unseen, *, is_zipped: bool) -> None:
    """`…-15.log`, `…-15.log.1`, `…-15.log.2`, then the next day: the newest one is written each time."""
    names = [DAY, f"{DAY}.1", f"{DAY}.2", "combined-2024-01-16.log"]
    story.write(DAY, 5)
    story.run()
    with unseen(story):
        for older, newer in itertools.pairwise(names):
            story.write(older, 20)
            if is_zipped:
                zip_in_place(story, older)
            story.write(newer, 1)
    story.run(20.0)

    story.assert_exact()


def test_errors_repeat_combined(new_story: NewStory) -> None:
    """`errors-*` repeats lines of `combined-*`: each is a document once and counted once."""
    story = new_story(paths=["*.log*"])
    for _ in range(5):
        line = story.line()
        story.append("combined-2024-01-15.log", line)
        story.append("errors-2024-01-15.log", line)
    story.run()

    assert ["combined-2024-01-15.log"] == story.names()
    story.assert_exact()


def test_a_size_suffix_whose_first_line_is_equal(story: Story, unseen: Unseen) -> None:
    """Both begin with the same words; the bytes behind tell them apart."""
    for name in (DAY, f"{DAY}.1"):
        story.append(name, b'{"msg":"log opened"}\n')
    story.write(DAY, 10)
    story.run()
    with unseen(story):
        story.write(DAY, 3)
        story.write(f"{DAY}.1", 3)
    story.run()

    assert list(range(1, story.written + 1)) == story.shipped()
    assert 0 == story.lost_bytes()
    assert {1} == {count for number, count in story.counted().items() if number}
