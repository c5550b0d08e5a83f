"""What `shipper demo` ships: logs as CareDroid's Winston would write them, with rotation fast enough to be watched.

Only writes files, and counts what it wrote, so that the end can be compared with what arrived. The command runs it in a
thread beside the daemon. The same seed and clocks give the same lines.
"""

from __future__ import annotations

import gzip
import math
import random
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import orjson

FAMILIES: Final = ("combined", "errors", "exceptions", "rejections")
STEP_SECONDS: Final = 0.05
MAX_CATCH_UP_SECONDS: Final = 2.0
"""After a pause (a laptop that slept) no more than this is made up for."""


class Endpoint(NamedTuple):
    method: str
    path: str
    """`{id}` is another patient, appointment or report each time."""
    status: int
    milliseconds: float
    """Median duration."""
    weight: int


ENDPOINTS: Final = (
    Endpoint("GET", "/api/patients?page={page}&limit=20", 200, 45, 14),
    Endpoint("GET", "/api/patients/{id}", 200, 20, 22),
    Endpoint("POST", "/api/patients", 201, 120, 6),
    Endpoint("PUT", "/api/patients/{id}", 200, 90, 6),
    Endpoint("GET", "/api/patients/{id}/vitals", 200, 35, 14),
    Endpoint("POST", "/api/patients/{id}/vitals", 201, 60, 10),
    Endpoint("GET", "/api/patients/{id}/medications", 200, 30, 8),
    Endpoint("GET", "/api/appointments?page={page}", 200, 50, 6),
    Endpoint("DELETE", "/api/appointments/{id}", 204, 40, 2),
    Endpoint("POST", "/api/auth/login", 201, 180, 3),
    Endpoint("POST", "/api/reports/{id}/export", 201, 700, 2),
    Endpoint("GET", "/health", 200, 2, 7),
)
FAILURES: Final = (
    (400, "Validation failed: dateOfBirth must be a valid ISO 8601 date string", 30),
    (401, "Unauthorized: token expired", 20),
    (403, "Forbidden: role nurse may not export reports", 10),
    (404, "Not found", 30),
    (409, "Appointment overlaps with another one", 5),
    (500, "Internal server error: connection terminated unexpectedly", 8),
    (503, "Service unavailable: timeout exceeded when trying to connect", 4),
)
FAILURE_SHARE: Final = 0.04
SLOW_SHARE: Final = 0.01
EXCEPTION_SHARE: Final = 1 / 4000
REJECTION_SHARE: Final = 1 / 3000
STRAY_SHARE: Final = 1 / 2500
STRAY_LINES: Final = (
    b"    at PatientsService.findOne (/app/dist/patients/patients.service.js:87:15)",
    b"(node:1) Warning: a promise rejection was handled asynchronously",
)
_ROTATED_NAME: Final = re.compile(r"-(\d{4}-\d{2}-\d{2})\.log(?:\.(\d+))?(?:\.gz)?")


@dataclass(slots=True)
class GeneratorStats:
    """How many lines were written. Only the generator's thread writes; read it when that has ended, or roughly."""

    lines: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FAMILIES, 0))
    """By family: combined, errors, exceptions, rejections."""
    requests: int = 0
    """Request lines: what `http_requests_total` must add up to."""
    slow: int = 0
    server_errors: int = 0
    not_json: int = 0
    rotations: int = 0

    @property
    def documents(self) -> int:
        """How many documents must arrive: all but `errors`, which repeats lines of `combined`."""
        return sum(self.lines.values()) - self.lines["errors"]


