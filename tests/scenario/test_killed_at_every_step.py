"""The real process is killed at every step that it takes; afterwards each line is there once and was counted once.

The steps are the product's own list: a new one without a story fails here.
"""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from command import Running, run_to_end
from harness.sink import Fault, Sink
from lives import Lives

from shipper.failpoints import NAMES

BLOCKED = Fault("items", status=403, type="cluster_block_exception", index="logs-2024.01.16")
STILL_BLOCKED = Fault("items", status=403, type="cluster_block_exception", contains="/api/patients/1")
"""Of those that waited, some go on waiting: what is left of the file is written anew."""


def by_prefix(*prefixes: str) -> list[str]:
    return [name for name in NAMES if name.startswith(prefixes)]


# What has to be done so that a step is taken. The key is the step, or what is before its point.

PREPARED: dict[str, Callable[[Lives], None]] = {
    "state.half_set_aside": lambda story: damage(story.state / "state.db"),
    "state.in_migration": lambda story: to_schema_1(story.state / "state.db"),
    "ledger.half_set_aside": lambda story: damage(story.output / ".shipper/ledger.db"),
    "ledger.set_aside": lambda story: damage(story.output / ".shipper/ledger.db"),
}
"""Done before the life that is killed, after one that was not."""


def damage(path: Path) -> None:
    """Its first page is overwritten."""
    with path.open("r+b") as file:
        file.write(b"not a database at all " * 10)


def to_schema_1(path: Path) -> None:
    connection = sqlite3.connect(path)
    for column in ("unfolded_bytes", "line_ends", "is_renamed"):
        connection.execute(f"ALTER TABLE files DROP COLUMN {column}")
    connection.execute("PRAGMA user_version=1")
    connection.commit()
    connection.close()


def signalled(number: int) -> Callable[[Lives, Running], bool]:
    def act(_: Lives, running: Running) -> bool:
        if running.get("/readyz")[0] != 200:
            return False
        running.signal(number)
        return True

    return act


def ledger_removed(story: Lives, running: Running) -> bool:
    if running.get("/readyz")[0] != 200 or not story.documents():
        return False
    for path in (story.output / ".shipper").glob("ledger.db*"):
        path.unlink()
    return True


ACTS: dict[str, Callable[[Lives, Running], bool]] = {
    "reload": signalled(signal.SIGHUP),
    "stop": signalled(signal.SIGTERM),
    "ledger.put_back": ledger_removed,
}
"""Done in the life that is killed."""

LATER = ("state.before_commit", "state.in_commit", "state.after_commit", "state.published")
"""Steps that are of interest at their first passing (nothing was ever committed) and at a later one."""


def kill_at(story: Lives, failpoint: str) -> None:
    """A life that ends there, a rotation while nobody runs, and a life that does not end."""
    name = failpoint.partition(":")[0]
    story.write()
    if name in PREPARED:
        story.live_to_the_end()
        PREPARED[name](story)
    act = ACTS.get(name) or ACTS.get(name.partition(".")[0]) or (lambda _, __: True)
    assert -signal.SIGKILL == story.live_until_killed(failpoint, act=lambda running: act(story, running))
    story.rotate()
    story.write()
    if name == "state.half_set_aside":  # of what was counted before the damage the series know nothing any more
        with story.start() as running:
            running.wait_for(lambda: story.has_shipped(running), "all shipped")
            assert running.stop() == 0
    else:
        story.live_to_the_end()


# The stories


def with_a_local_output(directory: Path, failpoint: str) -> None:
    story = Lives(directory)
    kill_at(story, failpoint)
    story.assert_clean()


def while_old_day_files_are_deleted(directory: Path, failpoint: str) -> None:
    """What was delivered and deleted does not come back; all else is there once."""
    story = Lives(directory, local=", max_bytes: 1KB")
    kill_at(story, failpoint)
    story.assert_clean(deleted=range(0, story.written + 1, 2))


def with_a_server(directory: Path, failpoint: str) -> None:
    """What was sent and not acknowledged is sent again, under the same ids."""
    with Sink() as sink:
        story = Lives(directory, sink=sink)
        kill_at(story, failpoint)
        story.assert_clean()


def before_the_answer(directory: Path, _: str) -> None:
    """The step that is no place in the program: sent, applied, not answered."""
    with Sink() as sink:
        story = Lives(directory, sink=sink)
        story.write()
        sink.fault(Fault("silent"))
        with story.start() as running:
            running.wait_for(lambda: len(sink.docs()) > 0, "documents without an answer")
            running.kill()
        sink.fault()
        story.rotate()
        story.write()
        story.live_to_the_end()
        assert sink.stats()["duplicates"] > 0
        story.assert_clean()


def while_an_index_is_blocked(directory: Path, failpoint: str) -> None:
    """Its documents wait on disk, through the kill; when it takes them they arrive once."""
    with Sink() as sink:
        story = Lives(directory, sink=sink)
        story.write(40)
        sink.fault(BLOCKED)
        if failpoint in ("spool.before_write", "spool.after_write", "spool.after_sync"):
            stop = signalled(signal.SIGTERM)
            assert -signal.SIGKILL == story.live_until_killed(failpoint, act=lambda running: stop(story, running))
        else:
            with story.start() as running:
                running.wait_for(lambda: story.counted(running) == 40, "all counted")
                assert running.stop() == 0
            sink.fault(STILL_BLOCKED)
            assert -signal.SIGKILL == story.live_until_killed(failpoint)
        sink.fault()
        story.rotate()
        story.write()
        with story.start() as running:
            running.wait_for(lambda: not running.status()["output"]["spooled"], "an empty spool")
            story.wait_for_everything(running)
            assert running.stop() == 0
        story.assert_clean()


