"""The real logrotate beside the real process, in each of its ways; `shipper audit` agrees in the end."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from command import Running, documents_in, run_to_end
from harness.missing import tool

WAYS: dict[str, Sequence[str]] = {
    "create": ["create"],
    "nocreate": ["nocreate"],
    "copytruncate": ["copytruncate"],
    "copy": ["copy"],
    "compress": ["create", "compress"],
    "delaycompress": ["create", "compress", "delaycompress"],
    "copytruncate-compress": ["copytruncate", "compress"],
    "dateext": ["create", "dateext", "dateformat -%Y%m%d-%s"],
    "olddir": ["create", "createolddir", "olddir old"],
    "shred": ["create", "shred"],
}
LINES = 40


class Rotation:
    """A directory a way, each with an `app.log` that is rotated so."""

    def __init__(self, directory: Path) -> None:
        self._command = tool("logrotate", "apt-get install logrotate")
        self.directory = directory
        self._configuration = directory / "logrotate.conf"
        self._written = 0
        text = ""
        for name, way in WAYS.items():
            log = directory / "logs" / name / "app.log"
            log.parent.mkdir(parents=True)
            text += "\n".join([f"{log} {{", "rotate 50", "missingok", *way, "}", ""])
        self._configuration.write_text(text)
        self._configuration.chmod(0o600)

    def write(self, *, count: int = LINES) -> None:
        """So many lines more in each file, by a writer that opens it anew."""
        for name in WAYS:
            with (self.directory / "logs" / name / "app.log").open("a") as file:
                for _ in range(count):
                    self._written += 1
                    stamp = "2024-01-15T10:30:45.123Z"
                    file.write(f'{{"timestamp":"{stamp}","method":"GET","way":"{name}","n":{self._written}}}\n')

    def rotate(self) -> None:
        """What cron does each night."""
        state = self.directory / "logrotate.state"
        command: Sequence[str | Path] = [self._command, "--force", "--state", state, self._configuration]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"})
        twice_a_second = [line for line in done.stderr.splitlines() if "already exists, skipping rotation" in line]
        assert twice_a_second == done.stderr.splitlines()  # by name of the second; the next time it is rotated again

    def numbers(self) -> list[int]:
        return list(range(1, self._written + 1))


@pytest.fixture
def rotation(tmp_path: Path) -> Rotation:
    return Rotation(tmp_path)


def shipped(directory: Path) -> list[int]:
    return sorted(document["_source"]["n"] for document in documents_in(directory / "shipped"))


def test_live(tmp_path: Path, rotation: Rotation) -> None:
    """Four rotations without a pause between writing and rotating: each line is a document and a count once."""
    with Running("logs/**/*.log*", directory=tmp_path) as shipper:
        for _ in range(4):
            rotation.write()
            rotation.rotate()
            rotation.write(count=3)
        expected = rotation.numbers()
        shipper.wait_for(lambda: len(shipped(tmp_path)) >= len(expected), "all lines")
        shipper.wait_for(lambda: shipper.metric("http_requests_total") >= len(expected), "all counts")

        assert expected == shipped(tmp_path)
        assert len(expected) == shipper.metric("http_requests_total")
        assert 0 == shipper.metric("shipper_unread_lost_bytes_total")
        assert 0 == shipper.stop()
    audit = run_to_end("audit", "logs/**/*.log*", "--output", "shipped", directory=tmp_path)
    assert 0 == audit.returncode, audit.stdout


def test_while_down(tmp_path: Path, rotation: Rotation) -> None:
    """Killed, then three rotations, and a start: what is there is read, what was read is not read again."""
    with Running("logs/**/*.log*", directory=tmp_path) as shipper:
        rotation.write()
        shipper.wait_for(lambda: shipped(tmp_path) == rotation.numbers(), "all lines")
        shipper.wait_for(lambda: shipper.metric("http_requests_total") == len(rotation.numbers()), "all counts")
        shipper.kill()
    rotation.write(count=5)
    for _ in range(3):
        rotation.rotate()
        rotation.write()
    with Running("logs/**/*.log*", directory=tmp_path) as shipper:
        expected = rotation.numbers()
        shipper.wait_for(lambda: len(shipped(tmp_path)) >= len(expected), "all lines")
        shipper.wait_for(lambda: shipper.metric("http_requests_total") >= len(expected), "all counts")

        assert expected == shipped(tmp_path)
        assert len(expected) == shipper.metric("http_requests_total")
        assert 0 == shipper.metric("shipper_unread_lost_bytes_total")
        assert 0 == shipper.stop()
    audit = run_to_end("audit", "logs/**/*.log*", "--output", "shipped", directory=tmp_path)
    assert 0 == audit.returncode, audit.stdout
