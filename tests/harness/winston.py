"""Real Winston with winston-daily-rotate-file, as a NestJS backend configures it, in a Node process of its own.

What its lines look like with Winston 3.19 and winston-daily-rotate-file 5; `winston/samples/` has a real one of each:

- `combined-*.log` and `errors-*.log` come from the application's format: `timestamp` first, ISO with milliseconds.
- `exceptions-*.log` and `rejections-*.log` do not, even if their transports name it: they are in Winston's own JSON,
  keys sorted, `error` an empty object, the stack in `message` as well, and **no `timestamp`** but
  `"date":"Mon Nov 23 2026 12:00:00 GMT+0000 (Coordinated Universal Time)"`: seconds only, in the local zone. Only a
  format of the logger itself (`handler_timestamps=True`) reaches them.
- An unhandled rejection is written to `combined-*` and `errors-*` too, an uncaught exception is not.
- The newest file has the highest suffix: `combined-2026-11-23.log`, then `.log.1`, `.log.2`. A file ends with the line
  that takes it over `maxSize`. All four families exist from the start, empty.
- With `zippedArchive` the old file and its `.gz` are both there until the `.gz` is complete. A service that never waits
  (`wait_every=0`) leaves some files unzipped.
- With `maxFiles` there is a hidden `.FAMILY-audit.json` beside the logs.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypedDict, Unpack

from harness.missing import MissingError, cached, ran, tool
from harness.process import DiedError, Process, scratch

FAMILIES = ("combined", "errors", "exceptions", "rejections")
_PROJECT = Path(__file__).parent / "winston"
_HINT = "Debian: apt-get install nodejs npm"


class Options(TypedDict, total=False):
    """What `writer.js` can be told; the defaults stand there."""

    lines: int  # request lines; 0: until `stop()`
    rate: float  # lines a second; 0: as fast as it goes
    error_every: int
    exceptions: int
    rejections: int
    run: str  # part of every requestId: req-RUN-000000001
    seed: int
    environment: str
    date_pattern: str
    max_size: str
    max_files: int | str | None
    zipped_archive: bool
    create_symlink: bool
    symlink_name: str  # %FAMILY% stands for the family
    utc: bool
    handler_timestamps: bool
    clock_start: str  # ISO; "2024-01-15T23:59:50Z" with a step of 10 ms is midnight after 1,000 lines
    clock_step_ms: int
    wait_every: int  # after so many lines wait until they are on disk; 0: never


@dataclass(frozen=True, slots=True)
class Ledger:
    """What was written, as Winston counted it; given once all of it is on disk."""

    lines: dict[str, int]  # by family
    requests: int
    errors: int  # of the requests
    exceptions: int
    rejections: int
    rotated: int
    archived: int
    removed: list[str]  # paths that `maxFiles` took away
    faults: list[str]  # errors of the transports; empty if all went well


def missing() -> str | None:
    """Return why Winston cannot be had here, or None; downloads it at the first call."""
    try:
        _modules()
    except MissingError as error:
        return error.reason
    return None


def files(directory: Path, family: str) -> list[Path]:
    """Return the family's files, oldest first; one that is being zipped once, as it was."""
    found: dict[tuple[str, int], Path] = {}
    for path in sorted(directory.glob(f"{family}-*"), reverse=True):  # x.gz, then x
        if match := re.fullmatch(rf"{family}-(.+)\.log(?:\.(\d+))?(?:\.gz)?", path.name):
            found[(match[1], int(match[2] or 0))] = path
    return [path for _, path in sorted(found.items())]


def lines(directory: Path, family: str) -> list[bytes]:
    """Return all lines of the family's files without their newlines, oldest first, unzipped."""
    texts = ((path, path.read_bytes()) for path in files(directory, family))
    plain = (gzip.decompress(text) if path.suffix == ".gz" else text for path, text in texts)
    return [line for text in plain for line in text.splitlines()]


class WinstonWriter:
    """A writing process: started by the constructor; `wait()` for its end, or `stop()` it, to have its ledger."""

    def __init__(self, directory: Path, *, zone: str = "UTC", **options: Unpack[Options]) -> None:
        self.directory = directory
        self.ledger: Ledger | None = None
        node, modules = tool("node", _HINT), _modules()
        self._scratch = scratch("winston")
        settings = {_camel(name): value for name, value in options.items()}
        self._process = Process(
            [node, _PROJECT / "writer.js", json.dumps({"dir": str(directory), **settings})],
            log=self._scratch / "log",
            env={"NODE_PATH": str(modules), "TZ": zone},
        )
        try:
            self._process.wait_ready(timeout_seconds=30)
        except DiedError:
            self.kill()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def wait(self, *, timeout_seconds: float = 60.0) -> Ledger:
        """Return the ledger once all lines are written; raise TimeoutError if that takes longer."""
        self._process.wait(timeout_seconds=timeout_seconds)
        return self._ended()

    def stop(self) -> Ledger:
        """End it early, but in order (SIGTERM): all that it wrote is on disk; return the ledger."""
        if self.ledger is None:
            self._process.stop()
        return self._ended()

    def kill(self) -> None:
        """End it as `kill -9` does: no ledger, perhaps half a line. May be repeated, also after its end."""
        self._process.kill()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _ended(self) -> Ledger:
        if self.ledger is None:
            output = self._process.output()
            found = re.search(r"^LEDGER (.+)$", output, re.MULTILINE)
            if found is None:
                raise DiedError(f"the writer ended without a ledger\n{output[-4000:]}")
            self.ledger = Ledger(**json.loads(found[1]))
        return self.ledger


def _modules() -> Path:
    digest = hashlib.sha256((_PROJECT / "package-lock.json").read_bytes()).hexdigest()[:12]
    tool("node", _HINT)
    return cached(f"winston-{digest}", _install) / "node_modules"


def _install(folder: Path) -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copy2(_PROJECT / name, folder)
    npm = tool("npm", _HINT)
    ran([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], what="downloading Winston with npm", cwd=folder)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)
