"""Few descriptors, many files: each gets its turn, nothing is read twice, and the daemon does not run out of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import Running, documents_in
from harness.missing import tool
from harness.story import NewStory, Unseen

FILES = 200
LIMIT = 64


@pytest.mark.parametrize("open_limit", [1, 2, 10])
def test_all_grow_and_are_rotated(new_story: NewStory, unseen: Unseen, open_limit: int) -> None:
    """Thirty files with a line each time, through a rotation, with one to ten open at once."""
    story = new_story(open_limit=open_limit)
    for number in range(30):
        story.write(f"app-{number}-x.log", 2)
    story.run(20.0)
    with unseen(story):
        for number in range(30):
            story.write(f"app-{number}-x.log", 1)
            story.path(f"app-{number}-x.log").rename(story.path(f"app-{number}-x.log.1"))
            story.write(f"app-{number}-x.log", 1)
    story.run(30.0)

    story.assert_exact()


def test_they_are_deleted_before_they_were_read(new_story: NewStory) -> None:
    """Of files that were not open when they went the rest cannot be read: so many bytes are said to be lost."""
    story = new_story(open_limit=4)
    for number in range(12):
        story.write(f"app-{number}-x.log", 2)
    story.run(20.0)
    story.block_output(is_blocked=True)
    sizes = {number: story.path(f"app-{number}-x.log").stat().st_size for number in range(12)}
    written = {number: story.write(f"app-{number}-x.log", 2) for number in range(12)}
    added = {number: story.path(f"app-{number}-x.log").stat().st_size - sizes[number] for number in range(12)}
    story.run(60.0)
    for number in range(12):
        story.path(f"app-{number}-x.log").unlink()
    story.run(60.0)
    story.block_output(is_blocked=False)
    story.run(120.0)

    missing = {*range(1, story.written + 1)} - {*story.shipped()}
    lost = sum(added[number] for number in range(12) if missing & {*written[number]})
    assert lost == story.lost_bytes()
    assert dict.fromkeys(range(1, story.written + 1), 1) == story.counted()


def line(number: int, text: str) -> str:
    return f'{{"timestamp":"2024-01-15T10:30:45.123Z","method":"GET","n":{number},"text":"{text}"}}\n'


def test_the_real_process_with_few_descriptors(tmp_path: Path) -> None:
    """200 files under `ulimit -n 64`: each line once, through growth, and after a restart under the same limit."""
    within = (tool("prlimit", "util-linux"), f"--nofile={LIMIT}:{LIMIT}")
    logs = tmp_path / "logs"
    logs.mkdir()
    for number in range(FILES):
        (logs / f"app-{number}-x.log").write_text(line(number, "first"))
    for start in (0, 1):
        with Running("logs", directory=tmp_path, within=within) as shipper:
            for number in range(FILES):
                with (logs / f"app-{number}-x.log").open("a") as file:
                    file.write(line((start + 1) * FILES + number, "more"))
            expected = (start + 2) * FILES
            shipper.wait_for(lambda: len(documents_in(tmp_path / "shipped")) == expected, f"{expected}")  # noqa: B023
            shipper.wait_for(lambda: shipper.metric("http_requests_total") == (start + 1) * FILES, "counted")  # noqa: B023
            assert len(list(Path(f"/proc/{shipper.pid}/fd").iterdir())) < LIMIT
            assert "Too many open files" not in shipper.log
            assert 0 == shipper.stop()
    numbers = sorted(document["_source"]["n"] for document in documents_in(tmp_path / "shipped"))
    assert list(range(3 * FILES)) == numbers
