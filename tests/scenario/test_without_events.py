"""A file system or container without inotify: directories are looked at every second instead, found out by itself."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from command import Running, documents_in
from harness.missing import MissingError, tool
from harness.story import Story

WITHOUT_INOTIFY = (
    "--user",
    "--map-root-user",
    "sh",
    "-c",
    'echo 0 > /proc/sys/user/max_inotify_instances && exec "$@"',
)


@pytest.fixture
def without_inotify() -> Sequence[str]:
    """Runs a command where the kernel gives no inotify: in a user namespace of its own that may have none."""
    command = (tool("unshare", "util-linux"), *WITHOUT_INOTIFY, "sh")
    done = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise MissingError(f"a user namespace without inotify: {done.stderr.strip()}", is_excused=True)
    return command


def lines(first: int, count: int) -> str:
    stamp = "2024-01-15T10:30:45.123Z"
    return "".join(f'{{"timestamp":"{stamp}","method":"GET","n":{n}}}\n' for n in range(first, first + count))


def test_growth_new_files_and_rotation_are_found(tmp_path: Path, without_inotify: Sequence[str]) -> None:
    """The real process, without any event: it says so, and each line is a document and a count once."""
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "app.log").write_text(lines(0, 5))
    with Running("logs/**/*.log*", directory=tmp_path, within=without_inotify) as shipper:
        with (logs / "app.log").open("a") as file:
            file.write(lines(5, 5))
        (logs / "new.log").write_text(lines(10, 5))
        (logs / "app.log").rename(logs / "app.log.1")
        (logs / "app.log").write_text(lines(15, 5))
        (logs / "below").mkdir()
        (logs / "below/app.log").write_text(lines(20, 5))
        shipper.wait_for(lambda: len(documents_in(tmp_path / "shipped")) == 25, "25 documents")
        shipper.wait_for(lambda: shipper.metric("http_requests_total") == 20, "those that came later are counted")

        assert "no events for directories" in shipper.log
        assert 0 == shipper.stop()
    assert list(range(25)) == sorted(document["_source"]["n"] for document in documents_in(tmp_path / "shipped"))


def test_a_story_has_no_events(story: Story) -> None:
    """All stories of this directory run so: new files are found by their directory's time, within two seconds."""
    for number in range(5):
        story.write(f"app-{number}-x.log", 2)
        story.run(2.5)
        assert story.written == len(story.shipped())

    story.assert_exact()
