"""Full and read-only disks under the real daemon: in each of its places, while it works, and when it starts.

What cannot be written waits, is said once, and goes on by itself; nothing is lost, doubled or counted twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from command import run_to_end
from disks import fill, relieve, set_read_only, small_disk
from harness.sink import Fault, Sink
from lives import Lives

BLOCKED = Fault("items", status=403, type="cluster_block_exception", index="logs-2024.01.16")


@pytest.fixture
def place(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A small file system at the directory that the test names."""
    with small_disk(tmp_path / request.param) as disk:
        yield disk


@pytest.mark.parametrize("place", ["state"], indirect=True)
def test_the_state_directory(tmp_path: Path, place: Path) -> None:
    """Shipping goes on, scrapes see no more than is committed; a kill while it is full takes nothing back."""
    story = Lives(tmp_path)
    story.write()
    with story.start() as running:
        story.wait_for_everything(running)
        fill(place)
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
        relieve(place)
        story.write()
        story.wait_for_everything(running)
        assert running.log.count("cannot write") <= 2, running.log  # once a life
        assert running.stop() == 0
    story.assert_clean()


@pytest.mark.parametrize("place", ["out", "state/dead-letter"], indirect=True)
def test_the_output_and_the_dead_letters(tmp_path: Path, place: Path) -> None:
    """The metrics go on, the cursor waits; after a kill on the full disk too."""
    story = Lives(tmp_path)
    story.write()
    with story.start() as running:
        story.wait_for_everything(running)
        fill(place)
        for _ in range(20):
            story.write(100)
        running.wait_for(lambda: running.metric("shipper_output_up") == 0, "the output's error")
        running.wait_for(lambda: story.counted(running) == story.written, "all counted")
        assert not story.has_shipped(running)
        running.kill()
    story.rotate()
    with story.start() as running:
        running.wait_for(lambda: running.metric("shipper_output_up") == 0, "the output's error")
        relieve(place)
        story.write()
        story.wait_for_everything(running)
        assert running.stop() == 0
    story.assert_clean()


@pytest.mark.parametrize("place", ["state/spool"], indirect=True)
def test_the_spool(tmp_path: Path, place: Path, sink: Sink) -> None:
    """The documents of a blocked index stay where they are, and arrive when it takes them."""
    story = Lives(tmp_path, sink=sink)
    sink.fault(BLOCKED)
    fill(place)
    story.write(200)
    with story.start() as running:
        running.wait_for(lambda: "the spool takes no more" in running.log, "the error")
        assert running.status()["output"]["spooled"] == 0
        running.kill()
    relieve(place)
    with story.start() as running:
        running.wait_for(lambda: running.status()["output"]["spooled"] == 100, "a spool")
        sink.fault()
        story.wait_for_everything(running)
        assert running.stop() == 0
    story.assert_clean()


@pytest.mark.parametrize("place", ["state/dead-letter"], indirect=True)
def test_a_disk_that_becomes_read_only(tmp_path: Path, place: Path) -> None:
    """As after an error of the disk: it is waited for like a full one."""
    story = Lives(tmp_path)
    story.write()
    with story.start() as running:
        story.wait_for_everything(running)
        set_read_only(place, is_read_only=True)
        story.write()
        running.wait_for(lambda: "Read-only file system" in running.log, "the error")
        running.wait_for(lambda: story.counted(running) == story.written, "all counted")
        set_read_only(place, is_read_only=False)
        story.wait_for_everything(running)
        assert running.stop() == 0
    story.assert_clean()


@pytest.mark.parametrize("place", ["state", "out"], indirect=True)
def test_a_start_on_a_read_only_disk(tmp_path: Path, place: Path) -> None:
    """Exit code 2, with the directory and the reason; afterwards a start as if nothing was."""
    story = Lives(tmp_path)
    story.write()
    set_read_only(place, is_read_only=True)
    refused = run_to_end("run", "-c", story.config, directory=tmp_path)
    set_read_only(place, is_read_only=False)

    assert refused.returncode == 2
    assert str(place) in refused.stderr
    assert "read-only" in refused.stderr.lower()
    assert "Traceback" not in refused.stderr
    story.live_to_the_end()
    story.assert_clean()


@pytest.mark.parametrize("place", ["state", "out"], indirect=True)
def test_a_first_start_on_a_full_disk(tmp_path: Path, place: Path) -> None:
    """Exit code 2 with the reason, so that a supervisor tries again; no half-made file is in the way then."""
    story = Lives(tmp_path)
    story.write()
    fill(place)
    refused = run_to_end("run", "-c", story.config, directory=tmp_path)
    relieve(place)

    assert refused.returncode == 2, refused.stderr
    assert str(place) in refused.stderr
    assert "full" in refused.stderr or "No space left" in refused.stderr
    assert "Traceback" not in refused.stderr
    story.live_to_the_end()
    story.assert_clean()
