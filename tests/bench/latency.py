"""How long after it was written a line is in `/metrics`, and on the server: the 50th and 99th of a hundred."""

from __future__ import annotations

import re
import tempfile
import time
import urllib.request
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from harness.process import free_port
from harness.sink import Sink

from bench.measure import configuration, daemon
from bench.standing import Row
from bench.writer import moments, writing

POLL_SECONDS = 0.05
LATEST_SECONDS = 30.0

Sample = tuple[float, int]
"""A moment (monotonic) and how many lines had arrived by then."""


def rows(*, lines_a_second: int, seconds: float) -> Iterator[Row]:
    """Both ways, at the same time."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="bench-") as name, Sink(discard=True) as sink:
        directory = Path(name)
        (directory / "logs").mkdir()
        log = directory / "logs" / "app.log"
        text = configuration(logs=directory / "logs", state=directory / "state", url=sink.url)
        (directory / "shipper.yml").write_text(text + f"metrics: {{listen: 127.0.0.1:{port}}}\n")
        ways = {"/metrics": lambda: _counted(port), "the server": lambda: int(sink.stats()["documents"])}
        seen: dict[str, list[Sample]] = {way: [] for way in ways}
        with daemon(directory, "-c", "shipper.yml"):
            _wait_ready(port)
            with writing(log, lines_a_second=lines_a_second):
                _poll(ways, seen, until=time.monotonic() + seconds)
            _poll(ways, seen, until=time.monotonic() + 5)
        written = moments(log)
    for way, samples in seen.items():
        delays = sorted(delays_of(written, samples))
        shown = f"p50 {delays[len(delays) // 2]:.2f} s, p99 {delays[len(delays) * 99 // 100]:.2f} s"
        yield Row(f"from a line to {way}, {lines_a_second:,} lines a second", shown, "p99 at most 1.2 s")


def delays_of(written: Sequence[Sample], seen: Sequence[Sample]) -> list[float]:
    """For each write the seconds until a sample had all lines up to it. Raises RuntimeError if one never had."""
    counts = [count for _, count in seen]
    delays = []
    for moment, count in written:
        at = bisect_left(counts, count)
        if at == len(counts):
            raise RuntimeError(f"line {count} did not arrive; the last sample has {counts[-1] if counts else 0}")
        delays.append(seen[at][0] - moment)
    return delays


def _poll(ways: dict[str, Callable[[], int]], seen: dict[str, list[Sample]], *, until: float) -> None:
    while time.monotonic() < until:
        for way, ask in ways.items():
            count = ask()
            seen[way].append((time.monotonic(), count))
        time.sleep(POLL_SECONDS)


def _counted(port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics?collect=rules", timeout=10) as answer:
        text = answer.read().decode()
    return sum(int(number) for number in re.findall(r"^http_requests_total\{.*\} (\d+)$", text, re.MULTILINE))


def _wait_ready(port: int) -> None:
    deadline = time.monotonic() + LATEST_SECONDS
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(POLL_SECONDS)
        else:
            return
