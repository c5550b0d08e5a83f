"""Full and read-only disks under the real daemon: in each of its places, while it works, and when it starts.

What cannot be written waits, is said once, and goes on by itself; nothing is lost, doubled or counted twice.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import run_to_end
from disks import BreakingDisk, fill, relieve, set_read_only, small_disk
from harness.sink import Fault, Sink
from lives import Lives

pytestmark = pytest.mark.together
BLOCKED = Fault("items", status=403, type="cluster_block_exception", index="logs-2024.01.16")


@contextlib.contextmanager
def on_small_disk(directory: Path, place: str) -> Iterator[tuple[Lives, Path]]:
    """A story of which one directory is a file system of its own, and that directory."""
    with small_disk(directory / place) as disk:
        yield Lives(directory), disk


@pytest.mark.parametrize("place", ["state"])
def test_the_state_directory(directory: Path, place: str) -> None:
    """Shipping goes on, scrapes see no more than is committed; a kill while it is full takes nothing back."""
    with on_small_disk(directory, place) as (story, disk):
        story.write()
        with story.start() as running:
            story.wait_for_everything(running)
            fill(disk)
            story.write(6000)  # with what the log of the state has room for, it would be committed all the same
            running.wait_for(lambda: "cannot write" in running.log, "the error")
            running.wait_for(lambda: story.has_shipped(running), "all shipped")
            assert story.counted(running) == 10
            assert "disk is full" in running.status()["commit_error"]
            assert running.get("/healthz")[0] == 200
            running.kill()
        story.rotate()
        with story.start(is_ready=False) as running:
            running.wait_for(lambda: "cannot write" in running.log, "the error")
            assert running.get("/readyz")[0] == 503
            relieve(disk)
            story.write()
            story.wait_for_everything(running)
            assert running.log.count("cannot write") <= 2, running.log  # once a life
            assert running.stop() == 0
        story.assert_clean()


@pytest.mark.parametrize("place", ["out", "state/dead-letter"])
def test_the_output_and_the_dead_letters(directory: Path, place: str) -> None:
    """The metrics go on, the cursor waits; after a kill on the full disk too."""
    with on_small_disk(directory, place) as (story, disk):
        story.write()
        with story.start() as running:
            story.wait_for_everything(running)
            fill(disk)
            for _ in range(20):
                story.write(100)
            running.wait_for(lambda: running.metric("shipper_output_up") == 0, "the output's error")
            running.wait_for(lambda: story.counted(running) == story.written, "all counted")
            assert not story.has_shipped(running)
            running.kill()
        story.rotate()
        with story.start() as running:
            running.wait_for(lambda: running.metric("shipper_output_up") == 0, "the output's error")
            relieve(disk)
            story.write()
            story.wait_for_everything(running)
            assert running.stop() == 0
        story.assert_clean()


@pytest.mark.parametrize("place", ["state/spool"])
def test_the_spool(directory: Path, own_sink: Sink, place: str) -> None:
    """The documents of a blocked index stay where they are, and arrive when it takes them."""
    with on_small_disk(directory, place) as (story, disk):
        story.sink = own_sink
        story.configure()
        own_sink.fault(BLOCKED)
        fill(disk)
        story.write(200)
        with story.start() as running:
            running.wait_for(lambda: "the spool takes no more" in running.log, "the error")
            assert running.status()["output"]["spooled"] == 0
            running.kill()
        relieve(disk)
        with story.start() as running:
            running.wait_for(lambda: running.status()["output"]["spooled"] == 100, "a spool")
            own_sink.fault()
            story.wait_for_everything(running)
            assert running.stop() == 0
        story.assert_clean()


@pytest.mark.parametrize("place", ["state/dead-letter"])
def test_a_disk_that_becomes_read_only(directory: Path, place: str) -> None:
    """As after an error of the disk: it is waited for like a full one."""
    with on_small_disk(directory, place) as (story, disk):
        story.write()
        with story.start() as running:
            story.wait_for_everything(running)
            set_read_only(disk, is_read_only=True)
            story.write()
            running.wait_for(lambda: "Read-only file system" in running.log, "the error")
            running.wait_for(lambda: story.counted(running) == story.written, "all counted")
            set_read_only(disk, is_read_only=False)
            story.wait_for_everything(running)
            assert running.stop() == 0
        story.assert_clean()


@pytest.mark.parametrize("place", ["state", "out"])
@pytest.mark.parametrize("ending", ["stop", "kill"])
def test_a_disk_that_breaks(directory: Path, place: str, ending: str) -> None:
    """State or output on a disk that the kernel makes read-only: said, waited for, and exact after it was mended."""
    with BreakingDisk(directory / place) as disk:
        story = Lives(directory)
        story.write()
        with story.start() as running:
            story.wait_for_everything(running)
            disk.fail()
            story.write()
            story.rotate()
            story.write()
            running.wait_for(lambda: running.status()["commit_error"] or running.status()["output"]["error"], "it said")
            running.wait_for(lambda: "nothing is lost" in running.log, "the error in the log")
            if place == "state":
                running.wait_for(lambda: len(story.documents()) == 27, "all shipped")
                assert story.counted(running) == 10  # scrapes see no more than is committed
            else:
                running.wait_for(lambda: story.counted(running) == 30, "all counted")
                assert running.metric("shipper_output_up") == 0
            assert running.get("/healthz")[0] == 200
            assert "Traceback" not in running.log
            if ending == "kill":
                running.kill()
            else:
                assert running.stop() == 0
        disk.mend()
        story.write()
        story.live_to_the_end()
        story.assert_clean()


@pytest.mark.parametrize("place", ["state", "out"])
def test_a_start_on_a_read_only_disk(directory: Path, place: str) -> None:
    """Exit code 2, with the directory and the reason; afterwards a start as if nothing was."""
    with on_small_disk(directory, place) as (story, disk):
        story.write()
        set_read_only(disk, is_read_only=True)
        refused = run_to_end("run", "-c", story.config, directory=directory)
        set_read_only(disk, is_read_only=False)

        assert refused.returncode == 2
        assert str(disk) in refused.stderr
        assert "read-only" in refused.stderr.lower()
        assert "Traceback" not in refused.stderr
        story.live_to_the_end()
        story.assert_clean()


@pytest.mark.parametrize("place", ["state", "out"])
def test_a_first_start_on_a_full_disk(directory: Path, place: str) -> None:
    """Exit code 2 with the reason, so that a supervisor tries again; no half-made file is in the way then."""
    with on_small_disk(directory, place) as (story, disk):
        story.write()
        fill(disk)
        refused = run_to_end("run", "-c", story.config, directory=directory)
        relieve(disk)

        assert refused.returncode == 2, refused.stderr
        assert str(disk) in refused.stderr
        assert "full" in refused.stderr or "No space left" in refused.stderr
        assert "Traceback" not in refused.stderr
        story.live_to_the_end()
        story.assert_clean()


@pytest.mark.parametrize("place", ["state/spool"])
def test_a_start_with_a_spool_that_cannot_be_put_in_order(directory: Path, own_sink: Sink, place: str) -> None:
    """Exit code 2 with the file and the reason, not a stack."""
    with on_small_disk(directory, place) as (story, disk):
        story.sink = own_sink
        story.configure()
        story.write()
        (disk / "00000001-left.tmp").write_text("of a crash")
        set_read_only(disk, is_read_only=True)
        refused = run_to_end("run", "-c", story.config, directory=directory)
        set_read_only(disk, is_read_only=False)

        assert refused.returncode == 2, refused.stderr
        assert (
            f"the spool cannot be used: [Errno 30] Read-only file system: '{disk}/00000001-left.tmp'" in refused.stderr
        )
        assert "Traceback" not in refused.stderr
        story.live_to_the_end()
        story.assert_clean()
