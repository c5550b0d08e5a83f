"""`python -m bench.peers`: the shippers that Debian packages, on the same file into the same sink, in the same run.

Each is configured as someone would who knows it: batches, one worker, state kept, JSON parsed, slow and error lines
tagged; mtail, which ships nothing, is beside what metrics cost alone. Each round runs all of them. Nothing is
installed: packages are fetched and unpacked into a directory of their own. What cannot be had is said and left out.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from harness.sink import Sink

from bench import report
from bench.lines import write_lines
from bench.measure import Cost, cpu_seconds, median, peak_mb, pinned, reference_seconds, ship_once, sink_beside, spread
from bench.metrics import derive_once, mtail_once, routes_program
from bench.throughput import NO_REDACTION, PLAIN

LATEST_SECONDS = 300.0
HEAD = ("", "version", "CPU s a million lines", "spread", "of reference", "peak MB", "does", "does not")

RSYSLOG = """\
global(workDirectory="{directory}")
module(load="imfile" mode="inotify")
module(load="mmjsonparse")
module(load="omelasticsearch")
template(name="document" type="string" string="%$!all-json%")
template(name="index" type="string" string="logs-%$year%.%$month%.%$day%")
input(type="imfile" file="{log}" tag="bench" ruleset="ship" persistStateInterval="10000" readMode="0")
ruleset(name="ship" queue.type="LinkedList" queue.size="50000" queue.dequeueBatchSize="4000") {{
  action(type="mmjsonparse" cookie="" useRawMsg="on")
  if ($!duration > 2000) then {{ set $!tags = "slow_request"; }}
  if ($!statusCode >= 500) then {{ set $!tags = "server_error"; }}
  action(type="omelasticsearch" server="{host}" serverport="{port}" usehttps="off" bulkmode="on" template="document"
         searchIndex="index" dynSearchIndex="on" searchType="" maxbytes="2m" action.resumeRetryCount="-1")
}}
"""

SYSLOG_NG = """\
@version: 3.38
options {{ keep-hostname(yes); stats-freq(0); }};
source s_file {{ file("{log}" flags(no-parse) follow-freq(1) log-fetch-limit(2000) log-iw-size(20000)); }};
parser p_json {{ json-parser(prefix(".json.")); }};
destination d_bulk {{
  http(url("{url}/_bulk") method("POST") batch-lines(4000) batch-bytes(2097152) batch-timeout(500) workers(1)
    headers("Content-Type: application/x-ndjson") delimiter("")
    body("{{\\"create\\":{{\\"_index\\":\\"logs-${{YEAR}}.${{MONTH}}.${{DAY}}\\"}}}}\\n\
$(format-json --scope none --key .json.* --shift-levels 2 tags=${{TAGS}})\\n"));
}};
log {{
  source(s_file);
  parser(p_json);
  if ("${{.json.duration}}" > 2000) {{ rewrite {{ set-tag("slow_request"); }}; }};
  if ("${{.json.statusCode}}" >= 500) {{ rewrite {{ set-tag("server_error"); }}; }};
  destination(d_bulk);
  flags(flow-control);
}};
"""


@dataclass(frozen=True, slots=True)
class Peer:
    """One of them. `config` takes log, directory, url, host and port; `command` root, config and directory."""

    name: str
    packages: Sequence[str]
    config: str
    command: Callable[[Path, Path, Path], Sequence[str]]
    environ: Callable[[Path], Mapping[str, str]]
    does: str
    does_not: str


def _libraries(root: Path) -> str:
    return os.pathsep.join(str(path) for path in (*root.glob("usr/lib/*-linux-gnu"), root / "usr/lib/syslog-ng"))


def _rsyslog(root: Path, config: Path, directory: Path) -> Sequence[str]:
    return [str(root / "usr/sbin/rsyslogd"), "-n", "-f", str(config), "-i", str(directory / "pid")]


def _syslog_ng(root: Path, config: Path, directory: Path) -> Sequence[str]:
    modules = next(iter(root.glob("usr/lib/syslog-ng/*/")), root)
    options = ["-F", "--no-caps", "--stderr", f"--module-path={modules}", f"--cfgfile={config}"]
    options += [f"--persist-file={directory / 'persist'}", f"--pidfile={directory / 'pid'}"]
    return [str(root / "usr/sbin/syslog-ng"), *options, f"--control={directory / 'control'}"]


PEERS: Sequence[Peer] = (
    Peer(
        "rsyslog",
        ("rsyslog", "rsyslog-elasticsearch", "libestr0", "libfastjson4", "liblognorm5"),
        RSYSLOG,
        _rsyslog,
        lambda root: {"LD_LIBRARY_PATH": _libraries(root), "RSYSLOG_MODDIR": f"{_modules(root)}/"},
        "parses, tags, bulk, state every 10,000 lines",
        "ids, metrics, routes, redaction, index by event time, gzip",
    ),
    Peer(
        "syslog-ng",
        ("syslog-ng-core", "syslog-ng-mod-http", "libivykis0", "libnet1", "libjson-c5", "libwrap0"),
        SYSLOG_NG,
        _syslog_ng,
        lambda root: {"LD_LIBRARY_PATH": _libraries(root)},
        "parses, tags, bulk, state",
        "ids, metrics, routes, redaction, index by event time, gzip, numbers as numbers, errors of items",
    ),
)


def _modules(root: Path) -> Path:
    return next(iter(root.glob("usr/lib/*/rsyslog")), root)


@contextmanager
def unpacked(packages: Sequence[str]) -> Iterator[Path]:
    """A directory with the files of these packages. Raises OSError or CalledProcessError where they cannot be had."""
    with tempfile.TemporaryDirectory(prefix="bench-peer-") as name:
        directory, root = Path(name) / "debs", Path(name) / "root"
        directory.mkdir()
        (directory / "partial").mkdir()
        subprocess.run(["apt-get", "download", "-qq", *packages], cwd=directory, check=True, capture_output=True)
        for package in directory.glob("*.deb"):
            subprocess.run(["dpkg", "-x", str(package), str(root)], check=True, capture_output=True)
        yield root


def version(root: Path, package: str) -> str:
    """As the documentation of the package is called by, or `?`."""
    for path in root.glob(f"usr/share/doc/{package}/changelog*.gz"):
        text = subprocess.run(["zcat", str(path)], check=True, capture_output=True, text=True).stdout
        if "(" in text:
            return text.partition("(")[2].partition(")")[0]
    return "?"


def run_peer(peer: Peer, root: Path, path: Path, *, lines: int, core: int) -> Cost:
    """Ships the file once. Raises RuntimeError if it ends early or does not deliver everything in time."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name, sink_beside(core) as sink:
        directory = Path(name)
        url = urlsplit(sink.url)
        config = directory / "peer.conf"
        config.write_text(
            peer.config.format(log=path, directory=directory, url=sink.url, host=url.hostname, port=url.port)
        )
        command = pinned(peer.command(root, config, directory), core)
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **peer.environ(root)})
        try:
            started = time.monotonic()
            _wait_for(sink, lines, process, directory / "log")
            wall = time.monotonic() - started
            return Cost(cpu_seconds(process.pid), wall, peak_mb(process.pid))
        finally:
            process.kill()
            process.wait()


