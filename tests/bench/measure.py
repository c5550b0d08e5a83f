"""Runs the installed command as a whole process and takes the operating system's account of it."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from harness.sink import Sink

CHECKOUT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{CHECKOUT}{os.pathsep}{CHECKOUT / 'tests'}"}
COMMAND = [sys.executable, "-c", "from shipper.cli import main; main()"]


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run of a process took."""

    cpu_seconds: float
    wall_seconds: float
    peak_mb: float


def pinned(command: list[str], core: int | None) -> list[str]:
    """The command on one core, the others being left to its counterpart."""
    return command if core is None else ["taskset", "--cpu-list", str(core), *command]


def cost_of(command: list[str], *, core: int | None, directory: Path) -> Cost:
    """Runs a command to its end. Raises RuntimeError if it fails."""
    log = directory / "log"
    with log.open("wb") as errors:
        started = time.monotonic()
        process = subprocess.Popen(pinned(command, core), stdout=errors, stderr=errors, cwd=directory, env=ENVIRONMENT)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{log.read_text()[-2000:]}")
    return Cost(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / 1024)


def ship_once(path: Path, *, lines: int, config: str, core: int | None, source: str = "") -> Cost:
    """Ships a file once into a sink that only counts, with a fresh state; `config` is for `output.elasticsearch`,
    `source` (`, key: value`) for the source.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as name, Sink(discard=True) as sink:
        directory = Path(name)
        if core is not None and (cores := os.sched_getaffinity(0) - {core}):
            os.sched_setaffinity(sink.pid, cores)
        (directory / "shipper.yml").write_text(
            f"state: {directory}/state\nsources: [{{name: bench, paths: [{path}]{source}}}]\n"
            f"output: {{elasticsearch: {{hosts: [{sink.url}], {config}}}}}\n"
        )
        cost = cost_of([*COMMAND, "run", "-c", "shipper.yml", "--once"], core=core, directory=directory)
        accepted = sink.stats()["documents"]
        if accepted != lines:
            raise RuntimeError(f"the sink got {accepted} documents of {lines}")
        return cost


def reference_seconds(path: Path, *, core: int | None) -> float:
    """CPU microseconds a line of the reference loop."""
    command = pinned([sys.executable, "-m", "bench.reference", str(path)], core)
    return float(subprocess.run(command, check=True, capture_output=True, text=True, env=ENVIRONMENT).stdout)


def idle(*, files: int, seconds: float) -> tuple[float, float]:
    """Share of a core, and resident MB, of a daemon that follows `files` files and has nothing to do."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        (directory / "logs").mkdir()
        for i in range(files):
            line = f'{{"timestamp":"2024-01-15T10:30:45.123Z","requestId":"{i}"}}\n'
            (directory / "logs" / f"app{i}-x.log").write_text(line)
        command = [*COMMAND, "run", "logs", "--listen", "127.0.0.1:0"]
        with (directory / "log").open("wb") as errors:
            process = subprocess.Popen(command, cwd=directory, stdout=errors, stderr=errors, env=ENVIRONMENT)
        try:
            _settle(process.pid)
            before, begun = cpu_seconds_of(process.pid), time.monotonic()
            time.sleep(seconds)
            share = (cpu_seconds_of(process.pid) - before) / (time.monotonic() - begun)
            return share, resident_mb_of(process.pid)
        finally:
            process.terminate()
            process.wait()


def _settle(pid: int) -> None:
    """Waits until it has read what there was: until its CPU time stands still."""
    last = -1.0
    while (now := cpu_seconds_of(pid)) - last > 0.02:
        last = now
        time.sleep(2)


def cpu_seconds_of(pid: int) -> float:
    """CPU seconds that a running process has taken so far, its ended threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb_of(pid: int) -> float:
    """MB of memory that a running process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize() / (1 << 20)
