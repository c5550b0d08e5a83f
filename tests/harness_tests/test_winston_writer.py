"""Real Winston writes what its ledger says, in the shapes that a shipper has to live with."""

from __future__ import annotations

import json
import re
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness.process import wait_until
from harness.winston import FAMILIES, WinstonWriter, files, lines

Start = Callable[..., WinstonWriter]

SAMPLES = Path(__file__).parents[1] / "harness" / "winston" / "samples"


def counts(directory: Path) -> dict[str, int]:
    """Lines on disk by family."""
    return {family: len(lines(directory, family)) for family in FAMILIES}


def names(directory: Path, family: str) -> list[str]:
    """The family's files, oldest first."""
    return [path.name for path in files(directory, family)]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"max_size": "64k"},
        {"max_size": "64k", "zipped_archive": True},
        {"clock_start": "2024-01-15T23:59:50Z", "clock_step_ms": 10},
        {"clock_start": "2024-01-15T23:59:50Z", "clock_step_ms": 10, "max_size": "64k", "zipped_archive": True},
        {"wait_every": 0},
    ],
    ids=["plain", "rotated", "zipped", "midnight", "all of it", "never waiting"],
)
def test_what_is_on_disk_is_what_the_ledger_says(winston: Start, tmp_path: Path, options: dict[str, Any]) -> None:
    """However the files rotate, every line that Winston counted is there, and every request exactly once, in order."""
    ledger = winston(lines=2000, exceptions=3, rejections=2, **options).wait()
    assert ledger.lines == counts(tmp_path / "logs")
    assert ledger.lines == {"combined": 2002, "errors": 202, "exceptions": 3, "rejections": 2}
    assert (ledger.requests, ledger.errors, ledger.faults) == (2000, 200, [])
    parsed = [json.loads(line) for line in lines(tmp_path / "logs", "combined")]
    found = [line["requestId"] for line in parsed if "requestId" in line]
    assert found == [f"req-run-{number:09}" for number in range(1, 2001)]


def test_lines_look_like_the_applications(winston: Start, tmp_path: Path) -> None:
    """A request line has the application's fields in its order; an error line has a message and a stack as well."""
    winston(lines=10).wait()
    *requests, error = [json.loads(line) for line in lines(tmp_path / "logs", "combined")]
    expected = "timestamp level service environment requestId method url statusCode duration userId ip contentLength"
    assert expected.split() == list(requests[0])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", requests[0]["timestamp"])
    assert (error["level"], error["statusCode"]) == ("error", 500)
    assert "\n    at " in error["stack"]


def test_exceptions_and_rejections_carry_a_date_only(winston: Start, tmp_path: Path) -> None:
    """They have no timestamp but JavaScript's own date; a rejection is repeated in combined, an exception is not."""
    winston(lines=10, exceptions=1, rejections=1, clock_start="2026-11-23T12:00:00Z").wait()
    for family, mark in (("exceptions", "exception"), ("rejections", "rejection")):
        (line,) = (json.loads(each) for each in lines(tmp_path / "logs", family))
        assert line["date"].startswith("Mon Nov 23 2026 12:00:0")
        assert line["date"].endswith("GMT+0000 (Coordinated Universal Time)")
        assert line[mark] is True
        assert "timestamp" not in line
        (sample,) = SAMPLES.joinpath(f"{mark}.json").read_text().splitlines()
        assert list(json.loads(sample)) == list(line)
    combined = b"".join(lines(tmp_path / "logs", "combined"))
    assert (combined.count(b"unhandledRejection"), combined.count(b"uncaughtException")) == (1, 0)


def test_handlers_may_have_a_timestamp(winston: Start, tmp_path: Path) -> None:
    """With the format of the others, exceptions have an ISO timestamp as well."""
    winston(lines=1, exceptions=1, handler_timestamps=True).wait()
    (line,) = lines(tmp_path / "logs", "exceptions")
    assert {"timestamp", "date"} <= json.loads(line).keys()


