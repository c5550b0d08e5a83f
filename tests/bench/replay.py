"""`python -m bench.replay [--quick]`: gzip archives into a bulk sink on loopback, by one worker and by two.

The workers have two cores, which they share with the sink; the CPU seconds are those of all processes of the replay.
How many cores were at work, with the sink's, says whether workers wait for one another (fewer than one each), or others
had the cores. One worker compresses and sends in threads of its own, so it keeps more than one core busy.
"""

from __future__ import annotations

import argparse
import gzip
import statistics
import tempfile
from pathlib import Path

from harness.sink import Sink

from bench.lines import write_lines
from bench.measure import COMMAND, Cost, cost_of, cpu_seconds

FILES = 8


def main() -> None:
    """Prints a table of medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer lines and one run")
    parser.add_argument("--lines", type=int, default=0)
    parser.add_argument("--runs", type=int, default=0)
    options = parser.parse_args()
    count = options.lines or (200_000 if options.quick else 1_000_000)
    runs = options.runs or (1 if options.quick else 3)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        archive = Path(name) / "archive"
        archive.mkdir()
        write_archive(archive, count)
        print(f"{count:,} request lines in {FILES} gzip files, {runs} runs, shipped with gzip", flush=True)
        titles = (
            "workers",
            "wall s",
            "lines/s",
            "CPU s",
            "lines per CPU s",
            "peak MB a process",
            "sink CPU s",
            "cores",
        )
        print("  ".join(titles))
        wall = {}
        for workers in (1, 2):
            runs_of = [replay_once(archive, lines=count, workers=workers) for _ in range(runs)]
            costs = [cost for cost, _ in runs_of]
            beside = statistics.median(sink for _, sink in runs_of)
            wall[workers] = statistics.median(cost.wall_seconds for cost in costs)
            cpu = statistics.median(cost.cpu_seconds for cost in costs)
            peak = max(cost.peak_mb for cost in costs)
            rate = count / wall[workers]
            print(
                f"{workers:7}  {wall[workers]:6.2f}  {rate:7,.0f}  {cpu:5.2f}  {count / cpu:15,.0f}  {peak:17.0f}  "
                f"{beside:10.2f}  {(cpu + beside) / wall[workers]:5.2f}",
                flush=True,
            )
        print(f"two workers are {wall[1] / wall[2]:.2f} times as fast as one")


def write_archive(directory: Path, count: int) -> None:
    """The lines of so many files of one log, compressed."""
    for number in range(FILES):
        plain = directory / f"combined-2024-01-{15 + number}.log"
        write_lines(plain, count // FILES, seed=number)
        plain.with_name(f"{plain.name}.gz").write_bytes(gzip.compress(plain.read_bytes(), 6))
        plain.unlink()


def replay_once(archive: Path, *, lines: int, workers: int) -> tuple[Cost, float]:
    """One replay into a sink that only counts, with a fresh state, and the CPU seconds of the sink."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name, Sink(discard=True) as sink:
        command = [*COMMAND, "replay", str(archive), "--output", sink.url, "--workers", str(workers)]
        before = cpu_seconds(sink.pid)
        cost = cost_of([*command, "--state", f"{name}/state"], core=None, directory=Path(name))
        beside = cpu_seconds(sink.pid) - before
        accepted = sink.stats()["documents"]
        if accepted != lines:
            raise RuntimeError(f"the sink got {accepted} documents of {lines}")
        return cost, beside


if __name__ == "__main__":
    main()
