"""What a power cut, a bad disk or a careless hand leaves of the files that survive the process, and a start on it.

Documents stay right whatever is damaged: ids and ledger see to that. Counters go on where the state is sound, and begin
again at 0, from the present end of the files, where it had to be set aside.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from command import run_to_end
from harness.sink import Fault, Sink
from lives import Lives

pytestmark = pytest.mark.together
BLOCKED = Fault("items", status=403, type="cluster_block_exception", index="logs-2024.01.16")


def first_life(story: Lives, *, is_killed: bool = False) -> None:
    """Everything is delivered and counted; then it stops, or is killed (the last commits stand in the log then)."""
    story.write(0)
    with story.start() as running:
        for _ in range(5):
            story.write(100)
        story.wait_for_everything(running)
        if is_killed:
            running.kill()
        else:
            assert running.stop() == 0
    story.rotate()
    story.write(50)


# Damage


def execute(*statements: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        connection = sqlite3.connect(path)
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        connection.close()

    return change


def overwrite(start: int, content: bytes) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with path.open("r+b") as file:
            file.seek(start)
            file.write(content)

    return change


def remove(path: Path) -> None:
    path.unlink()


DAMAGES: dict[str, Callable[[Path], None]] = {
    "cut": lambda path: os.truncate(path, path.stat().st_size // 2),
    "emptied": lambda path: os.truncate(path, 0),
    "zeroed": lambda path: overwrite(0, bytes(path.stat().st_size))(path),
    "its header overwritten": overwrite(0, b"\xff" * 100),
    "its middle overwritten": overwrite(4096, b"\xff" * 4096),
}


def expect_restart_at_present_end(story: Lives) -> str:
    """A life that ships what was not shipped, and counts what is written from now on; returns its log."""
    with story.start() as running:
        assert story.counted(running) == 0
        story.write(30)
        running.wait_for(lambda: story.counted(running) == 30, "the new ones counted")
        running.wait_for(lambda: story.has_shipped(running), "all shipped")
        assert story.counted(running) == 30
        assert running.stop() == 0
        return running.log


@pytest.mark.parametrize("damage", [*DAMAGES, "missing", "of a later release", "only its log is there"])
def test_the_state(directory: Path, damage: str) -> None:
    """It is set aside and named; no line comes twice, none is missing, nothing is thrown away."""
    story = Lives(directory, metrics_start="now")
    first_life(story, is_killed=damage == "only its log is there")
    change = {"of a later release": execute("PRAGMA user_version=99")}.get(damage) or DAMAGES.get(damage, remove)
    change(story.state / "state.db")

    log = expect_restart_at_present_end(story)

    aside = list(story.state.glob("state.db.unusable-*"))
    assert log.count("ERROR") == (damage != "missing"), log
    assert all(str(path).removesuffix("-wal").removesuffix("-shm") in log for path in aside)
    assert (damage == "missing") == (not aside)
    story.assert_clean()


def test_the_state_of_an_earlier_release(directory: Path) -> None:
    """It is taken over: shipping and counting go on where they were."""
    story = Lives(directory)
    first_life(story)
    later = ("is_renamed", "line_ends", "unfolded_bytes")
    drops = [f"ALTER TABLE files DROP COLUMN {column}" for column in later]
    execute(*drops, "PRAGMA user_version=1")(story.state / "state.db")
    with story.start() as running:
        story.wait_for_everything(running)
        assert "the state of an earlier release (schema 1) was taken over" in running.log
        assert running.stop() == 0
    assert [] == list(story.state.glob("*unusable*"))
    story.assert_clean()


def test_the_end_of_the_state_s_log(directory: Path) -> None:
    """A commit that a power cut tore is one that was not made: its lines are read and counted again, once."""
    story = Lives(directory)
    first_life(story, is_killed=True)
    log = story.state / "state.db-wal"
    os.truncate(log, log.stat().st_size - 100)
    story.live_to_the_end()
    story.assert_clean()


@pytest.mark.parametrize("damage", [*DAMAGES, "missing"])
def test_the_ledger_of_a_local_output(directory: Path, damage: str) -> None:
    """It is made anew from the ids in the day files; the counters do not notice."""
    story = Lives(directory)
    first_life(story)
    DAMAGES.get(damage, remove)(story.output / ".shipper/ledger.db")
    story.live_to_the_end()
    story.assert_clean()


def test_the_ledger_of_a_later_release(directory: Path) -> None:
    """It is refused: what it knows beyond ours (lines that made no document) would be lost by making it anew."""
    story = Lives(directory)
    first_life(story)
    ledger = story.output / ".shipper/ledger.db"
    execute("PRAGMA user_version=99")(ledger)
    refused = run_to_end("run", "-c", story.config, directory=directory)
    assert refused.returncode == 2
    assert f"{str(ledger)!r} was written by a newer version" in refused.stderr
    execute("PRAGMA user_version=1")(ledger)
    story.live_to_the_end()
    story.assert_clean()


def test_state_and_ledger_at_once(directory: Path) -> None:
    """Of both nothing is left but the day files: still no line comes twice."""
    story = Lives(directory, metrics_start="now")
    first_life(story)
    os.truncate(story.state / "state.db", 5000)
    os.truncate(story.output / ".shipper/ledger.db", 5000)
    expect_restart_at_present_end(story)
    story.assert_clean()


# A container that is started again


def test_a_volume_that_is_kept(directory: Path, own_sink: Sink) -> None:
    """Nothing is sent again that was acknowledged; counters go on."""
    story = Lives(directory, sink=own_sink)
    first_life(story)
    before = own_sink.stats()["duplicates"]
    story.live_to_the_end()
    assert own_sink.stats()["duplicates"] == before
    story.assert_clean()


def test_a_volume_that_is_lost(directory: Path, own_sink: Sink) -> None:
    """All is sent again, and the server has it: said by a counter. Counters begin again at the present end."""
    story = Lives(directory, sink=own_sink, metrics_start="now")
    first_life(story)
    shutil.rmtree(story.state)
    with story.start() as running:
        running.wait_for(lambda: story.has_shipped(running), "all shipped")
        assert story.counted(running) == 0
        assert running.metric("shipper_unexpected_conflicts_total") == 500 - 5
        assert running.stop() == 0
    story.assert_clean()


# Dead letters and spool


def torn(path: Path) -> None:
    """A power cut in the middle of a record that nothing counts on yet."""
    with path.open("ab") as file:
        file.write(path.read_bytes()[:40])


def test_a_dead_letter_torn_at_its_end(directory: Path) -> None:
    """The half record is closed by a newline; `list` says that it is none, `retry` goes past it."""
    story = Lives(directory)
    first_life(story)
    [letters] = (story.state / "dead-letter").glob("*.ndjson")
    torn(letters)
    with story.start() as running:
        story.write()
        story.wait_for_everything(running)
        assert running.stop() == 0
    listed = run_to_end("dead-letter", "list", "-c", story.config, directory=directory)
    assert f"{len(story.of_the_future)} dead letters" in listed.stdout
    assert "of 1 line nothing can be read" in listed.stdout
    retried = run_to_end("dead-letter", "retry", "-c", story.config, "--force", directory=directory)
    assert retried.returncode == 0, retried.stderr
    assert len(story.documents()) == story.written


def test_a_spool_torn_at_its_end(directory: Path, own_sink: Sink) -> None:
    """What is whole in it is delivered; of the half record the line is still in its file."""
    story = Lives(directory, sink=own_sink)
    own_sink.fault(BLOCKED)
    story.write(100)
    with story.start() as running:
        running.wait_for(lambda: story.counted(running) == 100, "all counted")
        assert running.stop() == 0
    [spooled] = (story.state / "spool").glob("*.ndjson")
    torn(spooled)
    own_sink.fault()
    story.live_to_the_end()
    story.assert_clean()
    assert [] == list((story.state / "spool").iterdir())
