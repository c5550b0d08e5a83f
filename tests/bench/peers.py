"""`python -m bench.peers`: the shippers that Debian packages, on the same file into the same sink, in the same run.

Each is configured as someone would who knows it: batches, one worker, state kept, JSON parsed, slow and error lines
tagged. Nothing is installed: packages are fetched and unpacked into a directory of their own. What cannot be had is
said and left out.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from harness.sink import Sink

from bench import report
from bench.lines import write_lines
from bench.measure import Cost, cpu_seconds, median, peak_mb, pinned, reference_seconds, ship_once, sink_beside, spread
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


def _row(
    name: str, given: str, costs: Sequence[Cost], *, lines: int, reference: float, words: Sequence[str]
) -> list[str]:
    seconds = [cost.cpu_seconds / lines * 1e6 for cost in costs]
    peak = f"{max(cost.peak_mb for cost in costs):.0f}"
    return [name, given, f"{median(seconds):.2f}", spread(seconds), f"{median(seconds) / reference:.2f}", peak, *words]


def main() -> None:
    """Prints a table; `--write` puts it into the document as well."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default="", help="only the peer of this name")
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    options = parser.parse_args()
    core = max(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        path = Path(name) / "requests.log"
        write_lines(path, options.lines)
        reference = median([reference_seconds(path, core=core) for _ in range(options.runs)])
        costs = [
            ship_once(path, documents=options.lines, core=core, output=PLAIN, top=NO_REDACTION)
            for _ in range(options.runs)
        ]
        words = ("parses, tags, bulk, ids, state with fsync, metrics with routes", "")
        rows: list[Sequence[str]] = [_row("shipper", "", costs, lines=options.lines, reference=reference, words=words)]
        for peer in PEERS:
            if options.only in ("", peer.name):
                rows += _measured(peer, path, options, core=core, reference=reference)
    print(report.as_text(HEAD, rows))
    if options.write:
        how = f'make bench-peers ARGS="--lines {options.lines} --runs {options.runs}"'
        report.write("peers", HEAD, rows, how=how)


def _measured(
    peer: Peer, path: Path, options: argparse.Namespace, *, core: int, reference: float
) -> Iterator[Sequence[str]]:
    try:
        with unpacked(peer.packages) as root:
            costs = [run_peer(peer, root, path, lines=options.lines, core=core) for _ in range(options.runs)]
            given = version(root, peer.packages[0])
            words = (peer.does, peer.does_not)
            yield _row(peer.name, given, costs, lines=options.lines, reference=reference, words=words)
    except (OSError, subprocess.CalledProcessError, RuntimeError) as error:
        print(f"{peer.name} is left out: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
