"""A writer makes room in its file first and fills it then: a mapped file, or one that was allocated. Lines come where
NULs were, and the size says nothing.
"""

from __future__ import annotations

import os

import pytest
from harness.story import Story, Unseen

from shipper.status import lag_bytes

ROOM = 1 << 20


class Mapped:
    """A file that is written as a mapping is: in the room that was made, whose time changes."""

    def __init__(self, story: Story, *, is_sparse: bool = True) -> None:
        self._story = story
        self._path = story.path("app.log")
        self._is_sparse = is_sparse
        self.end = 0
        self._path.touch()
        self.make_room()

    def make_room(self) -> None:
        size = self._path.stat().st_size
        if self._is_sparse:
            os.truncate(self._path, size + ROOM)
        else:
            self._story.append("app.log", bytes(ROOM))

    def put(self, data: bytes) -> None:
        with self._path.open("r+b") as file:
            file.seek(self.end)
            file.write(data)
        self.end += len(data)

    def write(self, count: int) -> None:
        self.put(b"".join(self._story.line(size=90) for _ in range(count)))

    def cut(self) -> None:
        """What the writer does in the end: only the text stays."""
        os.truncate(self._path, self.end)


@pytest.mark.parametrize("is_sparse", [True, False], ids=["a hole", "allocated"])
def test_lines_come_where_nuls_were(story: Story, *, is_sparse: bool) -> None:
    """Each is read when it is there, in pieces too, and the next room follows without a gap."""
    file = Mapped(story, is_sparse=is_sparse)
    for count in (5, 1, 300, 1):
        file.write(count)
        story.run(3.0)
        assert len(story.shipped()) == story.written
    line = story.line(size=90)
    file.put(line[:20])
    story.run(3.0)
    file.put(line[20:])
    story.run(3.0)
    assert len(story.shipped()) == story.written
    assert lag_bytes(story.pipeline.roster.all(), "shipped") == 0
    file.make_room()
    file.write(ROOM // 90 + 5)
    story.run(6.0)
    assert len(story.shipped()) == story.written
    file.cut()
    story.run(3.0)
    story.append("app.log", story.line())
    story.run(3.0)

    story.assert_exact()


def test_the_room_that_is_left_is_given_back(story: Story, unseen: Unseen) -> None:
    """NULs that go are no bytes that were lost; what was written just before is."""
    file = Mapped(story)
    file.write(20)
    story.run(3.0)
    with unseen(story):
        file.write(3)
        file.cut()
    story.run(3.0)

    story.assert_exact()


def test_it_is_deleted_with_room_in_it(story: Story, unseen: Unseen) -> None:
    """The same where all of it goes."""
    file = Mapped(story)
    file.write(20)
    story.run(3.0)
    with unseen(story):
        story.path("app.log").unlink()
    story.run(60.0)

    assert len(story.shipped()) == 20
    assert story.lost_bytes() == 0


def test_it_is_renamed_with_room_in_it(story: Story, unseen: Unseen) -> None:
    """What is in it is all that it is: NULs behind the last line are no line."""
    file = Mapped(story)
    file.write(20)
    story.run(3.0)
    with unseen(story):
        file.write(3)
        story.path("app.log").rename(story.path("app.log.1"))
        Mapped(story).write(4)
    story.run(20.0)

    story.assert_exact()
