"""The demo's generator: files as Winston leaves them, and counts that agree with what is in them."""

import gzip
import itertools
import random
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from shipper.demo import FAMILIES, MAX_CATCH_UP_SECONDS, Generator, Lines, RotatingFile

NOON = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC).timestamp()


class Clock:
    """A wall clock and a monotonic one that move together when told to."""

    def __init__(self, now: float = NOON) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def generator(directory: Path, clock: Clock, **options: Any) -> Generator:
    return Generator(directory=directory, clock=clock, monotonic=clock, **options)


def written(directory: Path, family: str) -> list[bytes]:
    """Every line of a family's files, plain or zipped."""
    lines: list[bytes] = []
    for path in sorted(directory.iterdir()):
        if path.name.startswith(f"{family}-"):
            data = path.read_bytes()
            lines += (gzip.decompress(data) if path.suffix == ".gz" else data).splitlines()
    return lines


def run_lines(made: Generator, clock: Clock, count: int) -> None:
    """Steps until at least `count` lines were written."""
    done = made.step()
    while done < count:
        clock.now += 1
        done += made.step()


def test_the_counts_are_those_of_the_files(tmp_path: Path) -> None:
    """Every line of every family is counted once, and requests are the lines that have a method."""
    clock = Clock()
    made = generator(tmp_path, clock, keep_files=1000)
    run_lines(made, clock, 20_000)
    made.close()
    lines = {family: written(tmp_path, family) for family in FAMILIES}
    assert {family: len(found) for family, found in lines.items()} == made.stats.lines
    parsed = [orjson.loads(line) for line in lines["combined"] if line.startswith(b"{")]
    assert len(lines["combined"]) - len(parsed) == made.stats.not_json > 0
    requests = [line for line in parsed if "method" in line]
    assert len(requests) == made.stats.requests
    assert sum(line["duration"] > 2000 for line in requests) == made.stats.slow > 0
    assert sum(line["statusCode"] >= 500 for line in requests) == made.stats.server_errors > 0
    assert made.stats.documents == sum(len(lines[family]) for family in ("combined", "exceptions", "rejections"))


def test_errors_repeats_the_error_lines_of_combined(tmp_path: Path) -> None:
    """What stands in errors-* stands in combined-*, byte for byte, and all of it has the level error."""
    clock = Clock()
    made = generator(tmp_path, clock, keep_files=1000)
    run_lines(made, clock, 5_000)
    made.close()
    errors = written(tmp_path, "errors")
    assert errors
    assert set(errors) <= set(written(tmp_path, "combined"))
    assert {orjson.loads(line)["level"] for line in errors} == {"error"}


def test_requests_cover_what_a_demo_should_show(tmp_path: Path) -> None:
    """There are several users, addresses and statuses, health checks, messages on failures, and ever new ids."""
    clock = Clock()
    made = generator(tmp_path, clock, keep_files=1000)
    run_lines(made, clock, 5_000)
    made.close()
    lines = [orjson.loads(line) for line in written(tmp_path, "combined") if line.startswith(b'{"timestamp"')]
    assert {"timestamp", "level", "service", "environment", "requestId", "method", "url", "statusCode"} <= set(lines[0])
    assert len({line["userId"] for line in lines}) > 20
    assert len({line["ip"] for line in lines}) > 100
    assert {200, 201, 204, 400, 401, 403, 404, 500} <= {line["statusCode"] for line in lines}
    assert any(line["url"] == "/health" for line in lines)
    assert all(("message" in line) == (line["statusCode"] >= 400) for line in lines)
    assert len({line["url"] for line in lines}) > 2_000


def test_a_full_file_is_followed_by_a_suffix_and_zipped(tmp_path: Path) -> None:
    """The newer file gets .1, .2, …; the older is replaced by its .gz; the link names the file that is written."""
    file = RotatingFile(directory=tmp_path, family="combined", max_bytes=30, keep_files=10, link="combined.log")
    for number in range(6):
        file.write(b"line %d %s" % (number, b"x" * 5), day="2026-11-23")
    file.close()
    names = [path.name for path in file.files()]
    assert names == ["combined-2026-11-23.log.gz", "combined-2026-11-23.log.1.gz", "combined-2026-11-23.log.2"]
    assert gzip.decompress((tmp_path / names[0]).read_bytes()) == b"line 0 xxxxx\nline 1 xxxxx\n"
    assert (tmp_path / "combined.log").readlink() == Path("combined-2026-11-23.log.2")
    assert file.rotations == 2


def test_another_day_begins_another_file(tmp_path: Path) -> None:
    """A line after midnight goes to a file of its own day, and the files are in order of day and number."""
    file = RotatingFile(directory=tmp_path, family="combined", max_bytes=1000, keep_files=10)
    file.write(b"late", day="2026-11-23")
    file.write(b"early", day="2026-11-24")
    file.close()
    assert [path.name for path in file.files()] == ["combined-2026-11-23.log.gz", "combined-2026-11-24.log"]


