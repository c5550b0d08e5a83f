"""Prometheus history, in a real Prometheus: what it has of a replayed week adds up to the lines; and the seam."""

from __future__ import annotations

import gzip
import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from command import Running, run_to_end
from disks import small_disk
from harness.missing import MissingError
from harness.process import free_port, wait_until
from harness.prometheus import Prometheus, Series, missing
from replays import BEGIN, line_of, replay

NAMES = (
    "http_requests_total",
    "http_request_duration_seconds_count",
    'http_request_duration_seconds_bucket{le="+Inf"}',
)


@pytest.fixture(autouse=True)
def _has_prometheus() -> None:
    if reason := missing():
        raise MissingError(reason)


def increase_of(series: Series) -> float:
    """What a series has gone up by, from its first sample on; a lower value is a restart from 0."""
    values = [value for _, value in series.points]
    assert values[0] == 0
    return sum(after - before if after >= before else after for before, after in pairwise(values))


def total_of(server: Prometheus, name: str, *, at: float) -> float:
    selector = name if name.endswith("}") else f"{name}{{}}"
    return sum(map(increase_of, server.raw(f"{selector}[30d]", at)))


def week_of(directory: Path, *, end: datetime, lines: int) -> int:
    """A week of daily logs that end just before `end`, unevenly; returns how many lines there are."""
    directory.mkdir(exist_ok=True)
    count = 0
    for day in range(7):
        last = end - timedelta(days=6 - day)
        texts = []
        for i in range(lines):
            moment = last - timedelta(seconds=(lines - 1 - i) ** 1.2 * 7)
            texts.append(line_of(count, moment, statusCode=(200, 200, 404, 500)[i % 4], url=f"/api/{day % 3}s/{i}"))
            count += 1
        (directory / f"combined-{last:%Y-%m-%d}.log").write_bytes(b"".join(text + b"\n" for text in texts))
    return count


def test_a_week_in_blocks_is_as_many_as_its_lines(tmp_path: Path, prometheus: Callable[..., Prometheus]) -> None:
    """Plain and zipped, one day there twice: differences of samples add up to the lines, and so does `increase`."""
    count = week_of(tmp_path / "logs", end=BEGIN, lines=400)
    for path in sorted((tmp_path / "logs").iterdir())[:3]:
        zipped = path.with_name(f"{path.name}.gz")
        zipped.write_bytes(gzip.compress(path.read_bytes()))
        if path.name != "combined-2024-01-09.log":
            path.unlink()

    done = replay("logs", "--no-ship", "--metrics", "history", "--blocks", "tsdb", "--step", "300", directory=tmp_path)

    assert done.code == 0, done.errors
    assert done.ledger["metrics"]["counted"] == count
    assert len(done.ledger["metrics"]["files"]) == 7
    server = prometheus(blocks=tmp_path / "tsdb")
    at = BEGIN.timestamp() + 300
    assert [total_of(server, name, at=at) for name in NAMES] == [count] * 3
    # A second more, for the sample at the left end: Prometheus 3 leaves it out of [2h].
    increase = server.value("sum(increase(http_requests_total[2h1s]))", time=at)
    recent = sum(
        json.loads(line)["timestamp"] > f"{BEGIN - timedelta(minutes=115):%Y-%m-%dT%H:%M:%S}"
        for line in (tmp_path / "logs/combined-2024-01-15.log").read_text().splitlines()
    )
    assert increase == pytest.approx(recent, rel=0.05)


def test_values_stand_under_their_labels(tmp_path: Path) -> None:
    """Whatever the order in which the rule has them."""
    rule = "{name: a_total, type: counter, labels: {status: statusCode, by: method}}"
    (tmp_path / "r.yml").write_text(f"rules: [{rule}]\n")
    (tmp_path / "s.yml").write_text("sources: [{name: s, paths: [a.log]}]\nmetrics: {rules: [r.yml]}\n")
    (tmp_path / "a.log").write_bytes(line_of(0, BEGIN, statusCode=204, method="PUT") + b"\n")
    done = replay("a.log", "-c", "s.yml", "--no-ship", "--metrics", "history", directory=tmp_path)
    assert done.code == 0, done.errors
    text = "".join(path.read_text() for path in (tmp_path / "history").glob("*.om"))
    assert 'a_total{by="PUT",status="204"} 1 ' in text