class RotatingFile:
    """One family's files as winston-daily-rotate-file writes them. The newer file gets the suffix, the older is zipped.

    Lives for one run; a next run goes on behind the newest file it finds. Zipping happens in `write`, so there is never
    a line in two places for longer than that.
    """

    def __init__(self, *, directory: Path, family: str, max_bytes: int, keep_files: int, link: str = "") -> None:
        self.rotations = 0
        self._directory = directory
        self._family = family
        self._max_bytes = max_bytes
        self._keep_files = keep_files
        self._link = link
        self._day = ""
        self._number = 0
        self._size = 0
        self._stream: BinaryIO | None = None

    def write(self, line: bytes, *, day: str) -> None:
        """Appends a line, to another file if the day is another or the file is full."""
        stream = self._stream
        if stream is None or day != self._day:
            stream = self._open(day, self._next_number(day))
        elif self._size + len(line) >= self._max_bytes:
            stream = self._open(day, self._number + 1)
        stream.write(line + b"\n")
        self._size += len(line) + 1

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def files(self) -> list[Path]:
        """This family's files, oldest first."""
        found = ((_order(path.name, self._family), path) for path in self._directory.iterdir())
        return [path for order, path in sorted((order, path) for order, path in found if order is not None)]

    def _next_number(self, day: str) -> int:
        orders = [_order(path.name, self._family) for path in self.files()]
        return max((order[1] + 1 for order in orders if order is not None and order[0] == day), default=0)

    def _open(self, day: str, number: int) -> BinaryIO:
        finished = Path(self._stream.name) if self._stream is not None else None
        self.close()
        name = f"{self._family}-{day}.log" + (f".{number}" if number else "")
        stream = self._stream = (self._directory / name).open("ab", buffering=0)
        self._day, self._number, self._size = day, number, 0
        if self._link:
            link = self._directory / self._link
            link.unlink(missing_ok=True)
            link.symlink_to(name)
        if finished is not None:
            self.rotations += 1
            _zip(finished)
            for path in self.files()[: -self._keep_files]:
                path.unlink()
        return stream


def _order(name: str, family: str) -> tuple[str, int] | None:
    """Day and number of a family's file, None for another file."""
    match = _ROTATED_NAME.fullmatch(name.removeprefix(family)) if name.startswith(family) else None
    return (match[1], int(match[2] or 0)) if match else None


def _zip(path: Path) -> None:
    with path.open("rb") as source, gzip.open(f"{path}.gz", "wb", compresslevel=6) as target:
        while chunk := source.read(1 << 16):
            target.write(chunk)
    path.unlink()


class Generator:
    """Writes `rate` lines a second into `directory`; `run` in a thread of its own, or `step` by step.

    At most `keep_files` files of `max_file_bytes` a family stay on disk; older ones are deleted, read or not.
    """

    def __init__(
        self,
        *,
        directory: Path,
        rate: float = 200.0,
        seed: int = 1,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        max_file_bytes: int = 1 << 19,
        keep_files: int = 30,
    ) -> None:
        self.stats = GeneratorStats()
        self._rate = rate
        self._clock = clock
        self._monotonic = monotonic
        self._lines = Lines(random=random.Random(seed))  # noqa: S311 - demo data, repeatable  # nosec B311
        self._last: float | None = None
        self._owed = 0.0
        directory.mkdir(parents=True, exist_ok=True)
        self._files = {
            family: RotatingFile(
                directory=directory,
                family=family,
                max_bytes=max_file_bytes,
                keep_files=keep_files,
                link="combined.log" if family == "combined" else "",
            )
            for family in FAMILIES
        }

    def run(self, stop: threading.Event) -> None:
        """Writes until `stop` is set, then closes the files. Raises OSError where it cannot write."""
        try:
            while not stop.wait(STEP_SECONDS):
                self.step()
        finally:
            self.close()

    def step(self) -> int:
        """Writes what is due by now; returns how many lines that were. The first call writes nothing."""
        now = self._monotonic()
        passed = min(now - self._last, MAX_CATCH_UP_SECONDS) if self._last is not None else 0.0
        self._last = now
        self._owed += passed * self._rate
        due = int(self._owed)
        self._owed -= due
        for _ in range(due):
            self._write_next()
        self.stats.rotations = sum(file.rotations for file in self._files.values())
        return due

    def close(self) -> None:
        for file in self._files.values():
            file.close()

    def _write_next(self) -> None:
        moment = datetime.fromtimestamp(self._clock(), UTC)
        if self._lines.happens(STRAY_SHARE):
            self.stats.not_json += 1
            self._write(moment, self._lines.stray(), "combined")
        elif self._lines.happens(EXCEPTION_SHARE):
            self._write(moment, orjson.dumps(self._lines.crash(moment, is_exception=True)), "exceptions")
        elif self._lines.happens(REJECTION_SHARE):
            # Winston hands unhandled rejections to the ordinary transports as well.
            line = orjson.dumps(self._lines.crash(moment, is_exception=False))
            self._write(moment, line, "rejections", "combined", "errors")
        else:
            self._write_request(moment)

    def _write_request(self, moment: datetime) -> None:
        request = self._lines.request(moment)
        is_error = request["level"] == "error"
        self.stats.requests += 1
        self.stats.slow += request["duration"] > 2000
        self.stats.server_errors += is_error
        self._write(moment, orjson.dumps(request), "combined", *(("errors",) if is_error else ()))

    def _write(self, moment: datetime, line: bytes, *families: str) -> None:
        day = moment.strftime("%Y-%m-%d")
        for family in families:
            self._files[family].write(line, day=day)
            self.stats.lines[family] += 1


