"""A file is replaced by its archive: live, while down, when it is half read, and while the archive grows."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import pytest
import zstandard
from harness.story import Story, Unseen

from shipper.discover import Listing, scan
from shipper.tail import open_log


def test_of_a_file_that_was_read(story: Story, unseen: Unseen) -> None:
    """The archive holds nothing new."""
    story.write("app.log.1", 50)
    story.run()
    with unseen(story):
        story.compress("app.log.1")
    story.run(20.0)

    story.assert_exact()


def test_of_a_file_that_had_grown(story: Story, unseen: Unseen) -> None:
    """The last lines are read in the archive, or from the file that is open still."""
    story.write("app.log.1", 50)
    story.run()
    with unseen(story):
        story.write("app.log.1", 7)
        story.compress("app.log.1")
    story.run(20.0)

    story.assert_exact()


def test_of_a_file_that_was_never_seen(story: Story, unseen: Unseen) -> None:
    """It came, was rotated and compressed before anyone looked."""
    story.write("other.log", 1)
    story.run()
    with unseen(story):
        story.write("app.log", 50)
        story.path("app.log").rename(story.path("app.log.1"))
        story.compress("app.log.1")
    story.run(20.0)

    story.assert_exact()


@pytest.mark.parametrize("is_stopped", [False, True], ids=["killed", "stopped"])
def test_of_a_file_that_was_half_read(story: Story, *, is_stopped: bool) -> None:
    """The daemon ends within the file; the rest is read in the archive, at its offset of decompressed bytes."""
    story.write("app.log.1", 3000, size=100)
    story.read_one_batch()
    story.stop() if is_stopped else story.kill()
    story.compress("app.log.1")
    story.block_output(is_blocked=False)
    story.start()
    story.run(20.0)

    story.assert_exact()


def test_half_read_while_it_happens(story: Story) -> None:
    """The daemon is within the file when the archive takes its place."""
    story.write("app.log.1", 3000, size=100)
    story.read_one_batch()
    story.compress("app.log.1")
    story.run(1.0)
    story.block_output(is_blocked=False)
    story.run(20.0)

    story.assert_exact()


@pytest.mark.parametrize("pieces", [2, 7])
def test_the_archive_grows_beside_the_file(story: Story, pieces: int) -> None:
    """As gzip writes it: the daemon looks at half an archive, while the file is still there, and after it is gone."""
    story.write("app.log.1", 2000, size=100)
    story.run()
    archive = gzip.compress(story.path("app.log.1").read_bytes(), mtime=0)
    size = len(archive) // pieces + 1
    for start in range(0, len(archive), size):
        story.append("app.log.1.gz", archive[start : start + size])
        story.run(1.0)
    story.run()
    story.path("app.log.1").unlink()
    story.run(60.0)

    story.assert_exact()


def test_the_file_goes_before_its_archive_is_whole(story: Story) -> None:
    """Half the archive is there when the daemon starts, and the file is not."""
    story.write("app.log.1", 2000, size=100)
    story.read_one_batch()
    story.kill()
    story.block_output(is_blocked=False)
    archive = gzip.compress(story.path("app.log.1").read_bytes(), mtime=0)
    story.path("app.log.1").unlink()
    story.append("app.log.1.gz", archive[: len(archive) // 2])
    story.start()
    story.run(20.0)
    story.append("app.log.1.gz", archive[len(archive) // 2 :])
    story.run(20.0)

    story.assert_exact()


def test_while_the_output_takes_nothing(story: Story) -> None:
    """Metrics have counted the file, shipping has it still to come: from the archive."""
    story.write("app.log.1", 5)
    story.run()
    story.block_output(is_blocked=True)
    story.write("app.log.1", 500, size=200)
    story.run(20.0)
    story.compress("app.log.1")
    story.run(120.0)
    story.restart()
    story.block_output(is_blocked=False)
    story.run(20.0)

    story.assert_exact()


def test_zstd(story: Story, unseen: Unseen) -> None:
    """The same with logrotate's `compresscmd zstd`."""
    story.write("app.log.1", 50)
    story.run()
    with unseen(story):
        story.write("app.log.1", 7)
        text = story.path("app.log.1").read_bytes()
        story.path("app.log.1.zst").write_bytes(zstandard.ZstdCompressor().compress(text))
        story.path("app.log.1").unlink()
    story.run(20.0)

    story.assert_exact()


