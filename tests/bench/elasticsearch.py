"""`python -m bench.elasticsearch`: a writer at 10,000 lines a second into a real Elasticsearch; who takes how much CPU?

The shipper follows the file live, with everything at its defaults. In the end the server must have every line.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from harness.process import wait_until
from harness.servers import Server

from bench import report
from bench.lines import request_line
from bench.measure import COMMAND, cpu_seconds, environment, resident_mb

PIECE_SECONDS = 0.1
LINES_KEPT = 20_000
WARM_SECONDS = 5
HEAD = ("", "CPU s a million lines", "% of a core at that rate", "resident MB", "the last line s later")


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=10_000, help="lines a second")
    parser.add_argument("--seconds", type=int, default=30, help="how long it is measured, after 5 seconds to get warm")
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    parser.add_argument("--flavour", default="elasticsearch-8", help="or elasticsearch-9, opensearch-2, …")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as name,
        Server(options.flavour, heap_mb=1024, is_full_speed=True) as server,
    ):
        rows = measure(Path(name), server, rate=options.rate, seconds=options.seconds)
    print(report.as_text(HEAD, rows))
    if options.write:
        how = f'make bench-elasticsearch ARGS="--rate {options.rate} --seconds {options.seconds}"'
        report.write("elasticsearch", HEAD, rows, how=how)


def measure(directory: Path, server: Server, *, rate: int, seconds: int) -> list[tuple[str, ...]]:
    """One run: warm up, measure, wait for the last document. The rows of HEAD."""
    log = directory / "requests.log"
    log.touch()
    (directory / "shipper.yml").write_text(
        f"state: state\nsources: [{{name: bench, paths: [{log}]}}]\nmetrics: {{listen: 127.0.0.1:0}}\n"
        f"output: {{elasticsearch: {{hosts: [{server.url}]}}}}\n"
    )
    run([*COMMAND, "setup", "-c", "shipper.yml"], directory)
    with (directory / "log").open("wb") as errors:
        process = subprocess.Popen(
            [*COMMAND, "run", "-c", "shipper.yml"], cwd=directory, stdout=errors, stderr=errors, env=environment()
        )
    try:
        written = write(log, rate=rate, seconds=WARM_SECONDS)
        wait_delivered(server, written)
        pids = {"shipper": process.pid, server.flavour: server.pid or 0}
        before = {who: cpu_seconds(pid) for who, pid in pids.items()}
        measured = write(log, rate=rate, seconds=seconds)
        ended = time.monotonic()
        wait_delivered(server, written + measured)
        late = time.monotonic() - ended
        used = {who: cpu_seconds(pid) - before[who] for who, pid in pids.items()}
        resident = resident_mb(process.pid)
    finally:
        process.terminate()
        process.wait()
    print(f"{measured:,} lines written in {seconds} s; all are there, the last ones {late:.0f} s later")
    memory = {"shipper": f"{resident:.0f}"}
    return [
        (who, f"{cpu / measured * 1e6:.1f}", f"{100 * cpu / measured * rate:.1f}", memory.get(who, ""), f"{late:.0f}")
        for who, cpu in used.items()
    ]


def wait_delivered(server: Server, count: int) -> None:
    """Waits until the server has so many documents; asks seldom, because the answer costs it something."""
    wait_until(
        lambda: server.count("logs-*") == count, what=f"{count:,} documents", timeout_seconds=300, poll_seconds=1.0
    )


def run(command: list[str], directory: Path) -> None:
    """Runs a command that must succeed."""
    subprocess.run(command, cwd=directory, env=environment(), check=True, capture_output=True)


def write(log: Path, *, rate: int, seconds: float) -> int:
    """Appends lines at this rate, ten times a second; returns how many. Lines are made before, and repeat."""
    chance = random.Random(1)
    begin = datetime(2024, 1, 15, 10, tzinfo=UTC)
    lines = [request_line(chance, begin + timedelta(milliseconds=n)).encode() for n in range(LINES_KEPT)]
    each = max(int(rate * PIECE_SECONDS), 1)
    pieces = [b"".join(lines[n : n + each]) for n in range(0, LINES_KEPT - each + 1, each)]
    begun = time.monotonic()
    count = 0
    with log.open("ab") as file:
        while (late := time.monotonic() - begun) < seconds:
            file.write(pieces[count // each % len(pieces)])
            file.flush()
            count += each
            time.sleep(max(count / rate - late, 0.0))
    return count


if __name__ == "__main__":
    main()
