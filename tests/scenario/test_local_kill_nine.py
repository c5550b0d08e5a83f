"""The process is killed at each step of a commit, and at any moment: afterwards every line is there once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from harness.process import Process
from local_support import FakeContent, ids, new_output, text

ROOT = Path(__file__).parents[2]
CHILD = ROOT / "tests" / "local_child.py"
PLACES = ["before_write", "after_write", "after_sync", "before_commit", "after_commit"]
KILLED = -signal.SIGKILL


def environment(failpoint: str = "") -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "SHIPPER_FAILPOINT": failpoint}


def run(directory: Path, log: Path, failpoint: str = "") -> int:
    command = [sys.executable, str(CHILD), str(directory), str(log)]
    return subprocess.run(command, env=environment(failpoint), timeout=120, check=False).returncode


def new_log(tmp_path: Path, lines: int) -> tuple[Path, list[str]]:
    """A log over a midnight, and the ids of its lines."""
    log = tmp_path / "app.log"
    log.write_bytes(text(lines) + text(lines, first=lines, index_name="logs-2024.01.16"))
    return log, FakeContent(log.read_bytes()).ids()


def committed_ids(directory: Path) -> list[str]:
    """The ids in the day files once a start has cut what no commit covers."""
    output = new_output(directory)
    output.open()
    output.release()
    return ids(directory)


@pytest.mark.parametrize("place", PLACES)
def test_killed_at_each_step(tmp_path: Path, place: str) -> None:
    """Three lives end there, the fourth may go on: no line is missing, none is there twice."""
    log, expected = new_log(tmp_path, 500)
    for _ in range(3):
        assert run(tmp_path / "out", log, f"local.{place}") == KILLED
        with log.open("ab") as file:  # so that the next life has something to commit, whatever this one did
            file.write(text(10, first=5000 + len(expected)))
        expected = FakeContent(log.read_bytes()).ids()
    assert run(tmp_path / "out", log) == 0
    assert sorted(expected) == sorted(ids(tmp_path / "out"))


def test_killed_at_any_moment(tmp_path: Path) -> None:
    """A kill from outside, right after a batch was done: what was done is there, and in the end everything, once."""
    log, expected = new_log(tmp_path, 20_000)
    command = [sys.executable, str(CHILD), str(tmp_path / "out"), str(log), "20"]
    child = Process(command, log=tmp_path / "output", env=environment())
    child.wait_ready(timeout_seconds=60)
    child.kill()
    said = [line.split() for line in child.output().splitlines(keepends=True) if line.endswith("\n")]
    done = max(int(words[1]) for words in said if words[0] == "done")
    is_done = FakeContent(log.read_bytes()[:done]).ids()
    assert set(is_done) <= set(committed_ids(tmp_path / "out"))
    assert run(tmp_path / "out", log) == 0
    assert sorted(expected) == sorted(ids(tmp_path / "out"))
