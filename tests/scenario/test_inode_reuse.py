"""A new file gets the inode of one that was read: it is another file, read from its beginning."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from harness.missing import MissingError
from harness.story import NewStory, Story, Unseen

from shipper.followed import Followed
from shipper.identity import identity_of

HEADER = b'{"msg":"log opened","version":"1.2.3"}\n'


def put_on_the_inode(story: Story, old: str, new: str, text: bytes) -> None:
    """Another content under another name on the same inode: what a file system does that gives a freed inode again."""
    inode = story.path(old).stat().st_ino
    with story.path(old).open("r+b") as file:
        file.truncate(0)
        file.write(text)
    if new != old:
        story.path(old).rename(story.path(new))
    assert inode == story.path(new).stat().st_ino


@pytest.mark.parametrize("count", [1, 20, 60], ids=["shorter", "equal", "longer"])
@pytest.mark.parametrize("new", ["app.log", "other.log"], ids=["same name", "other name"])
def test_by_another_content(story: Story, unseen: Unseen, count: int, new: str) -> None:
    """Whatever its size and name: the bytes before the cursor are not those that were read."""
    story.append("app.log", b"".join(story.line(size=80) for _ in range(20)))
    story.run()
    with unseen(story):
        put_on_the_inode(story, "app.log", new, b"".join(story.line(size=80) for _ in range(count)))
    story.run()

    story.assert_exact()


@pytest.mark.parametrize("is_killed", [False, True])
def test_by_a_file_that_begins_like_a_rotated_one(story: Story, *, is_killed: bool) -> None:
    """It does not take over what is known of that one, of which nothing but the common header was read."""
    story.append("app.log", HEADER + story.line(size=60))
    story.run()
    story.path("app.log").rename(story.path("app.log.1"))
    story.append("app.log", HEADER + story.line(size=60)[:-1])
    story.run()
    story.kill() if is_killed else story.stop()
    inode = story.path("app.log.1").rename(story.logs / ".old")
    story.path("app.log").rename(story.path("app.log.1"))
    inode.write_bytes(HEADER + story.line(size=60)[:-1])
    inode.rename(story.path("app.log"))
    story.start()
    story.run(20.0)

    assert [1, 2] == story.shipped()  # the rotated one will not be continued; the other one may be
    story.append("app.log", b"\n")
    story.run()
    assert [1, 2, 3] == story.shipped()
    assert [1, 1, 1] == [story.counted()[number] for number in (1, 2, 3)]


def test_of_an_unread_file_by_the_archive_of_one_that_begins_alike(story: Story) -> None:
    """Nothing but the common header was known of the unread one, so it says nothing; the archive is a copy."""
    story.append("app.log.1", HEADER + story.lines(3, size=60))
    story.run()
    story.block_output(is_blocked=True)
    unread = HEADER + story.lines(15, size=300)
    story.append("app.log", unread)
    story.run(1.0)
    story.kill()
    put_on_the_inode(story, "app.log", "app.log.3.gz", gzip.compress(story.path("app.log.1").read_bytes(), mtime=0))
    story.block_output(is_blocked=False)
    story.start()
    story.run(20.0)

    assert [1, 2, 3] == story.shipped()
    assert [1, 1, 1] == [story.counted()[number] for number in (1, 2, 3)]
    story.path("app.log.3.gz").unlink()  # as long as it is there, it may be what becomes of the unread one
    story.run(90.0)
    assert len(unread) == story.lost_bytes()


def test_of_a_file_that_is_closed(new_story: NewStory) -> None:
    """With one descriptor for four files each is closed most of the time, so its inode may be anybody's meanwhile."""
    story = new_story(open_limit=1)
    for name in "abcd":
        story.write(f"{name}.log", 5)
    story.run()
    for name in "abcd":
        put_on_the_inode(story, f"{name}.log", f"{name}.log.1", story.lines(8))
    story.run(20.0)

    story.assert_exact()


def test_really(story: Story, unseen: Unseen) -> None:
    """The file system gives the inode of a deleted file to the next one."""
    story.write("app.log", 20)
    story.run(20.0)
    inode = story.path("app.log").stat().st_ino
    with unseen(story):
        if story.is_running:
            story.followed("app.log").close()  # as it is where descriptors are few: an open file keeps its inode
        story.path("app.log").unlink()
        _create_until(story, inode)
        story.append("app.log", story.lines(30))
    story.run()

    story.assert_exact()


def _create_until(story: Story, inode: int) -> None:
    """Creates files until one has the inode, which is app.log then."""
    made = []
    for number in range(2000):
        path = story.logs / f".{number}"
        path.touch()
        made.append(path)
        if path.stat().st_ino == inode:
            made.pop().replace(story.path("app.log"))
            break
    for path in made:
        path.unlink()
    if not story.path("app.log").exists():
        raise MissingError(f"a file system below {story.logs} that gives inodes again", is_excused=True)


def test_of_a_copy_of_what_nothing_was_read_of(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is emptied before its first read, and its copy goes: what gets the copy's inode is no copy of it. (It had
    the ids of the lines that were lost, so that a line of these in another copy was taken for one of its own.)
    """
    adopt = Followed.adopt

    def adopt_emptied(followed: Followed, descriptor: int) -> None:
        if story.written == 20:
            story.copy_and_truncate("app.log", "app.log.1")
        adopt(followed, descriptor)

    def find_replaced(_: Followed, path: str) -> bool:
        if story.written == 20:
            put_on_the_inode(story, Path(path).name, Path(path).name, b"".join(story.line() for _ in range(30)))
        return False

    monkeypatch.setattr(Followed, "adopt", adopt_emptied)
    monkeypatch.setattr(Followed, "move_to", find_replaced)
    story.write("app.log", 20)
    size = story.path("app.log").stat().st_size
    story.run(20.0)

    first_line, _, _ = story.path("app.log.1").read_bytes().partition(b"\n")
    identity = identity_of(scope="", stem_name="app.log", first_line=first_line)
    assert {identity} == {id_.partition("-")[0] for id_ in story.receiver.documents()}
    story.assert_exact_but(range(1, 21), lost=size)