def test_unpacked_again(story: Story, unseen: Unseen) -> None:
    """Somebody runs gunzip to look into it."""
    story.write("app.log.1", 50)
    story.compress("app.log.1")
    story.run()
    with unseen(story):
        story.path("app.log.1").write_bytes(gzip.decompress(story.path("app.log.1.gz").read_bytes()))
        story.path("app.log.1.gz").unlink()
    story.run(20.0)

    story.assert_exact()


def test_a_name_that_lies(story: Story) -> None:
    """Compressed without the suffix, and plain with it: the first bytes say what it is."""
    story.append("app.log.1", gzip.compress(story.lines(5)))
    story.append("other.log.gz", story.lines(5))
    story.run()

    story.assert_exact()


class Cascade:
    """Moves a file on and compresses it between the look that finds it and the attempt to open it."""

    def __init__(self, story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
        self._story = story
        self.has_moved = False
        monkeypatch.setattr("shipper.roster.scan", self._scanning)

    def _scanning(self, *arguments: Any, **others: Any) -> Listing:
        listing = scan(*arguments, **others)
        file, moved = self._story.path("app.log.1"), self._story.path("app.log.2")
        if file.exists() and not self.has_moved:
            self.has_moved = True
            file.rename(moved)
            self._story.compress("app.log.2")
        return listing


def test_of_a_file_that_moved_on_before_it_was_opened(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `delaycompress` does it: the archive has a name that the file was never seen under. Nothing is lost."""
    story.write("other.log", 1)
    story.run()
    cascade = Cascade(story, monkeypatch)
    story.write("app.log.1", 50)
    story.run(20.0)

    assert cascade.has_moved
    story.assert_exact()


def test_of_one_of_two_files_that_went_before_they_were_opened(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive stands for one of them: the other is lost, and that is said."""
    story.write("other.log", 1)
    story.run()
    cascade = Cascade(story, monkeypatch)
    story.write("app.log.1", 50)
    story.write("app.log.3", 2)
    size = story.path("app.log.3").stat().st_size
    gone = story.path("app.log.3")
    monkeypatch.setattr("shipper.attach.open_log", _Deleting(gone))
    story.run(20.0)

    assert cascade.has_moved
    story.assert_exact_but([52, 53], lost=size)


class _Deleting:
    """Deletes a file when it is to be opened."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, path: str) -> int:
        if path == str(self._path):
            self._path.unlink(missing_ok=True)
        return open_log(path)


@pytest.mark.parametrize("is_half_there", [False, True], ids=["between two looks", "half written"])
def test_of_a_copy_while_it_is_looked_for(
    story: Story, monkeypatch: pytest.MonkeyPatch, *, is_half_there: bool
) -> None:
    """`copytruncate` and `compress` of a file that was not read to its end: neither the copy nor its archive can be
    read at the moment in which the file is found empty. Nothing is lost, and nothing is said to be.
    """
    story.write("app.log", 3000, size=100)
    story.read_one_batch()
    story.copy_and_truncate("app.log", "app.log.1")
    copy, archive = story.path("app.log.1"), story.path("app.log.1.gz")
    packed = gzip.compress(copy.read_bytes())

    def scanning(*arguments: Any, **others: Any) -> Listing:
        if is_half_there and not archive.exists():
            archive.write_bytes(packed[:5])
        listing = scan(*arguments, **others)
        if copy.exists():
            archive.write_bytes(b"" if is_half_there else packed)
            copy.unlink()
        elif is_half_there:
            archive.write_bytes(packed)
        return listing

    monkeypatch.setattr("shipper.roster.scan", scanning)
    story.block_output(is_blocked=False)
    story.run(20.0)

    assert not copy.exists()
    story.assert_exact()


def test_an_archive_that_cannot_be_read_holds_nothing_up(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has lain there for long: nobody waits for it to become the copy of a file that is emptied unread."""
    monkeypatch.setattr("shipper.roster.time.sleep", _never_sleep)
    story.append("app.log.9.gz", b"no archive")
    story.run(8.0)
    story.write("app.log", 3000, size=100)
    story.read_one_batch()
    os.truncate(story.path("app.log"), 0)
    story.run(8.0)

    assert story.lost_bytes() > 0


def _never_sleep(_: float) -> None:
    raise AssertionError("the pipeline waits")