def _wait_for(sink: Sink, lines: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + LATEST_SECONDS
    while (arrived := sink.stats()["documents"]) < lines:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{arrived:,} of {lines:,} lines arrived:\n{log.read_text()[-1500:]}")
        time.sleep(0.2)


class Contender(NamedTuple):
    """Who takes part, and how it runs once."""

    name: str
    version: str
    does: str
    does_not: str
    run: Callable[[], Cost]


def contenders(path: Path, *, lines: int, core: int, only: str, opened: ExitStack) -> Iterator[Contender]:
    """All that can be had; `only`: the peer of this name, if not ''. What they need stays until `opened` is closed."""
    yield Contender(
        "shipper",
        "",
        "parses, tags, bulk, ids, state with fsync, metrics with routes",
        "",
        partial(ship_once, path, documents=lines, core=core, output=PLAIN, top=NO_REDACTION),
    )
    for peer in PEERS:
        if only in ("", peer.name) and (root := _unpacked(peer.name, peer.packages, opened)):
            run = partial(run_peer, peer, root, path, lines=lines, core=core)
            yield Contender(peer.name, version(root, peer.packages[0]), peer.does, peer.does_not, run)
    if only in ("", "mtail") and (root := _unpacked("mtail", ["mtail"], opened)):
        run = partial(derive_once, path, lines=lines, core=core)
        yield Contender("shipper, metrics only", "", "parses, metrics with routes, state with fsync", "", run)
        mtail = str(root / "usr/bin/mtail")
        run = partial(mtail_once, path, routes_program(), lines=lines, core=core, mtail=mtail)
        lacks = "JSON (one expression knows the order of fields), routes but those written down, state, shipping"
        yield Contender("mtail", version(root, "mtail"), "metrics", lacks, run)


def _unpacked(name: str, packages: Sequence[str], opened: ExitStack) -> Path | None:
    try:
        return opened.enter_context(unpacked(packages))
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"{name} is left out: {error}", file=sys.stderr)
        return None


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


def main() -> None:
    """Prints a table; `--write` puts it into the document as well."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default="", help="only the peer of this name")
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    options = parser.parse_args()
    core = max(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="bench-") as name, ExitStack() as opened:
        path = Path(name) / "requests.log"
        write_lines(path, options.lines)
        found = list(contenders(path, lines=options.lines, core=core, only=options.only, opened=opened))
        rows = measure(found, path, lines=options.lines, runs=options.runs, core=core)
    print(report.as_text(HEAD, rows))
    if options.write:
        how = f'make bench-peers ARGS="--lines {options.lines} --runs {options.runs}"'
        report.write("peers", HEAD, rows, how=how)


if __name__ == "__main__":
    main()
