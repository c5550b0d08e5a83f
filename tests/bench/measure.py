"""Runs the installed command as a whole process and takes the operating system's account of it."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness.sink import Sink

CHECKOUT = Path(__file__).parents[2]
INSTALLED = CHECKOUT / ".venv" / "bin" / "python"
"""Of the environment that has what a user's has: others' packages are imported where they are found (elastic-transport
takes `requests`, and with it 5 MB)."""
COMMAND = (
    str(INSTALLED if INSTALLED.exists() else sys.executable),
    "-c",
    "from shipper.cli import main; main()",
)
"""The checkout's code, wherever it runs: `environment` says so."""


@cache
def environment() -> Mapping[str, str]:
    """Of the measured processes. Their modules are compiled once, as an installation has them, wherever pytest and
    others are told to leave no such files.
    """
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    compiled = Path(tempfile.gettempdir()) / f"shipper-bench-{os.getuid()}"
    path = os.pathsep.join((str(CHECKOUT), str(CHECKOUT / "tests")))
    return {**kept, "PYTHONPATH": path, "PYTHONPYCACHEPREFIX": str(compiled)}


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run of a process took."""

    cpu_seconds: float
    wall_seconds: float
    peak_mb: float


def pinned(command: Sequence[str], core: int | None) -> list[str]:
    """The command on one core, the others being left to its counterpart."""
    return [*command] if core is None else ["taskset", "--cpu-list", str(core), *command]


def cost_of(command: Sequence[str], *, core: int | None, directory: Path) -> Cost:
    """Runs a command to its end. Raises RuntimeError if it fails."""
    log = directory / "log"
    with log.open("wb") as errors:
        started = time.monotonic()
        process = subprocess.Popen(
            pinned(command, core), stdout=errors, stderr=errors, cwd=directory, env=environment()
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{log.read_text()[-2000:]}")
    return Cost(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / 1024)


@contextmanager
def sink_beside(core: int | None) -> Iterator[Sink]:
    """A sink that only counts, kept away from the core that is measured."""
    with Sink(discard=True) as sink:
        if core is not None and (cores := os.sched_getaffinity(0) - {core}):
            os.sched_setaffinity(sink.pid, cores)
        yield sink


def configuration(*, logs: Path, state: Path, url: str, source: str = "", output: str = "", top: str = "") -> str:
    """A configuration; `source`, `output` and `top` are more keys of a source, of `output.elasticsearch`, of all."""
    return (
        f"state: {state}\n{top}\nsources: [{{name: bench, paths: [{logs}]{source and ', ' + source}}}]\n"
        f"output: {{elasticsearch: {{hosts: [{url}]{output and ', ' + output}}}}}\n"
    )


def ship_once(
    path: Path, *, documents: int | None, core: int | None, source: str = "", output: str = "", top: str = ""
) -> Cost:
    """Ships a file once, with a fresh state. Raises RuntimeError if not so many documents arrive (None: any number)."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name, sink_beside(core) as sink:
        directory = Path(name)
        text = configuration(logs=path, state=directory / "state", url=sink.url, source=source, output=output, top=top)
        (directory / "shipper.yml").write_text(text)
        cost = cost_of([*COMMAND, "run", "-c", "shipper.yml", "--once"], core=core, directory=directory)
        accepted = sink.stats()["documents"]
        if documents is not None and accepted != documents:
            raise RuntimeError(f"the sink got {accepted} documents of {documents}")
        return cost


def reference_seconds(path: Path, *, core: int | None) -> float:
    """CPU microseconds a line of the reference loop."""
    command = pinned([sys.executable, "-m", "bench.reference", str(path)], core)
    return float(subprocess.run(command, check=True, capture_output=True, text=True, env=environment()).stdout)


@contextmanager
def daemon(directory: Path, *arguments: str, core: int | None = None) -> Iterator[int]:
    """A `shipper run` that goes on within the block; its process id."""
    with (directory / "log").open("wb") as errors:
        process = subprocess.Popen(
            pinned([*COMMAND, "run", *arguments], core), cwd=directory, stdout=errors, stderr=errors, env=environment()
        )
    try:
        yield process.pid
        if process.poll() is not None:
            raise RuntimeError(f"the daemon ended:\n{(directory / 'log').read_text()[-2000:]}")
    finally:
        process.terminate()
        process.wait()


def settle(pid: int) -> None:
    """Waits until a daemon has read what there was: until its CPU time stands still."""
    last = -1.0
    while (now := cpu_seconds(pid)) - last > 0.02:
        last = now
        time.sleep(2)


def share_of_core(pid: int, *, seconds: float) -> float:
    """How much of a core a process takes while the caller waits."""
    before, begun = cpu_seconds(pid), time.monotonic()
    time.sleep(seconds)
    return (cpu_seconds(pid) - before) / (time.monotonic() - begun)


def cpu_seconds(pid: int) -> float:
    """What a process has taken so far: by its own clock, which has no steps (Linux makes that number of it)."""
    return time.clock_gettime((~pid << 3) | 2)


def resident_mb(pid: int) -> float:
    """What a process has in memory now."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize() / (1 << 20)


def peak_mb(pid: int) -> float:
    """The most that a process has had in memory."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def spread(values: Sequence[float]) -> str:
    """Least and greatest."""
    return f"{min(values):.2f}-{max(values):.2f}"


def median(values: Sequence[float]) -> float:
    return statistics.median(values)
