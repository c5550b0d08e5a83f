"""SIGTERM, whatever the daemon is at: it ends in time with code 0, and the next one delivers what was left, once."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from command import Running
from harness.receiver import LocalReceiver
from harness.sink import Fault, Sink
from harness.world import World
from lives import Lives

from shipper.positions import positions_in

pytestmark = pytest.mark.together
DRAIN_SECONDS = 2.0
LATE_SECONDS = 12.0
"""What may come on top, on a machine that has much to do: giving up, the last commit, the end of the interpreter."""


def stopped(running: Running, *, drain_seconds: float = DRAIN_SECONDS) -> None:
    """Sends SIGTERM; it ends with 0, and in time."""
    began = time.monotonic()
    running.signal(signal.SIGTERM)
    assert running.wait(timeout_seconds=drain_seconds + LATE_SECONDS) == 0, running.log
    assert time.monotonic() - began < drain_seconds + LATE_SECONDS


def start(story: Lives, *, is_ready: bool = True) -> Running:
    return story.start("--drain", f"{DRAIN_SECONDS:g}s", is_ready=is_ready)


def finish(story: Lives) -> None:
    """The next life, with a server that is well."""
    if story.sink is not None:
        story.sink.up()
        story.sink.fault()
    story.write()
    story.live_to_the_end()
    story.assert_clean()


# Starting


@pytest.mark.parametrize("where", ["state/lock", "state/state.db-wal", "out/.shipper/ledger.db", "state/control.sock"])
def test_while_it_starts(directory: Path, where: str) -> None:
    """As soon as it has begun with its state, its output, its socket."""
    story = Lives(directory)
    story.write()
    with start(story, is_ready=False) as running:
        running.wait_for((directory / where).exists, where)
        stopped(running)
    finish(story)


def test_in_the_first_scan(directory: Path) -> None:
    """Hundreds of files, of which it has taken up some."""
    story = Lives(directory)
    for _ in range(300):
        story.write(2)
        story.rotate()
    with start(story, is_ready=False) as running:
        running.wait_for((story.state / "control.sock").exists, "the socket")
        stopped(running)
    finish(story)


def test_in_the_first_scan_when_the_output_is_closed_already(directory: Path) -> None:
    """A ledger that is closed says nothing of a file; that is no reason to take what it has for not shipped."""
    receiver = LocalReceiver(directory / "out")
    world = World(directory, receiver=receiver)
    with world:
        world.path("app.log").write_bytes(world.lines(20))
        world.run()
        world.stop()
    with world:
        receiver.close()
        world.pipeline.step()
        world.commit()
        world.kill(keeps_submitted=False)
    (file,) = positions_in(world.state_directory / "state.db")
    assert file.shipped == world.path("app.log").stat().st_size


# Working


def test_in_a_backlog(directory: Path, own_sink: Sink) -> None:
    """Most of it is not read yet, and every request takes a while."""
    story = Lives(directory, sink=own_sink)
    for _ in range(30):
        story.write(1000)
    own_sink.fault(Fault("slow", seconds=0.5))
    with start(story) as running:
        running.wait_for(lambda: len(own_sink.docs()) > 0, "the first documents")
        stopped(running)
    assert len(own_sink.docs()) < story.written - 1000
    finish(story)


BAD_SERVERS: dict[str, Callable[[Sink], None]] = {
    "down": lambda sink: sink.down(),
    "silent": lambda sink: sink.fault(Fault("silent")),
    "not available": lambda sink: sink.fault(Fault("status", status=503)),
    "too busy": lambda sink: sink.fault(Fault("status", status=429)),
    "too busy for each document": lambda sink: sink.fault(Fault("items", status=429)),
    "not allowed": lambda sink: sink.fault(Fault("status", status=401)),
    "blocked": lambda sink: sink.fault(Fault("items", status=403, type="cluster_block_exception")),
}


@pytest.mark.parametrize("what", BAD_SERVERS)
def test_while_it_waits_for_a_server(directory: Path, own_sink: Sink, what: str) -> None:
    """The wait, however long it is by now, ends with the drain; nothing that was counted is counted again."""
    story = Lives(directory, sink=own_sink)
    story.write(50)
    BAD_SERVERS[what](own_sink)
    with start(story) as running:
        running.wait_for(lambda: story.counted(running) == 50, "all counted")
        running.wait_for(lambda: running.status()["output"]["pending"] > 0, "documents under way")
        stopped(running)
    if what in ("down", "not allowed"):
        assert [] == own_sink.docs()
    finish(story)


def test_in_a_reload(directory: Path, own_sink: Sink) -> None:
    """The reload waits for the server; what is left of the drain counts from the signal."""
    story = Lives(directory, sink=own_sink)
    story.write()
    own_sink.fault(Fault("silent"))
    with start(story) as running:
        running.wait_for(lambda: running.status()["output"]["pending"] > 0, "documents under way")
        running.signal(signal.SIGHUP)
        stopped(running)
    finish(story)


def test_twice(directory: Path, own_sink: Sink) -> None:
    """The second signal ends it at once, however long the drain is."""
    story = Lives(directory, sink=own_sink)
    story.write()
    own_sink.fault(Fault("silent"))
    with story.start("--drain", "1h") as running:
        running.wait_for(lambda: running.status()["output"]["pending"] > 0, "documents under way")
        running.signal(signal.SIGTERM)
        running.wait_for(lambda: "stopping" in running.log, "the stop")
        stopped(running, drain_seconds=0)
    finish(story)


def test_stopped_and_continued(directory: Path, own_sink: Sink) -> None:
    """SIGSTOP in the middle of the work, while the log is written and rotated; then it goes on as if nothing was."""
    story = Lives(directory, sink=own_sink)
    story.write(1000)
    with start(story) as running:
        for _ in range(3):
            running.wait_for(lambda: story.counted(running) > 0, "something counted")
            running.signal(signal.SIGSTOP)
            story.write(500)
            story.rotate()
            story.write(500)
            running.signal(signal.SIGCONT)
        story.wait_for_everything(running)
        assert running.get("/healthz")[0] == 200
        stopped(running)
    story.assert_clean()


# A pod that ends: `--drain` near the grace period


def test_what_was_written_just_before_the_end_of_a_pod(directory: Path, own_sink: Sink) -> None:
    """A quiet file gets lines, is rotated and begun again in the moment of the signal: all of it is delivered."""
    story = Lives(directory, sink=own_sink)
    story.write()
    with story.start("--drain", "60s") as running:
        story.wait_for_everything(running)
        time.sleep(2)  # so that looks have become rare
        story.write(2000)
        story.rotate()
        story.write(2000)
        stopped(running, drain_seconds=30)
    story.assert_clean()


def test_a_backlog_at_the_end_of_a_pod(directory: Path, own_sink: Sink) -> None:
    """A slow server and much to read: the drain is long enough, so it reads to the end."""
    story = Lives(directory, sink=own_sink)
    for _ in range(10):
        story.write(2000)
    own_sink.fault(Fault("slow", seconds=0.2))
    with story.start("--drain", "60s", is_ready=False) as running:
        running.wait_for((story.state / "control.sock").exists, "the socket")
        stopped(running, drain_seconds=60)
    story.assert_clean()


def test_a_server_that_is_down_at_the_end_of_a_pod(directory: Path, own_sink: Sink) -> None:
    """It ends when the grace period does, and not before: the server may come back."""
    story = Lives(directory, sink=own_sink)
    story.write()
    own_sink.down()
    with story.start("--drain", "8s") as running:
        began = time.monotonic()
        stopped(running, drain_seconds=8)
        assert time.monotonic() - began > 6
    finish(story)
