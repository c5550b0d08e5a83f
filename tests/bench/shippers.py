"""The other shippers: how each is had, configured and started. `bench.peers` runs them.

Each is configured as someone would who knows it: batches, one worker, state kept, JSON parsed, slow and error lines
tagged as far as it can. What Debian packages is fetched and unpacked into a directory of its own, nothing is installed;
the others are looked for on PATH and where the caller says.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

RSYSLOG = """\
global(workDirectory="{directory}")
module(load="imfile" mode="inotify")
module(load="mmjsonparse")
module(load="omelasticsearch")
template(name="document" type="string" string="%$!all-json%")
template(name="index" type="string" string="logs-%$year%.%$month%.%$day%")
input(type="imfile" file="{log}" tag="bench" ruleset="ship" persistStateInterval="10000" readMode="0"
      reopenOnTruncate="on")
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

FILE_D = """\
pipelines:
  bench:
    settings: {{capacity: 4096, decoder: json}}
    input:
      type: file
      paths: {{include: ["{log}"]}}
      offsets_file: {directory}/offsets.yaml
      should_watch_file_changes: true
    actions:
      - {{type: modify, do_if: {{op: int_val_cmp, field: duration, cmp_op: gt, value: 2000}}, tags: slow_request}}
      - {{type: modify, do_if: {{op: int_val_cmp, field: statusCode, cmp_op: ge, value: 500}}, tags: server_error}}
    output:
      type: elasticsearch
      endpoints: ["{url}"]
      index_format: logs-%
      index_values: ["@time"]
      time_format: "2006.01.02"
      batch_op_type: create
      batch_size: 2048
      workers_count: 1
"""

FLUENT_BIT = """\
service: {{flush: 1, log_level: warn}}
parsers:
  - {{name: request, format: json, time_key: timestamp, time_format: "%Y-%m-%dT%H:%M:%S.%LZ", time_keep: on}}
pipeline:
  inputs:
    - name: tail
      path: {log}
      parser: request
      read_from_head: on
      db: {directory}/tail.db
      db.locking: on
      mem_buf_limit: 50M
      buffer_chunk_size: 512K
      buffer_max_size: 1M
      skip_long_lines: on
  filters:
    - name: lua
      match: "*"
      call: tag
      type_int_key: statusCode duration contentLength
      code: |
        function tag(tag, time, record)
          local slow, failed = record.duration > 2000, record.statusCode >= 500
          if not (slow or failed) then return 0 end
          record.tags = {{}}
          if slow then table.insert(record.tags, "slow_request") end
          if failed then table.insert(record.tags, "server_error") end
          return 2, time, record
        end
  outputs:
    - name: es
      match: "*"
      host: {host}
      port: {port}
      suppress_type_name: on
      logstash_format: on
      logstash_prefix: logs
      generate_id: on
      buffer_size: false
      retry_limit: false
      workers: 1
"""


@dataclass(frozen=True, slots=True)
class Peer:
    """One of them. `config` takes log, directory, url, host and port of the sink."""

    name: str
    program: str
    """Below the root of its packages; else what it is called where it is found."""
    config: str
    command: Callable[[Path, Path, Path], Sequence[str]]
    """Of program, config and a directory of its own."""
    does: str
    does_not: str
    packages: Sequence[str] = ()
    environ: Callable[[Path], Mapping[str, str]] = lambda root: {}


class Installed(NamedTuple):
    """A program that can be started."""

    program: Path
    version: str
    root: Path = Path("/")
    """Of the packages that were unpacked for it."""


def _libraries(root: Path) -> str:
    return os.pathsep.join(str(path) for path in (*root.glob("usr/lib/*-linux-gnu"), root / "usr/lib/syslog-ng"))


def _rsyslog(program: Path, config: Path, directory: Path) -> Sequence[str]:
    return [str(program), "-n", "-f", str(config), "-i", str(directory / "pid")]


def _rsyslog_environ(root: Path) -> Mapping[str, str]:
    modules = next(iter(root.glob("usr/lib/*/rsyslog")), root)
    return {"LD_LIBRARY_PATH": _libraries(root), "RSYSLOG_MODDIR": f"{modules}/"}


def _syslog_ng(program: Path, config: Path, directory: Path) -> Sequence[str]:
    modules = next(iter(program.parents[2].glob("usr/lib/syslog-ng/*/")), directory)
    options = ["-F", "--no-caps", "--stderr", f"--module-path={modules}", f"--cfgfile={config}"]
    options += [f"--persist-file={directory / 'persist'}", f"--pidfile={directory / 'pid'}"]
    return [str(program), *options, f"--control={directory / 'control'}"]


