"""A full disk stops nothing for good: lines wait, what was half written is cut, and all arrive once there is room."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from disks import fill, relieve, small_disk
from harness.process import wait_until
from local_support import FakeContent, documents_of, ids, new_output, text

from shipper.batch import Documents


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    with small_disk(tmp_path / "disk") as place:
        yield place


def test_a_full_disk_is_waited_for(disk: Path) -> None:
    """While the disk is full nothing is done and nothing lost; with room again every line is there once."""
    done: list[Documents] = []
    output = new_output(disk / "out")
    output.start()
    content = FakeContent(text(200))
    output.submit(documents_of(content, done=done.append))
    wait_until(lambda: len(done) == 1, what="the first are done", timeout_seconds=20)

    fill(disk)
    start = len(content.data)
    content.data += text(5000, first=200)
    output.submit(documents_of(content, start=start, done=done.append))
    wait_until(lambda: not output.status().is_up, what="the output is down", timeout_seconds=20)
    assert "No space left" in output.status().error or "full" in output.status().error
    assert (len(done), output.status().pending) == (1, 5000)

    relieve(disk)
    wait_until(lambda: len(done) == 2, what="all is done", timeout_seconds=20)
    assert output.close(deadline=time.monotonic() + 20)
    assert content.ids() == ids(disk / "out")


def test_a_restart_on_a_full_disk(disk: Path) -> None:
    """A start with an existing ledger needs no room; it knows what is there and waits like before."""
    content = FakeContent(text(200))
    output = new_output(disk / "out")
    output.start()
    output.submit(documents_of(content))
    assert output.close(deadline=time.monotonic() + 20)

    fill(disk)
    content.data += text(2000, first=200)
    again = new_output(disk / "out")
    again.start()
    covered = again.covered(content)
    assert covered == ((0, len(text(200))),)
    again.submit(documents_of(content, covered=covered))
    wait_until(lambda: not again.status().is_up, what="the output is down", timeout_seconds=20)
    relieve(disk)
    assert again.close(deadline=time.monotonic() + 20)
    assert content.ids() == ids(disk / "out")
