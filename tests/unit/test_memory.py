"""What commands do without: modules that cost every start its time, and a sidecar its memory, for nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

MODULES = "import atexit, sys; atexit.register(lambda: print(sorted(sys.modules)))"
COMMAND = f"{MODULES}; from shipper.cli import main; main()"
LINE = '{"timestamp":"2024-01-15T10:30:45.123Z","method":"GET","url":"/a","statusCode":200,"duration":3}\n'


@pytest.mark.parametrize(
    "module",
    [
        "difflib",
        "elastic_transport",
        "elasticsearch",
        "urllib3",
        "watchdog",
        "numpy",
        "zstandard",
        "exporter.webconfig",
        "shipper.audit",
        "shipper.local",
        "shipper.replay.conduct",
    ],
)
def test_a_daemon_does_without_what_only_some_configurations_need(module: str) -> None:
    """Output, directory events and TLS are imported where they are wanted, the rest by the commands that need it."""
    code = f"{MODULES}; import shipper.cli, shipper.daemon"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert f"'{module}'" not in done.stdout


@pytest.mark.parametrize("command", [["run", "--once"], ["replay"]], ids=" ".join)
def test_one_that_ends_by_itself_watches_nothing_and_serves_nothing(tmp_path: Path, command: list[str]) -> None:
    """Neither events of directories nor a web config, whose start would be longer than the work of a short file."""
    loaded = modules_of(command, tmp_path)

    assert not loaded & {"watchdog", "exporter.webconfig", "urllib3", "zstandard"}
    assert "shipper.local.output" in loaded


def test_a_replay_does_without_daemon_rules_and_yaml(tmp_path: Path) -> None:
    """Workers are forked of it: what it does not have they need not carry."""
    loaded = modules_of(["replay"], tmp_path)

    assert not loaded & {
        "shipper.daemon",
        "shipper.engine",
        "shipper.state",
        "exporter",
        "yaml",
        "shipper.replay.history",
    }


def modules_of(command: list[str], directory: Path) -> set[str]:
    """All that a command over one line into a directory has imported when it ends."""
    log = directory / "app.log"
    log.write_text(LINE)
    arguments = [*command, str(log), "--output", str(directory / "out")]
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *arguments], capture_output=True, text=True, check=True, cwd=directory
    )
    return set(done.stdout.splitlines()[-1].strip("[]").replace("'", "").split(", "))