def while_dead_letters_are_retried(directory: Path, failpoint: str) -> None:
    """`dead-letter retry`, killed and repeated: the documents are there once, and no record stands any more."""
    story = Lives(directory)
    for _ in range(3):
        story.write()
    assert run_to_end("run", "-c", story.config, "--once", directory=directory).returncode == 3
    command = ("dead-letter", "retry", "-c", story.config, "--force")
    only = ("--id", story.letters()[0]["_id"]) if failpoint == "retry.rewritten" else ()  # so that something is left
    killed = run_to_end(*command, *only, directory=directory, SHIPPER_FAILPOINT=failpoint)
    assert -signal.SIGKILL == killed.returncode, killed.stderr

    repeated = run_to_end(*command, directory=directory)

    assert repeated.returncode == 0, repeated.stderr
    assert [] == story.letters()
    retried = "".join(path.read_text() for path in (story.state / "dead-letter").glob("retried-*"))
    assert all(f'\\"n\\": {number}}}' in retried for number in story.of_the_future)
    story.of_the_future.clear()
    story.assert_clean()


def while_history_is_counted(directory: Path, failpoint: str) -> None:
    """`replay --metrics`, killed and repeated: its files say of each line what those of a run without a kill say."""
    story = Lives(directory)
    story.write(200)
    command = ("replay", story.log.parent, "--no-ship", "--step", "300", "--metrics")
    whole = run_to_end(*command, "whole", directory=directory)
    assert whole.returncode == 0, whole.stderr
    killed = run_to_end(*command, "stopped", directory=directory, SHIPPER_FAILPOINT=failpoint)
    assert -signal.SIGKILL == killed.returncode, killed.stderr

    repeated = run_to_end(*command, "stopped", directory=directory)

    assert repeated.returncode == 0, repeated.stderr
    [expected, found] = [
        {path.name: path.read_text() for path in (directory / name).glob("*.om")} for name in ("whole", "stopped")
    ]
    assert expected
    assert expected == found


def while_a_file_is_cut(directory: Path, failpoint: str) -> None:
    """To a part, as by a power cut: the next life finds the same; what is written once it is committed is new."""
    story = Lives(directory)
    story.write(30)
    story.live_to_the_end()
    with story.start(failpoint=failpoint) as running:
        story.cut(0.6)
        running.wait_for_end_or(lambda: False)
        assert -signal.SIGKILL == running.returncode
    with story.start() as running:
        running.wait_for(lambda: story.observed() == story.log.stat().st_size, "the cut committed")
        story.cut(0.6)
        running.wait_for(lambda: story.observed() == story.log.stat().st_size, "the second one committed")
        story.write()
        running.kill()
    story.live_to_the_end()
    story.assert_clean()


AGAIN = (
    "local.after_commit",
    "state.in_commit",
    "local.after_write:2",
    "start.engine_made",
    "state.after_commit:2",
    "deadletter.after_sync",
    "local.after_sync",
    "start.output_started",
)


def again_and_again(directory: Path, _: str) -> None:
    """Many lives, each ended at another step, with no time to recover in between."""
    story = Lives(directory)
    story.write()
    for failpoint in AGAIN:
        assert -signal.SIGKILL == story.live_until_killed(failpoint)
        story.rotate()
        story.write()
    story.live_to_the_end()
    story.assert_clean()


STORIES: dict[str, Callable[[Path, str], None]] = {
    **dict.fromkeys(by_prefix("start.", "state.", "local.", "ledger.", "deadletter.", "reload."), with_a_local_output),
    **dict.fromkeys(by_prefix("stop."), with_a_local_output),
    **dict.fromkeys(by_prefix("cut."), while_a_file_is_cut),
    **dict.fromkeys([f"{name}:2" for name in LATER], with_a_local_output),
    "local.doomed": while_old_day_files_are_deleted,
    "local.deleted": while_old_day_files_are_deleted,
    **{each: with_a_server for name in by_prefix("elastic.") for each in (name, f"{name}:2")},
    "before the answer": before_the_answer,
    **dict.fromkeys(by_prefix("spool."), while_an_index_is_blocked),
    **dict.fromkeys(by_prefix("retry."), while_dead_letters_are_retried),
    **dict.fromkeys(by_prefix("tallies."), while_history_is_counted),
    "again and again": again_and_again,
}


@pytest.mark.together
@pytest.mark.parametrize("where", STORIES)
def test_each_line_is_there_once_and_counted_once(directory: Path, where: str) -> None:
    """Killed there, and started again."""
    STORIES[where](directory, where)


def test_every_step_has_a_story() -> None:
    """A new failpoint is to be killed at as well."""
    assert [] == [name for name in NAMES if name not in STORIES]
