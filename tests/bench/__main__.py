"""`python -m bench [--quick]`: the whole pipeline into a bulk sink on loopback, beside a reference loop."""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from pathlib import Path

from bench.lines import write_requests
from bench.measure import idle, reference_seconds, ship_once

VARIANTS = {"no compression": "compression: none", "gzip": "compression: gzip"}


def main() -> None:
    """Prints a table of medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer lines and runs, nothing idle: about 20 seconds")
    parser.add_argument("--lines", type=int, default=0)
    parser.add_argument("--runs", type=int, default=0)
    options = parser.parse_args()
    count = options.lines or (200_000 if options.quick else 1_000_000)
    runs = options.runs or (3 if options.quick else 5)
    core = max(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        path = Path(name) / "requests.log"
        size = write_requests(path, count)
        print(f"{count:,} request lines of {size / count:.0f} bytes, {runs} runs, shipper on one core", flush=True)
        print(
            f"{'':16} {'CPU s a million lines':>22} {'spread':>14} {'of reference':>13} {'lines/s':>9} {'peak MB':>8}"
        )
        reference = [reference_seconds(path, core=core) for _ in range(runs)]
        print(f"{'reference loop':16} {statistics.median(reference):22.2f} {spread(reference):>14}", flush=True)
        for title, config in VARIANTS.items():
            costs = [ship_once(path, lines=count, config=config, core=core) for _ in range(runs)]
            seconds = [cost.cpu_seconds / count * 1e6 for cost in costs]
            ratio = statistics.median(seconds) / statistics.median(reference)
            rate = count / statistics.median(cost.wall_seconds for cost in costs)
            peak = max(cost.peak_mb for cost in costs)
            median = statistics.median(seconds)
            print(f"{title:16} {median:22.2f} {spread(seconds):>14} {ratio:13.2f} {rate:9,.0f} {peak:8.0f}", flush=True)
    if not options.quick:
        share, resident = idle(files=200, seconds=30)
        print(f"idle, 200 files: {share * 100:.2f} % of a core, {resident:.0f} MB")


def spread(values: list[float]) -> str:
    return f"{min(values):.2f}-{max(values):.2f}"


if __name__ == "__main__":
    main()
