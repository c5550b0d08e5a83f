"""A full disk stops nothing for good: lines wait, what was half written is cut, and all arrive once there is room."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.process import wait_until
from local_support import FakeContent, documents_of, ids, new_output, text

from shipper.batch import Documents

SIZE = "2m"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 2 MB; only root may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(place)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"cannot mount a tmpfs: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def fill(ballast: Path) -> None:
    """Takes all the room that is left."""
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(b"\0" * 4096):
                pass
        except OSError:
            return


def test_a_full_disk_is_waited_for(small_disk: Path) -> None:
    """While the disk is full nothing is done and nothing lost; with room again every line is there once."""
    done: list[Documents] = []
    output = new_output(small_disk / "out")
    output.start()
    content = FakeContent(text(200))
    output.submit(documents_of(content, done=done.append))
    wait_until(lambda: len(done) == 1, what="the first are done", timeout_seconds=20)

    fill(small_disk / "ballast")
    start = len(content.data)
    content.data += text(5000, first=200)
    output.submit(documents_of(content, start=start, done=done.append))
    wait_until(lambda: not output.status().is_up, what="the output is down", timeout_seconds=20)
    assert "No space left" in output.status().error or "full" in output.status().error
    assert (len(done), output.status().pending) == (1, 5000)

    (small_disk / "ballast").unlink()
    wait_until(lambda: len(done) == 2, what="all is done", timeout_seconds=20)
    assert output.close(deadline=time.monotonic() + 20)
    assert content.ids() == ids(small_disk / "out")


def test_a_restart_on_a_full_disk(small_disk: Path) -> None:
    """A start with an existing ledger needs no room; it knows what is there and waits like before."""
    content = FakeContent(text(200))
    output = new_output(small_disk / "out")
    output.start()
    output.submit(documents_of(content))
    assert output.close(deadline=time.monotonic() + 20)

    fill(small_disk / "ballast")
    content.data += text(2000, first=200)
    again = new_output(small_disk / "out")
    again.start()
    covered = again.covered(content)
    assert covered == ((0, len(text(200))),)
    again.submit(documents_of(content, covered=covered))
    wait_until(lambda: not again.status().is_up, what="the output is down", timeout_seconds=20)
    (small_disk / "ballast").unlink()
    assert again.close(deadline=time.monotonic() + 20)
    assert content.ids() == ids(small_disk / "out")
