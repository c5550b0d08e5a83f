"""A signal that comes before `run` or `replay` has begun anything."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STOPPED_IN_IMPORT = """
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "shipper.cli":
            os.kill(os.getpid(), signal.Signals[os.environ["SENT"]])
sys.meta_path.insert(0, Finder())
sys.argv = ["shipper", *sys.argv[1:]]
from shipper.entry import main
main()
"""


def ended(*arguments: str, sent: signal.Signals, directory: Path) -> tuple[int, str]:
    """Exit code and what was said, of a command that gets a signal while `cli` is being imported."""
    done = subprocess.run(
        [sys.executable, "-c", STOPPED_IN_IMPORT, *arguments],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT), "SENT": sent.name},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_before_the_beginning(tmp_path: Path, sent: signal.Signals) -> None:
    """Ends `run` with 0 as later, and with 1 what was to finish; nothing was made."""
    not_begun = "shipper: not finished: interrupted before anything was begun\n"
    assert (0, "shipper: stopped\n") == ended("run", "logs", sent=sent, directory=tmp_path)
    assert (1, not_begun) == ended("-v", "run", "logs", "--once", sent=sent, directory=tmp_path)
    assert (1, not_begun) == ended("replay", "logs", sent=sent, directory=tmp_path)
    assert [] == list(tmp_path.iterdir())


def test_a_reload_before_the_beginning(tmp_path: Path) -> None:
    """Is no end: what there is to be read has not been read yet."""
    (tmp_path / "app.log").write_text("{}\n")
    code, said = ended("run", "app.log", "--once", sent=signal.SIGHUP, directory=tmp_path)
    assert (0, True) == (code, "read 1 line; documents: 1 created" in said)


def test_other_commands_end_as_any_program(tmp_path: Path) -> None:
    """They hold nothing that an end in order would save."""
    assert -signal.SIGTERM == ended("check", "logs", sent=signal.SIGTERM, directory=tmp_path)[0]
