"""What the tests of `replay` share: logs as Winston leaves them, and the command with its ledger."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from command import run_to_end
from harness.sink import Sink

BEGIN = datetime(2024, 1, 15, 10, 0, tzinfo=UTC)


def line_of(number: int, moment: datetime, **fields: Any) -> bytes:
    """A request line."""
    text = f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
    values = {"timestamp": text, "method": "GET", "url": f"/api/patients/{number}", "statusCode": 200, "duration": 12}
    return json.dumps({**values, "n": number, **fields}, separators=(",", ":")).encode()


def lines_of(count: int, *, begin: datetime = BEGIN, step_seconds: float = 1.0, first: int = 0) -> list[bytes]:
    """So many request lines, one after another."""
    return [line_of(first + i, begin + timedelta(seconds=i * step_seconds)) for i in range(count)]


def write_days(directory: Path, *, days: int, lines: int) -> list[bytes]:
    """A Winston log of several days, a plain file each; returns all lines."""
    directory.mkdir(exist_ok=True)
    written = []
    for day in range(days):
        begin = BEGIN + timedelta(days=day)
        text = lines_of(lines, begin=begin, first=day * lines)
        (directory / f"combined-{begin:%Y-%m-%d}.log").write_bytes(b"".join(line + b"\n" for line in text))
        written += text
    return written


@dataclass(frozen=True, slots=True)
class Done:
    """A replay that has ended."""

    code: int
    ledger: dict[str, Any]
    errors: str

    @property
    def totals(self) -> dict[str, int]:
        totals: dict[str, int] = self.ledger["totals"]
        return totals


def replay(*arguments: str | Path, directory: Path, timeout_seconds: float = 120.0, **environ: str) -> Done:
    """`shipper replay … --json` to its end."""
    done = run_to_end("replay", *arguments, "--json", directory=directory, timeout_seconds=timeout_seconds, **environ)
    return done_of(done)


def done_of(done: subprocess.CompletedProcess[str]) -> Done:
    """What a replay with `--json` said."""
    return Done(done.returncode, json.loads(done.stdout) if done.stdout.strip() else {}, done.stderr)


def ids(sink: Sink, index: str = "*") -> set[tuple[str, str]]:
    """Index and id of all documents; fails if an id is in two indices."""
    found = {(hit["_index"], hit["_id"]) for hit in sink.docs(index)}
    assert len({one for _, one in found}) == len(found)
    return found


def numbers(hits: Sequence[dict[str, Any]]) -> list[int]:
    """The numbers of the lines that documents are of, in order."""
    return sorted(hit["_source"]["n"] for hit in hits)