def test_old_files_are_deleted(tmp_path: Path) -> None:
    """No more than keep_files files of a family stay, the oldest go first, and files of others stay."""
    (tmp_path / "combined-notes.txt").write_text("mine")
    file = RotatingFile(directory=tmp_path, family="combined", max_bytes=10, keep_files=3)
    for _ in range(20):
        file.write(b"x" * 9, day="2026-11-23")
    file.close()
    assert [path.name for path in file.files()] == [
        "combined-2026-11-23.log.17.gz",
        "combined-2026-11-23.log.18.gz",
        "combined-2026-11-23.log.19",
    ]
    assert (tmp_path / "combined-notes.txt").exists()


def test_a_next_run_goes_on_behind_the_newest_file(tmp_path: Path) -> None:
    """What an earlier run left is not written to again, plain or zipped."""
    (tmp_path / "combined-2026-11-23.log.gz").write_bytes(gzip.compress(b"old\n"))
    (tmp_path / "combined-2026-11-23.log.1").write_bytes(b"old\n")
    file = RotatingFile(directory=tmp_path, family="combined", max_bytes=100, keep_files=10)
    file.write(b"new", day="2026-11-23")
    file.close()
    assert (tmp_path / "combined-2026-11-23.log.1").read_bytes() == b"old\n"
    assert (tmp_path / "combined-2026-11-23.log.2").read_bytes() == b"new\n"


def test_rotation_can_be_watched_within_a_minute(tmp_path: Path) -> None:
    """At the default rate and size the combined file rotates within sixty seconds."""
    clock = Clock()
    made = generator(tmp_path, clock)
    made.step()
    for _ in range(60):
        clock.now += 1
        made.step()
    made.close()
    assert made.stats.rotations >= 2


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.0, 0), (0.004, 0), (0.005, 1), (1.0, 200), (3600.0, int(200 * MAX_CATCH_UP_SECONDS))],
)
def test_a_step_writes_what_is_due(tmp_path: Path, seconds: float, expected: int) -> None:
    """The time since the last step decides, and a long pause is not made up for."""
    clock = Clock(0.0)
    made = generator(tmp_path, clock)
    made.step()
    clock.now = seconds
    assert expected == made.step()
    made.close()


def test_fractions_of_a_line_are_not_forgotten(tmp_path: Path) -> None:
    """Steps shorter than a line's share of a second add up to the rate."""
    clock = Clock(0.0)
    made = generator(tmp_path, clock, rate=10.0)
    made.step()
    total = 0
    for step in range(1, 257):
        clock.now = step / 64
        total += made.step()
    made.close()
    assert total == 40


def test_the_seed_decides_what_is_written(tmp_path: Path) -> None:
    """Equal seeds give equal lines, another seed gives others."""
    seen = []
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        clock = Clock()
        made = generator(tmp_path / name, clock, seed=seed)
        run_lines(made, clock, 300)
        made.close()
        seen.append(written(tmp_path / name, "combined"))
    assert seen[0] == seen[1]
    assert seen[0] != seen[2]


@pytest.mark.parametrize(("is_exception", "mark"), [(True, "exception"), (False, "rejection")])
def test_crashes_have_the_shape_of_winstons(is_exception: bool, mark: str) -> None:
    """The keys are those that Winston's handlers write, with JavaScript's date and no timestamp."""
    moment = datetime.fromtimestamp(NOON, UTC)
    line = Lines(random=random.Random(1)).crash(moment, is_exception=is_exception)
    assert line[mark] is True
    assert line["date"] == "Mon Nov 23 2026 12:00:00 GMT+0000 (Coordinated Universal Time)"
    assert "timestamp" not in line
    assert {"level", "message", "stack", "process", "os", "trace", "error"} <= set(line)
    assert line["trace"][0]["function"] == "PatientsService.findOne"


def test_run_writes_until_it_is_stopped(tmp_path: Path) -> None:
    """The thread's loop goes on until the event is set, and leaves no file open behind it."""
    ticks = itertools.count()
    made = Generator(directory=tmp_path, clock=lambda: NOON, monotonic=lambda: next(ticks) / 100, rate=1000)
    stop = threading.Event()
    thread = threading.Thread(target=made.run, args=(stop,))
    thread.start()
    is_written = _wait_for(lambda: (tmp_path / "combined-2026-11-23.log").exists())
    stop.set()
    thread.join(timeout=10)
    assert is_written
    assert not thread.is_alive()
    assert made.stats.lines["combined"] == len(written(tmp_path, "combined"))


def _wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    waiting = threading.Event()
    for _ in range(int(seconds / 0.01)):
        if condition():
            return True
        waiting.wait(0.01)
    return False