def test_history_and_a_live_daemon_meet_at_the_seam(tmp_path: Path, prometheus: Callable[..., Prometheus]) -> None:
    """The daemon counts from where it began, history up to there: the same series, nothing twice, nothing missing."""
    end = datetime.now(UTC) - timedelta(seconds=1)
    count = week_of(tmp_path / "logs", end=end, lines=300)
    address = f"127.0.0.1:{free_port()}"
    with Running("logs/", "--output", "out", "--listen", address, directory=tmp_path) as daemon:
        live_file = max((tmp_path / "logs").iterdir())
        with live_file.open("ab") as file:
            file.writelines(line_of(count + i, datetime.now(UTC), url=f"/api/0s/{i}") + b"\n" for i in range(37))
        daemon.wait_for(lambda: daemon.metric("http_requests_total") == 37, "live lines")
        labels = ("--label", "job=test", "--label", f"instance={address}")

        done = replay(
            *("logs", "--no-ship", "--state", "out/.shipper", "--step", "300"),
            *("--blocks", "tsdb", *labels),
            directory=tmp_path,
        )

        assert done.code == 0, done.errors
        assert done.ledger["metrics"]["counted"] == count
        server = prometheus(blocks=tmp_path / "tsdb", targets=[address])
        server.wait_for("up == 1")
        with live_file.open("ab") as file:
            file.writelines(line_of(count + i, datetime.now(UTC), url=f"/api/0s/{i}") + b"\n" for i in range(50))
        daemon.wait_for(lambda: daemon.metric("http_requests_total") == 87, "more live lines")
        wait_until(
            lambda: (
                server.value("sum(http_requests_total)") is not None
                and total_of(server, "http_requests_total", at=time.time()) >= count + 50
            ),
            what="all lines in Prometheus",
            timeout_seconds=60,
        )
        totals = [total_of(server, name, at=time.time()) for name in NAMES]
        series = server.raw("http_requests_total[30d]", time.time())
        assert daemon.stop() == 0

    assert totals == [count + 87] * 3
    assert {row.labels["instance"] for row in series} == {address}


def test_killed_while_counting_it_counts_each_line_once(tmp_path: Path) -> None:
    """A run that ends in the midst keeps what it has counted; the files are those of a run without a stop."""
    week_of(tmp_path / "logs", end=BEGIN, lines=300)
    arguments = ("logs", "--no-ship", "--step", "300", "--metrics")

    whole = replay(*arguments, "whole", directory=tmp_path)
    codes = [
        run_to_end(
            "replay", *arguments, "stopped", directory=tmp_path, SHIPPER_FAILPOINT=f"tallies.before_commit:{n}"
        ).returncode
        for n in (2, 2, 3)
    ]
    done = replay(*arguments, "stopped", directory=tmp_path)

    assert codes == [-signal.SIGKILL] * 3
    assert (whole.code, done.code) == (0, 0), done.errors
    assert counts_in(tmp_path / "stopped") == counts_in(tmp_path / "whole")


def counts_in(directory: Path) -> dict[str, list[str]]:
    """The lines of all files; sums of durations are added in another order, so their last digits may differ."""
    return {
        path.name: [line for line in path.read_text().splitlines() if "_sum{" not in line]
        for path in directory.iterdir()
    }


@pytest.fixture
def history(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own."""
    with small_disk(tmp_path / "history", size="1m") as place:
        yield place


def test_a_full_disk_leaves_no_half_file(tmp_path: Path, history: Path) -> None:
    """Exit 1, naming the file; what was counted is kept, so that the same command writes it where there is room."""
    week_of(tmp_path / "logs", end=BEGIN, lines=200)
    arguments = ("replay", "logs", "--no-ship", "--step", "600", "--metrics", "history")

    full = run_to_end(*arguments, directory=tmp_path)

    assert full.returncode == 1, full.stderr
    assert "cannot write" in full.stderr
    assert "make room" in full.stderr
    assert not list(history.glob("*.new"))
    subprocess.run(["mount", "-o", "remount,size=64m", str(history)], check=True)
    again = run_to_end(*arguments, directory=tmp_path)
    assert again.returncode == 0, again.stderr
    assert len(list(history.glob("*.om"))) == 7


REFUSED = {
    "shards": (["--metrics", "history", "--shard", "0/2"], "--shard"),
    "standard input": (["--metrics", "history", "-", "--stem", "a.log"], "standard input"),
    "labels alone": (["--label", "job=test"], "--label"),
    "a bad label": (["--metrics", "history", "--label", "no-name"], "--label"),
    "a taken label": (["--metrics", "history", "--label", "status=1"], "--label"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_history_cannot_be_made_of_is_said(tmp_path: Path, case: str) -> None:
    """Exit 2, naming the option, before anything is read."""
    arguments, named = REFUSED[case]
    (tmp_path / "app.log").write_bytes(line_of(0, BEGIN) + b"\n")

    done = run_to_end("replay", "app.log", "--no-ship", *arguments, directory=tmp_path)

    assert done.returncode == 2, done.stderr
    assert named in done.stderr
    assert not (tmp_path / "history").exists()