def _file_d(program: Path, config: Path, directory: Path) -> Sequence[str]:
    return [str(program), f"--config={config}", "--http=off"]


def _fluent_bit(program: Path, config: Path, directory: Path) -> Sequence[str]:
    return [str(program), "-q", "-c", str(config)]


PEERS: Sequence[Peer] = (
    Peer(
        "file.d",
        "file.d",
        FILE_D,
        _file_d,
        "parses, tags, bulk, offsets with fsync",
        "ids, metrics but counters, routes, index by event time, errors of documents",
    ),
    Peer(
        "Fluent Bit",
        "fluent-bit",
        FLUENT_BIT,
        _fluent_bit,
        "parses, tags (by Lua), bulk, ids of content, index by event time, offsets in SQLite",
        "metrics in this run, routes, redaction, fsync",
    ),
    Peer(
        "rsyslog",
        "usr/sbin/rsyslogd",
        RSYSLOG,
        _rsyslog,
        "parses, tags, bulk, state every 10,000 lines",
        "ids, metrics, routes, redaction, index by event time, gzip, errors of documents without rules for them",
        packages=("rsyslog", "rsyslog-elasticsearch", "libestr0", "libfastjson4", "liblognorm5"),
        environ=_rsyslog_environ,
    ),
    Peer(
        "syslog-ng",
        "usr/sbin/syslog-ng",
        SYSLOG_NG,
        _syslog_ng,
        "parses, tags, bulk, state",
        "ids, metrics, routes, redaction, index by event time, gzip, numbers as numbers, errors of documents",
        packages=("syslog-ng-core", "syslog-ng-mod-http", "libivykis0", "libnet1", "libjson-c5", "libwrap0"),
        environ=lambda root: {"LD_LIBRARY_PATH": _libraries(root)},
    ),
)
MTAIL = ("mtail", "usr/bin/mtail")
"""Its package, and the program in it."""


@contextmanager
def unpacked(packages: Sequence[str], program: str) -> Iterator[Installed]:
    """A program of these packages. Raises OSError or CalledProcessError where they cannot be had."""
    with tempfile.TemporaryDirectory(prefix="bench-peer-") as name:
        directory, root = Path(name) / "debs", Path(name) / "root"
        directory.mkdir()
        (directory / "partial").mkdir()
        subprocess.run(["apt-get", "download", "-qq", *packages], cwd=directory, check=True, capture_output=True)
        for package in directory.glob("*.deb"):
            subprocess.run(["dpkg", "-x", str(package), str(root)], check=True, capture_output=True)
        yield Installed(root / program, _packaged_version(root, packages[0]), root)


def _packaged_version(root: Path, package: str) -> str:
    """As the documentation of the package is called by, or `?`."""
    for path in root.glob(f"usr/share/doc/{package}/changelog*.gz"):
        text = subprocess.run(["zcat", str(path)], check=True, capture_output=True, text=True).stdout
        if "(" in text:
            return text.partition("(")[2].partition(")")[0]
    return "?"


def found(program: str, directories: Sequence[str]) -> Installed | None:
    """A program in one of these directories, or on PATH."""
    where = shutil.which(program, path=os.pathsep.join((*directories, os.environ.get("PATH", os.defpath))))
    if where is None:
        return None
    told = subprocess.run([where, "--version"], check=False, capture_output=True, text=True, timeout=30)
    return Installed(Path(where).absolute(), version_in(told.stdout + told.stderr))


def version_in(text: str) -> str:
    """The first thing in a text that looks like a version of three numbers, or `?`."""
    match = re.search(r"(?<![\d.:])\d+\.\d+\.\d+[\w.~+-]*", text)
    return match[0] if match else "?"


class Search:
    """Where programs are had from: packages, unpacked until `opened` is closed, or directories and PATH."""

    def __init__(self, *, directories: Sequence[str], opened: ExitStack) -> None:
        self._directories = directories
        self._opened = opened

    def had(self, name: str, program: str, packages: Sequence[str] = ()) -> Installed | None:
        """The program, of these packages if there are any; where it cannot be had, that is said, and None returned."""
        try:
            if packages:
                return self._opened.enter_context(unpacked(packages, program))
            if installed := found(program, self._directories):
                return installed
            print(f"{name} is left out: no {program} on PATH, nor where --bin says", file=sys.stderr)
        except (OSError, subprocess.SubprocessError) as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
        return None
