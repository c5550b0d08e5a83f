"""What a daemon costs that runs on: idle, at a steady rate, under full load with a slow server, with little CPU."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from harness.sink import Fault, Sink

from bench.lines import write_lines
from bench.measure import configuration, cpu_seconds, daemon, peak_mb, resident_mb, settle, share_of_core
from bench.writer import writing
from shipper.looks import QUIET_SECONDS

CGROUPS = Path("/sys/fs/cgroup/cpu")
PERIOD_MICROSECONDS = 100_000


class Row(NamedTuple):
    """One line of the table."""

    title: str
    shown: str
    goal: str


def rows(*, seconds: float) -> Iterator[Row]:
    """Everything, one after another; `seconds` each."""
    for files, goal in ((200, "0.1 %, 42 MB"), (10_000, "1 %")):
        yield idle(files=files, seconds=seconds, goal=goal)
    yield steady(lines_a_second=200, seconds=seconds)
    yield loaded(files=1_000, seconds=seconds)
    yield limited(lines_a_second=2_000, share=0.1, seconds=seconds)


@contextmanager
def _directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        (directory / "logs").mkdir()
        yield directory


def idle(*, files: int, seconds: float, goal: str) -> Row:
    """Nothing to do, and that for a while: share of a core, and resident memory."""
    with _directory() as directory:
        for i in range(files):
            line = f'{{"timestamp":"2024-01-15T10:30:45.123Z","requestId":"{i}"}}\n'
            (directory / "logs" / f"app{i}-x.log").write_text(line)
        with daemon(directory, "logs", "--listen", "127.0.0.1:0") as pid:
            settle(pid)
            time.sleep(QUIET_SECONDS)
            share = share_of_core(pid, seconds=seconds)
            return Row(f"idle, {files:,} files", f"{share * 100:.2f} % of a core, {resident_mb(pid):.0f} MB", goal)


def steady(*, lines_a_second: int, seconds: float) -> Row:
    """Some lines a second into one file, shipped to the sink: share of a core."""
    with _directory() as directory, Sink(discard=True) as sink:
        logs = directory / "logs" / "app.log"
        _configure(directory, sink)
        with writing(logs, lines_a_second=lines_a_second), daemon(directory, "-c", "shipper.yml") as pid:
            while not sink.stats()["documents"]:  # a start on a busy machine takes longer than any fixed time
                time.sleep(0.5)
            time.sleep(5)
            share = share_of_core(pid, seconds=seconds)
        return Row(f"{lines_a_second:,} lines a second into one file", f"{share * 100:.2f} % of a core", "1 %")


def loaded(*, files: int, seconds: float) -> Row:
    """A backlog in many files, and a server that takes a second for each request: the most memory it ever has."""
    with _directory() as directory, Sink(discard=True) as sink:
        sink.fault(Fault("slow", seconds=1.0))
        first = directory / "logs" / "app0-x.log"
        write_lines(first, 1_000)
        for i in range(1, files):
            write_lines(directory / "logs" / f"app{i}-x.log", 1_000, seed=i)
        _configure(directory, sink)
        with daemon(directory, "-c", "shipper.yml") as pid:
            time.sleep(seconds)
            return Row(f"backlog in {files:,} files, a second a request", f"{peak_mb(pid):.0f} MB at most", "80 MB")


def limited(*, lines_a_second: int, share: float, seconds: float) -> Row:
    """A CPU limit as a container has it: how much is left to ship after some time of writing."""
    title = f"limited to {share:g} of a core, {lines_a_second:,} lines a second"
    if not (CGROUPS.is_dir() and os.access(CGROUPS, os.W_OK)):
        return Row(title, "not measured: no cgroup that may be written", "keeps up")
    with _directory() as directory, Sink(discard=True) as sink, _cpu_limit(share) as group:
        _configure(directory, sink)
        with daemon(directory, "-c", "shipper.yml") as pid:
            settle(pid)
            (group / "tasks").parent.joinpath("cgroup.procs").write_text(str(pid))
            before = cpu_seconds(pid)
            with writing(directory / "logs" / "app.log", lines_a_second=lines_a_second) as written:
                time.sleep(seconds)
                behind = written() - sink.stats()["documents"]
            used = (cpu_seconds(pid) - before) / seconds
            return Row(title, f"{behind / lines_a_second:.1f} s behind, {used * 100:.1f} % of a core", "keeps up")


@contextmanager
def _cpu_limit(share: float) -> Iterator[Path]:
    group = CGROUPS / f"shipper-bench-{os.getpid()}"
    group.mkdir()
    try:
        (group / "cpu.cfs_period_us").write_text(str(PERIOD_MICROSECONDS))
        (group / "cpu.cfs_quota_us").write_text(str(int(PERIOD_MICROSECONDS * share)))
        yield group
    finally:
        for pid in (group / "cgroup.procs").read_text().split():
            (CGROUPS / "cgroup.procs").write_text(pid)
        group.rmdir()


def _configure(directory: Path, sink: Sink) -> None:
    text = configuration(logs=directory / "logs", state=directory / "state", url=sink.url)
    (directory / "shipper.yml").write_text(text + "metrics: {listen: 127.0.0.1:0}\n")