def test_rotation_gives_the_newer_file_the_suffix(winston: Start, tmp_path: Path) -> None:
    """The oldest file of a day has no number; each ends with the line that takes it over the size."""
    ledger = winston(lines=1000, max_size="64k", clock_start="2024-01-15T10:00:00Z").wait()
    found = names(tmp_path / "logs", "combined")
    assert found[:3] == ["combined-2024-01-15.log", "combined-2024-01-15.log.1", "combined-2024-01-15.log.2"]
    assert ledger.rotated == sum(len(names(tmp_path / "logs", family)) - 1 for family in FAMILIES)
    sizes = [path.stat().st_size for path in files(tmp_path / "logs", "combined")[:-1]]
    assert all(64 * 1024 < size < 66 * 1024 for size in sizes)


def test_zipping_leaves_the_last_file_plain(winston: Start, tmp_path: Path) -> None:
    """Every finished file is replaced by its .gz."""
    ledger = winston(lines=1000, max_size="64k", zipped_archive=True).wait()
    endings = Counter(Path(name).suffix == ".gz" for family in FAMILIES for name in names(tmp_path / "logs", family))
    assert endings == {True: ledger.archived, False: 4}
    assert ledger.archived == ledger.rotated > 3


def test_midnight_begins_another_file(winston: Start, tmp_path: Path) -> None:
    """The line that is the first of the day is the first of that day's file."""
    winston(lines=2000, clock_start="2024-01-15T23:59:50Z", clock_step_ms=10).wait()
    assert names(tmp_path / "logs", "combined") == ["combined-2024-01-15.log", "combined-2024-01-16.log"]
    for path in files(tmp_path / "logs", "combined"):
        day = path.name[9:19]
        assert {json.loads(line)["timestamp"][:10] for line in path.read_bytes().splitlines()} == {day}


def test_the_zone_decides_when_midnight_is(winston: Start, tmp_path: Path) -> None:
    """Files are named by local time while timestamps stay UTC."""
    winston(lines=2000, zone="Asia/Tokyo", clock_start="2024-01-15T14:59:50Z", clock_step_ms=10).wait()
    assert names(tmp_path / "logs", "combined") == ["combined-2024-01-15.log", "combined-2024-01-16.log"]


def test_max_files_takes_the_oldest_away(winston: Start, tmp_path: Path) -> None:
    """The ledger names what was removed; the audit file is a hidden one."""
    ledger = winston(lines=2000, max_size="64k", max_files=3).wait()
    removed = {Path(path).name for path in ledger.removed}
    assert any(name.startswith("combined-") for name in removed)
    assert removed.isdisjoint(path.name for path in (tmp_path / "logs").iterdir())
    assert len(names(tmp_path / "logs", "combined")) == 3
    assert (tmp_path / "logs" / ".combined-audit.json").exists()


def test_the_symlink_names_the_current_file(winston: Start, tmp_path: Path) -> None:
    """With createSymlink there is a link to the file that is written to."""
    winston(lines=10, create_symlink=True, symlink_name="current-%FAMILY%.log").wait()
    link = tmp_path / "logs" / "current-combined.log"
    assert link.is_symlink()
    assert len(link.read_bytes().splitlines()) == 10


def test_stop_ends_in_order(winston: Start, tmp_path: Path) -> None:
    """A writer without an end, stopped in the middle, has everything that it counted on disk."""
    writer = winston(lines=0, rate=2000)
    wait_until(lambda: len(lines(tmp_path / "logs", "combined")) > 200, what="some lines", timeout_seconds=20)
    ledger = writer.stop()
    assert ledger.lines == counts(tmp_path / "logs")
    assert ledger is writer.stop()


def test_rate_limits_the_lines_per_second(winston: Start) -> None:
    """Two hundred lines at five hundred a second take four tenths of a second, by the lines' own clock."""
    writer = winston(lines=200, rate=500)
    writer.wait()
    stamps = [json.loads(line)["timestamp"] for line in lines(writer.directory, "combined")]
    seconds = float(stamps[-1][17:23]) - float(stamps[0][17:23])
    assert 0.3 < seconds % 60 < 2


def test_the_writer_ends_with_its_parent(winston: Start) -> None:
    """When its standard input closes, as when the test run is killed, the writer ends by itself."""
    process = winston(lines=0, rate=10)._process
    assert process._child.stdin is not None
    process._child.stdin.close()
    assert process.wait(timeout_seconds=10) == 1
    process.signal(signal.SIGTERM)