class Lines:
    """Makes the lines' contents; everything that is left to chance comes from `random`."""

    def __init__(self, *, random: random.Random) -> None:
        self._random = random
        self._weights = [endpoint.weight for endpoint in ENDPOINTS]

    def happens(self, share: float) -> bool:
        return self._random.random() < share

    def stray(self) -> bytes:
        """A line that is no JSON: something printed past the logger."""
        return self._random.choice(STRAY_LINES)

    def request(self, moment: datetime) -> dict[str, Any]:
        """A request line; level `error` from status 500, `warn` from 400."""
        chance = self._random
        endpoint = chance.choices(ENDPOINTS, self._weights)[0]
        status, message = endpoint.status, ""
        if endpoint.path != "/health" and self.happens(FAILURE_SHARE):
            status, message, _ = chance.choices(FAILURES, [weight for *_, weight in FAILURES])[0]
        line: dict[str, Any] = {
            "timestamp": _iso(moment),
            "level": "error" if status >= 500 else "warn" if status >= 400 else "info",
            "service": "caredroid-backend",
            "environment": "development",
            "requestId": f"req-{chance.getrandbits(40):010x}",
            "method": endpoint.method,
            "url": endpoint.path.format(id=self._identifier(), page=chance.randint(1, 40)),
            "statusCode": status,
            "duration": self._duration(endpoint.milliseconds),
            "userId": f"user-{chance.randint(1, 60)}",
            "ip": f"192.168.{chance.randint(1, 4)}.{chance.randint(2, 250)}",
            "contentLength": 0 if status == 204 else chance.randint(40, 9000),
        }
        if message:
            line["message"] = message
        return line

    def crash(self, moment: datetime, *, is_exception: bool) -> dict[str, Any]:
        """What winston's exception and rejection handlers write: a `date` of JavaScript's, no ISO timestamp."""
        error = "TypeError: Cannot read properties of undefined (reading 'mrn')" if is_exception else "Error: db gone"
        stack = f"{error}\n    at PatientsService.findOne (/app/dist/patients/patients.service.js:87:15)\n"
        stack += "    at process.processTicksAndRejections (node:internal/process/task_queues:95:5)"
        return {
            "date": moment.strftime("%a %b %d %Y %H:%M:%S GMT+0000 (Coordinated Universal Time)"),
            "environment": "development",
            "error": {},
            "exception" if is_exception else "rejection": True,
            "level": "error",
            "message": f"{'uncaughtException' if is_exception else 'unhandledRejection'}: {error}\n{stack}",
            "os": {"loadavg": [0.42, 0.36, 0.31], "uptime": round(self._random.uniform(1e4, 1e6), 2)},
            "process": {
                "argv": ["/usr/local/bin/node", "/app/dist/main.js"],
                "cwd": "/app",
                "execPath": "/usr/local/bin/node",
                "gid": 1000,
                "memoryUsage": {"external": 1798784, "heapTotal": 96649600, "heapUsed": 71885072, "rss": 156041472},
                "pid": 1,
                "uid": 1000,
                "version": "v20.20.2",
            },
            "service": "caredroid-backend",
            "stack": stack,
            "trace": [
                _frame("PatientsService.findOne", "/app/dist/patients/patients.service.js", 87, 15),
                _frame("process.processTicksAndRejections", "node:internal/process/task_queues", 95, 5),
            ],
        }

    def _identifier(self) -> str:
        """A database id, as PostgreSQL's uuid or a number."""
        bits = self._random.getrandbits(128)
        text = f"{bits:032x}"
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}" if bits % 3 else str(bits % 900_000)

    def _duration(self, median: float) -> int:
        if self.happens(SLOW_SHARE):
            return self._random.randint(2001, 9000)
        return min(2000, max(1, round(median * math.exp(self._random.gauss(0, 0.5)))))


def _frame(function: str, file: str, line: int, column: int) -> dict[str, Any]:
    method = function.rpartition(".")[2]
    return {"column": column, "file": file, "function": function, "line": line, "method": method, "native": False}


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
