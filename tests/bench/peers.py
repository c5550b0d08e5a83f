"""`python -m bench.peers`: other shippers on the same file into the same sink, in the same run.

`bench.shippers` says which, and how each is configured. mtail, which ships nothing, is beside what metrics cost
alone. Each round runs all of them. What cannot be had is said and left out.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from harness.sink import Sink

from bench import report
from bench.lines import write_lines
from bench.measure import Cost, cpu_seconds, median, peak_mb, pinned, reference_seconds, ship_once, sink_beside, spread
from bench.metrics import derive_once, mtail_once, routes_program
from bench.shippers import MTAIL, PEERS, Installed, Peer, Search
from bench.throughput import NO_REDACTION, PLAIN

LATEST_SECONDS = 300.0
HEAD = ("", "version", "CPU s a million lines", "spread", "of reference", "peak MB", "does", "does not")


class Running(NamedTuple):
    """A peer at work."""

    process: subprocess.Popen[bytes]
    log: Path


@contextmanager
def started(
    peer: Peer, installed: Installed, *, log: Path, url: str, directory: Path, core: int | None
) -> Iterator[Running]:
    """The peer follows `log` and ships to `url` within the block; its state is in the directory."""
    parts = urlsplit(url)
    config = directory / "peer.yaml"
    names = {"url": url, "host": parts.hostname, "port": parts.port}
    config.write_text(peer.config.format(log=log, directory=directory, **names))
    command = pinned(peer.command(installed.program, config, directory), core)
    said = directory / "said"
    environ = {**os.environ, **peer.environ(installed.root)}
    with said.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=directory, env=environ)
    try:
        yield Running(process, said)
    finally:
        process.kill()
        process.wait()


def run_peer(peer: Peer, installed: Installed, path: Path, *, lines: int, core: int) -> Cost:
    """Ships the file once. Raises RuntimeError if it ends early or is not done with everything in time."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name, sink_beside(core) as sink:
        begun = time.monotonic()
        with started(peer, installed, log=path, url=sink.url, directory=Path(name), core=core) as running:
            _wait_for(sink, lines, running)
            wall = time.monotonic() - begun
            return Cost(cpu_seconds(running.process.pid), wall, peak_mb(running.process.pid))


def _wait_for(sink: Sink, lines: int, running: Running) -> None:
    deadline = time.monotonic() + LATEST_SECONDS
    while (now := int(sink.stats()["documents"])) < lines:
        if running.process.poll() is not None or time.monotonic() > deadline:
            said = running.log.read_text(errors="replace")[-1500:]
            raise RuntimeError(f"{now:,} of {lines:,} lines arrived:\n{said}")
        time.sleep(0.2)
    if now > lines:
        raise RuntimeError(f"{now:,} lines of {lines:,} arrived")


class Contender(NamedTuple):
    """Who takes part, and how it runs once."""

    name: str
    version: str
    does: str
    does_not: str
    run: Callable[[], Cost]


def contenders(search: Search, path: Path, *, lines: int, core: int, only: str) -> Iterator[Contender]:
    """All that can be had; `only`: the peer of this name, if not ''."""
    yield Contender(
        "shipper",
        "",
        "parses, tags, bulk, ids, state with fsync, metrics with routes",
        "",
        partial(ship_once, path, documents=lines, core=core, output=PLAIN, top=NO_REDACTION),
    )
    run = partial(ship_once, path, documents=lines, core=core, source="metrics: false", output=PLAIN, top=NO_REDACTION)
    yield Contender("shipper, no metrics", "", "parses, tags, bulk, ids, state with fsync", "metrics", run)
    for peer in PEERS:
        if only in ("", peer.name) and (installed := search.had(peer.name, peer.program, peer.packages)):
            run = partial(run_peer, peer, installed, path, lines=lines, core=core)
            yield Contender(peer.name, installed.version, peer.does, peer.does_not, run)
    run = partial(derive_once, path, lines=lines, core=core)
    yield Contender("shipper, metrics only", "", "parses, metrics with routes, state with fsync", "", run)
    if only in ("", "mtail"):
        yield from _mtails(search, path, lines=lines, core=core)


def _mtails(search: Search, path: Path, *, lines: int, core: int) -> Iterator[Contender]:
    """Debian's, and one that is found if it is another."""
    package, program = MTAIL
    packaged = search.had("mtail, Debian's", program, [package])
    newer = search.had("mtail", package)
    if packaged and newer and is_packaged(newer.version, packaged.version):
        newer = None
    does = "a counter and a histogram by method, route and status"
    lacks = "JSON (one expression knows the order of fields), routes but those written down, state, shipping"
    for name, installed in (("mtail, Debian's", packaged), ("mtail", newer)):
        if installed:
            run = partial(mtail_once, path, routes_program(), lines=lines, core=core, mtail=str(installed.program))
            yield Contender(name, installed.version, does, lacks, run)


def is_packaged(version: str, packaged: str) -> bool:
    """Is it Debian's? The packaging has a number of its own at the end."""
    return version == packaged.rpartition("-")[0]


def measure(found: Sequence[Contender], path: Path, *, lines: int, runs: int, core: int) -> list[Sequence[str]]:
    """The rows of HEAD; who fails is left out, and it is said."""
    seconds: dict[str, list[float]] = {one.name: [] for one in found}
    ratios: dict[str, list[float]] = {one.name: [] for one in found}
    peaks: dict[str, float] = {}
    failed: set[str] = set()
    for _ in range(runs):
        reference = reference_seconds(path, core=core)
        for one in found:
            if one.name in failed:
                continue
            try:
                cost = one.run()
            except RuntimeError as error:
                failed.add(one.name)
                print(f"{one.name} is left out: {error}", file=sys.stderr)
                continue
            seconds[one.name].append(cost.cpu_seconds / lines * 1e6)
            ratios[one.name].append(seconds[one.name][-1] / reference)
            peaks[one.name] = max(peaks.get(one.name, 0.0), cost.peak_mb)
    rows: list[Sequence[str]] = []
    for one in found:
        if one.name not in failed:
            taken = seconds[one.name]
            figures = (f"{median(taken):.2f}", spread(taken), f"{median(ratios[one.name]):.2f}")
            rows.append((one.name, one.version, *figures, f"{peaks[one.name]:.0f}", one.does, one.does_not))
    return rows


def add_search_options(parser: argparse.ArgumentParser) -> None:
    """Who takes part, where they are, and where the table goes."""
    parser.add_argument("--bin", action="append", default=[], metavar="DIR", help="look here too; may be repeated")
    parser.add_argument("--only", default="", help="only the peer of this name")
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")


def main() -> None:
    """Prints a table; `--write` puts it into the document as well."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    add_search_options(parser)
    options = parser.parse_args()
    core = max(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="bench-") as name, ExitStack() as opened:
        path = Path(name) / "requests.log"
        write_lines(path, options.lines)
        search = Search(directories=options.bin, opened=opened)
        taking_part = list(contenders(search, path, lines=options.lines, core=core, only=options.only))
        rows = measure(taking_part, path, lines=options.lines, runs=options.runs, core=core)
    print(report.as_text(HEAD, rows))
    if options.write:
        places = " --bin DIR" * bool(options.bin)
        how = f'make bench-peers ARGS="--lines {options.lines} --runs {options.runs}{places}"'
        report.write("peers", HEAD, rows, how=how)


if __name__ == "__main__":
    main()
