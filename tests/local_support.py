"""What the tests of the local output share: contents with real marks, documents made of them, and what lies on disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from shipper.batch import Batch, DeadLetter, Documents, Mark
from shipper.identity import agrees, digests, fits, line_id, mark_of, power_positions
from shipper.local import FRAME, LocalOutput
from shipper.settings import LocalSettings
from shipper.telemetry import Telemetry

INDEX = "logs-2024.01.15"
IDENTITY = "0123456789ab"


@dataclass(eq=False)
class FakeContent:
    """A file's content, all of it in memory; implements `Content`."""

    data: bytes = b""
    identity: str = IDENTITY

    def has(self, marks: Sequence[Mark]) -> bool | None:
        return agrees(marks, len(self.data), lambda mark: fits(mark, self.data[: mark.position]))

    def digests_at(self, position: int) -> Sequence[int]:
        return digests(position, self.data[:position]) if position <= len(self.data) else ()

    def marks_at(self, position: int) -> list[Mark]:
        return [self._mark(at) for at in sorted({*power_positions(0, position), position})]

    def _mark(self, position: int) -> Mark:
        return mark_of(position, self.data[:position])

    def ids(self) -> list[str]:
        """The ids of all its lines."""
        return [line_id(self.identity, at, line) for at, line in offset_lines(self.data)]


def offset_lines(data: bytes) -> list[tuple[int, bytes]]:
    found, at = [], 0
    for line in data.splitlines(keepends=True):
        found.append((at, line.rstrip(b"\n")))
        at += len(line)
    return found


def text(count: int, *, first: int = 0, index_name: str = INDEX) -> bytes:
    """So many log lines; each names the index that it goes to."""
    return b"".join(b'{"n":%d,"index":"%s"}\n' % (n, index_name.encode()) for n in range(first, first + count))


def ignore(_documents: Documents) -> None:
    """For a test that does not ask what is done."""


def documents_of(
    content: FakeContent,
    *,
    start: int = 0,
    end: int | None = None,
    covered: Sequence[tuple[int, int]] = (),
    unwanted: Callable[[bytes], bool] = lambda _: False,
    dead_letters: Sequence[DeadLetter] = (),
    done: Callable[[Documents], None] = ignore,
) -> Documents:
    """The documents of the lines in `[start, end)` that are wanted and not covered, in segments of one index each."""
    end = len(content.data) if end is None else end
    lines = [(start + at, line) for at, line in offset_lines(content.data[start:end])]
    batch = Batch(
        "app", "/var/log/app.log", content.identity, start, end, [line for _, line in lines], [at for at, _ in lines]
    )
    batch.handle = content
    body = b""
    segments: list[tuple[str, int, int]] = []
    numbers = []
    for number, (at, line) in enumerate(lines):
        if unwanted(line) or any(first <= at < last for first, last in covered):
            continue
        index_name = json.loads(line)["index"]
        framed = b"".join(
            (
                FRAME.before_index,
                index_name.encode(),
                FRAME.before_id,
                line_id(content.identity, at, line).encode(),
                FRAME.before_source,
                line,
                FRAME.end,
            )
        )
        if segments and segments[-1][0] == index_name:
            segments[-1] = (index_name, segments[-1][1], len(body) + len(framed))
        else:
            segments.append((index_name, len(body), len(body) + len(framed)))
        body += framed
        numbers.append(number)
    left_out = [number for number, (_, line) in enumerate(lines) if unwanted(line)]
    return Documents(batch, body, len(numbers), segments, numbers, list(dead_letters), done, unwanted=left_out)


def not_every_third(line: bytes) -> bool:
    """Whether a choice of the lines 2, 5, 8 … leaves this one out."""
    return bool(json.loads(line)["n"] % 3 != 2)


@dataclass
class KeptDeadLetters:
    """Remembers what was set aside; fails as often as it is told to."""

    failures: int = 0
    records: list[DeadLetter] = field(default_factory=list)

    def write(self, records: Sequence[DeadLetter]) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError(28, "no space left on device")
        self.records += records


@dataclass
class Clock:
    """Wall clock and monotonic clock in one, set by the test."""

    now: float = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def fail() -> None:
    raise AssertionError("the writer crashed")


def new_output(directory: Path, **given: Any) -> LocalOutput:
    """An output with short waits; `settings` fields and constructor arguments by name."""
    fields = {name: given.pop(name) for name in ("index", "keep_days", "max_bytes") if name in given}
    given.setdefault("telemetry", Telemetry(registry=CollectorRegistry()))
    given.setdefault("dead_letters", KeptDeadLetters())
    given.setdefault("on_crash", fail)
    given.setdefault("longest_wait_seconds", 0.02)
    return LocalOutput(settings=LocalSettings(directory=str(directory), **fields), **given)


def deliver(output: LocalOutput, *all_documents: Documents) -> bool:
    """Submits and commits in this thread (of an output that was opened, not started)."""
    for documents in all_documents:
        output.submit(documents)
    return output.deliver(output.take())


def ship(output: LocalOutput, content: FakeContent) -> None:
    """What a pipeline without state does: ask what is there, deliver the rest, in this thread."""
    assert deliver(output, documents_of(content, covered=output.covered(content)))


def rows(directory: Path, name: str = "*.ndjson") -> list[dict[str, Any]]:
    """The documents of all day files; a torn line fails."""
    found = []
    for path in sorted(directory.glob(name)):
        data = path.read_bytes()
        assert data == b"" or data.endswith(b"\n")
        found += [json.loads(line) for line in data.splitlines()]
    return found


def ids(directory: Path, name: str = "*.ndjson") -> list[str]:
    return [row["_id"] for row in rows(directory, name)]
