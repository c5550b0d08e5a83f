"""`python -m bench.replay [--quick]`: gzip archives into a bulk sink on loopback, by one worker and by two.

The workers have two cores, which they share with the sink; the CPU seconds are those of all processes of the replay.
How many cores were at work, with the sink's, says whether workers wait for one another (fewer than one each), or others
had the cores. One worker compresses and sends in threads of its own, so it keeps more than one core busy; the last
lines say what that leaves for a second one.
"""

from __future__ import annotations

import argparse
import gzip
import os
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from harness.sink import Sink

from bench.lines import write_lines
from bench.measure import COMMAND, cost_of, cpu_seconds

FILES = 8


class Run(NamedTuple):
    """One replay: CPU seconds and peak of its processes, CPU seconds of the sink."""

    wall_seconds: float
    cpu_seconds: float
    peak_mb: float
    sink_seconds: float

    @property
    def cores(self) -> float:
        """How many were at work, with the sink's."""
        return (self.cpu_seconds + self.sink_seconds) / self.wall_seconds


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
        runs_of: dict[int, list[Run]] = {1: [], 2: []}
        for _ in range(runs):  # by turns, so that what else the machine does falls on both
            for workers, done in runs_of.items():
                done.append(replay_once(archive, lines=count, workers=workers))
        medians = {workers: median_of(done) for workers, done in runs_of.items()}
        for workers, one in medians.items():
            print(
                f"{workers:7}  {one.wall_seconds:6.2f}  {count / one.wall_seconds:7,.0f}  {one.cpu_seconds:5.2f}  "
                f"{count / one.cpu_seconds:15,.0f}  {one.peak_mb:17.0f}  {one.sink_seconds:10.2f}  {one.cores:5.2f}",
                flush=True,
            )
        print("\n".join(verdict(medians[1], medians[2], cores=len(os.sched_getaffinity(0)))))


def median_of(runs: Sequence[Run]) -> Run:
    """The median of each figure, and the highest peak."""
    wall, cpu, _, sink = (statistics.median(column) for column in zip(*runs, strict=True))
    return Run(wall, cpu, max(run.peak_mb for run in runs), sink)


def verdict(one: Run, two: Run, *, cores: int) -> list[str]:
    """How two workers do beside one, and how they could do at most where one keeps more than one core busy."""
    lines = [f"two workers are {one.wall_seconds / two.wall_seconds:.2f} times as fast as one"]
    lines.append(f"they take {two.cpu_seconds / one.cpu_seconds:.2f} times its CPU seconds")
    if one.cores > 1:
        most = cores * one.wall_seconds / (two.cpu_seconds + two.sink_seconds)
        lines.append(
            f"one, with the sink, keeps {one.cores:.2f} cores busy: with these CPU seconds, {cores} cores that never "
            f"idle would make two {most:.2f} times as fast"
        )
    return lines


def write_archive(directory: Path, count: int) -> None:
    """The lines of so many files of one log, compressed."""
    for number in range(FILES):
        plain = directory / f"combined-2024-01-{15 + number}.log"
        write_lines(plain, count // FILES, seed=number)
        plain.with_name(f"{plain.name}.gz").write_bytes(gzip.compress(plain.read_bytes(), 6))
        plain.unlink()


def replay_once(archive: Path, *, lines: int, workers: int) -> Run:
    """One replay into a sink that only counts, with a fresh state."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name, Sink(discard=True) as sink:
        command = [*COMMAND, "replay", str(archive), "--output", sink.url, "--workers", str(workers)]
        before = cpu_seconds(sink.pid)
        cost = cost_of([*command, "--state", f"{name}/state"], core=None, directory=Path(name))
        beside = cpu_seconds(sink.pid) - before
        accepted = sink.stats()["documents"]
        if accepted != lines:
            raise RuntimeError(f"the sink got {accepted} documents of {lines}")
        return Run(cost.wall_seconds, cost.cpu_seconds, cost.peak_mb, beside)


if __name__ == "__main__":
    main()
