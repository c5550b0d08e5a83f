"""`python -m bench.files [--quick]`: what many files cost: starting, committing, reading fairly, and doing nothing.

Prints each beside the bound that it is to keep, most of it in CPU seconds: others may use the machine meanwhile.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from pathlib import Path

from harness.world import World

from bench.measure import COMMAND, cost_of, cpu_seconds, daemon, peak_mb, resident_mb, settle, share_of_core
from shipper.batch import Batch, Mark
from shipper.state import Commit, FileRecord, State, open_state

FIRST = '{{"timestamp":"2024-01-15T10:30:45.123Z","requestId":"{}"}}\n'


def main() -> None:
    """Prints a line for each bound."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the files, and shorter: about 20 seconds")
    options = parser.parse_args()
    files, idle_seconds = (1000, 5) if options.quick else (10_000, 60)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        report(*starting(Path(name), files))
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        report(*committing(Path(name), known=files, changed=1000))
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        report(*reading(Path(name), files, open_limit=files // 5))
    for count, most in ((files, 1.0), (200, 0.1)):
        with tempfile.TemporaryDirectory(prefix="bench-") as name:
            report(*resting(Path(name), count, seconds=idle_seconds, most_percent=most))


def report(*rows: str) -> None:
    print("\n".join(rows), flush=True)


def write_files(directory: Path, count: int, *, lines: int = 1) -> None:
    directory.mkdir(exist_ok=True)
    for number in range(count):
        text = "".join(FIRST.format(f"{number}-{line}") for line in range(lines))
        (directory / f"app{number}-x.log").write_text(text)


def starting(directory: Path, files: int) -> list[str]:
    """A daemon that knows all of them already; until everything is looked at and the state is committed."""
    write_files(directory / "logs", files)
    first = cost_of([*COMMAND, "run", "logs", "--once"], core=None, directory=directory)
    again = cost_of([*COMMAND, "run", "logs", "--once"], core=None, directory=directory)
    seconds, cpu_seconds, resident = _until_ready(directory)
    return [
        f"first run over {files:,} files: {first.cpu_seconds:.2f} s CPU, peak {first.peak_mb:.0f} MB",
        f"--once again, all known: {again.cpu_seconds:.2f} s CPU, peak {again.peak_mb:.0f} MB",
        (
            f"start with {files:,} known files, until all are followed: {seconds:.2f} s, {cpu_seconds:.2f} s CPU "
            f"(at most 3 s), peak {resident:.0f} MB (at most 120 MB)"
        ),
    ]


def _until_ready(directory: Path) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds and peak MB until the log tells that all files are followed."""
    started = time.monotonic()
    with daemon(directory, "logs", "--listen", "127.0.0.1:0") as pid:
        while b"files more" not in (directory / "log").read_bytes():
            time.sleep(0.02)
        return time.monotonic() - started, cpu_seconds(pid), peak_mb(pid)


def resting(directory: Path, files: int, *, seconds: float, most_percent: float) -> list[str]:
    """A daemon with nothing to do."""
    write_files(directory / "logs", files)
    with daemon(directory, "logs", "--listen", "127.0.0.1:0") as pid:
        settle(pid)
        percent = share_of_core(pid, seconds=seconds) * 100
        resident = resident_mb(pid)
    return [f"idle with {files:,} files: {percent:.2f} % of a core (at most {most_percent} %), {resident:.0f} MB"]


def committing(directory: Path, *, known: int, changed: int) -> list[str]:
    """Commits of a state that knows few or many files, of which some have changed."""
    state = open_state(directory)
    rows = []
    for total in (changed, known):
        state.commit(Commit(files=[_record(number) for number in range(1, total + 1)]))
        spent = statistics.median(_commit(state, changed, turn) for turn in range(20))
        bound = " (at most 5 ms)" if changed == 1000 else ""
        rows.append(f"commit of {changed:,} changed files, {total:,} known: {spent * 1000:.2f} ms CPU{bound}")
    state.close()
    return rows


def _commit(state: State, changed: int, turn: int) -> float:
    commit = Commit(files=[_record(number, turn + 1) for number in range(1, changed + 1)])
    before = time.thread_time()
    state.commit(commit)
    return time.thread_time() - before


def _record(number: int, turn: int = 0) -> FileRecord:
    at = 100_000 + turn * 1000
    return FileRecord(
        id=number,
        source="app",
        path=f"/var/log/app/app{number}-2024-01-15.log",
        device=2049,
        inode=number * 7,
        identity=f"{number:012x}",
        size=at,
        mtime_ns=1_700_000_000_000_000_000 + turn,
        observed=at,
        observed_from=0,
        shipped=at,
        shipped_from=0,
        last_time="2024-01-15T10:30:45.123Z",
        tail_start=None,
        marks=[Mark(1 << power, number * power) for power in range(10, 17)] + [Mark(at, turn)],
        is_gone=False,
        seen_at=1_700_000_000,
    )


def reading(directory: Path, files: int, *, open_limit: int) -> list[str]:
    """All of them have something to read, some of them much: when is the first batch of each handed over?"""
    world = World(directory, open_limit=open_limit)
    write_files(world.logs, files, lines=20)
    big = max(1, files // 1000)
    for number in range(big):
        world.path(f"app{number}-x.log").write_text(
            "".join(FIRST.format(f"{number}-{line}") for line in range(500_000 // big))
        )
    waited: dict[str, float] = {}
    most_open = 0
    started = time.thread_time()

    def note(batch: Batch) -> None:
        nonlocal most_open
        if batch.path not in waited:
            waited[batch.path] = time.thread_time() - started
            if len(waited) % 100 == 0:
                most_open = max(most_open, sum(1 for _ in Path("/proc/self/fd").iterdir()))

    with world:
        world.tally.observe = note  # type: ignore[method-assign]  # which lines they are does not matter here
        while len(waited) < files or any(each.shipped < each.size for each in world.pipeline.roster.all()):
            for _ in range(100):
                world.step()
        total = time.thread_time() - started
    times = sorted(waited.values())
    median = statistics.median(times)
    return [
        (
            f"{files:,} files with something to read, {big} of them much: the first batch of the median file after "
            f"{median:.2f} s CPU, of the last {times[-1]:.2f} s ({times[-1] / median:.1f} times, at most 5), all after "
            f"{total:.2f} s"
        ),
        f"open descriptors at most {most_open} with a limit of {open_limit}",
    ]


if __name__ == "__main__":
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    main()
