"""A file or directory that may not be read: said once, tried again, and read whole once it may be."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from command import Running, documents_in
from harness.missing import MissingError, tool
from harness.privileges import ordinary_permissions
from harness.story import Story, Unseen


@pytest.fixture(autouse=True)
def _permissions() -> Iterator[None]:
    """Those of files count here, for root too."""
    with ordinary_permissions():
        yield


@pytest.fixture
def without_privileges() -> Sequence[str]:
    """Runs a command to which permissions apply, although root may have started it."""
    if os.geteuid():
        return ()
    command = (tool("setpriv", "util-linux"), "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all")
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        raise MissingError("a root that may be refused a file (capability SETPCAP)", is_excused=True)
    return command


def lines(first: int, count: int) -> str:
    stamp = "2024-01-15T10:30:45.123Z"
    return "".join(f'{{"timestamp":"{stamp}","method":"GET","n":{n}}}\n' for n in range(first, first + count))


def numbers(directory: Path) -> list[int]:
    return sorted(document["_source"]["n"] for document in documents_in(directory))


def test_the_real_process(tmp_path: Path, without_privileges: Sequence[str]) -> None:
    """Unreadable when it is met; its neighbours do not wait for it, and a gauge shows it."""
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "app.log").write_text(lines(0, 5))
    (logs / "app.log").chmod(0)
    with Running("logs", directory=tmp_path, within=without_privileges) as shipper:
        (logs / "web.log").write_text(lines(5, 5))
        shipper.wait_for(lambda: numbers(tmp_path / "shipped") == [5, 6, 7, 8, 9], "the other file")
        assert 1 == shipper.metric("shipper_files", source="default", state="unreadable")
        assert 1 == shipper.log.count("Permission denied")
        (logs / "app.log").chmod(0o644)
        shipper.wait_for(lambda: len(numbers(tmp_path / "shipped")) == 10, "the file that can be read now")

        assert "can be read now" in shipper.log
        assert 0 == shipper.metric("shipper_files", source="default", state="unreadable")
        assert 0 == shipper.stop()
    assert list(range(10)) == numbers(tmp_path / "shipped")


def test_a_file(story: Story, unseen: Unseen) -> None:
    """Unreadable when it is met, and after a restart; then it is read from its beginning."""
    story.write("app.log", 5)
    story.path("app.log").chmod(0)
    story.write("web.log", 2)
    story.run(20.0)
    assert ["web.log"] == story.names()
    with unseen(story):
        story.write("web.log", 2)
    story.run(20.0)
    story.path("app.log").chmod(0o644)
    story.run(20.0)

    story.assert_exact()


def test_a_file_that_is_followed(story: Story, unseen: Unseen) -> None:
    """Its permissions change when it was half read: what it holds then is read later, and nothing counts as lost."""
    story.write("app.log", 5)
    story.run()
    with unseen(story):
        append_as_owner(story, "app.log", 3)
        story.path("app.log").chmod(0)
    story.run(130.0)
    story.path("app.log").chmod(0o644)
    story.run(20.0)

    story.assert_exact()


def test_a_file_that_is_rotated_meanwhile(story: Story, unseen: Unseen) -> None:
    """Nobody may read it under its new name either, until somebody mends that."""
    story.write("app.log", 5)
    story.run()
    with unseen(story):
        append_as_owner(story, "app.log", 3)
        story.path("app.log").chmod(0)
        story.path("app.log").rename(story.path("app.log.1"))
        story.write("app.log", 2)
    story.run(130.0)
    story.path("app.log.1").chmod(0o644)
    story.run(20.0)

    story.assert_exact()


def test_a_directory(story: Story, unseen: Unseen) -> None:
    """It may not be looked into for minutes: what is in it is read when it may, and nothing counts as lost."""
    story.write("app.log", 5)
    story.run()
    with unseen(story):
        story.write("app.log", 3)
        story.write("web.log", 3)
        story.logs.chmod(0)
    story.run(400.0)
    story.logs.chmod(0o755)
    story.run(130.0)

    story.assert_exact()


def append_as_owner(story: Story, name: str, count: int) -> None:
    story.path(name).chmod(0o600)
    story.write(name, count)
