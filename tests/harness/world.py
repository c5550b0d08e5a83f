"""A daemon's following part in one thread, with a clock that the test moves: real files, a real state, no waiting.

A `World` has a directory of logs, a state and a receiver. `start` builds roster and pipeline as the engine does, `run`
steps them through some seconds of its own time, `stop` and `kill` end them, the latter without a commit.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from prometheus_client import CollectorRegistry

from harness.receiver import MemoryReceiver, Receiver
from shipper.attach import Attacher
from shipper.batch import MISSING, Batch
from shipper.enrich import Enricher
from shipper.feeding import Stages
from shipper.followed import Followed
from shipper.openfiles import OpenFiles
from shipper.parse import Parser
from shipper.pipeline import Pipeline
from shipper.roster import Roster
from shipper.settings import MetricsStart, SourceSettings
from shipper.state import State, open_state
from shipper.telemetry import Telemetry
from shipper.times import IndexPattern
from shipper.watching import Watcher

SETTLE_SECONDS = 8.0
"""Longer than anything takes that does not wait for the output: looks, scans, and the pause before a last line."""


@dataclass
class TallyChanges:
    """What `Tally` gives for a commit."""

    rows: list[tuple[bytes, bytes | None]] = field(default_factory=list)


class Tally:
    """Counts how often each line was observed, by its `n`; implements `Observer`. Its counts are part of the state."""

    def __init__(self, rows: Sequence[tuple[bytes, bytes]]) -> None:
        self.counts: Counter[str] = Counter({key.decode(): int(value) for key, value in rows})
        self._changed: set[str] = set()
        self.batches = 0

    def observe(self, batch: Batch) -> None:
        self.batches += 1
        names = [str(text if n is MISSING else n) for n, text in zip(batch.columns["n"], batch.lines, strict=True)]
        self.counts.update(names)
        self._changed.update(names)

    def take_changes(self) -> TallyChanges:
        changed, self._changed = self._changed, set()
        return TallyChanges([(name.encode(), str(self.counts[name]).encode()) for name in sorted(changed)])


class World:
    """See the module. `given` are fields of the source's settings."""

    def __init__(
        self,
        directory: Path,
        *,
        paths: Sequence[str] = ("*.log*",),
        receiver: Receiver | None = None,
        metrics_start: MetricsStart = MetricsStart.BEGINNING,
        reads_once: bool = False,
        open_limit: int = 100,
        held_deleted_bytes: int = 0,
        **given: Any,
    ) -> None:
        self.logs = directory / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)
        self.elsewhere = directory / "elsewhere"
        self.elsewhere.mkdir(exist_ok=True)
        self.state_directory = directory / "state"
        self.receiver: Receiver = receiver if receiver is not None else MemoryReceiver()
        self.paths = tuple(str(self.logs / path) for path in paths)
        self.given = given
        self.metrics_start = metrics_start
        self.reads_once = reads_once
        self.scope = ""
        """May be changed before a start or a reload."""
        self.open_limit = open_limit
        self.held_deleted_bytes = held_deleted_bytes
        self.telemetry = Telemetry(registry=CollectorRegistry())
        self.now = 1000.0
        self.clock_offset = 0.0
        self.commit_seconds = 1.0
        self.written = 0
        self.tally = Tally(())
        self.state: State | None = None
        self._pipeline: Pipeline | None = None
        self._committed_at = 0.0

    # Clocks

    def monotonic(self) -> float:
        return self.now

    def clock(self) -> float:
        return time.time() + self.now - 1000.0 + self.clock_offset

    # Life

    def start(self) -> None:
        """Starts a daemon on what the last one left."""
        state = open_state(self.state_directory)
        state._connection.execute("PRAGMA synchronous=OFF")  # no power is cut here
        self.state = state
        self._build({})

    def _build(self, descriptors: Mapping[int, int]) -> None:
        """The engine's part: stages, roster and pipeline on the state."""
        assert self.state is not None
        snapshot = self.state.load()
        self.tally = Tally(snapshot.series)
        allowed = {"symlinks": (str(self.logs.parent),)}
        source = SourceSettings(name="app", paths=self.paths, **{**allowed, **self.given})
        output = self.receiver.output
        roster = Roster(
            sources=[source],
            attacher=Attacher(scope=self.scope, metrics_start=self.metrics_start, records=snapshot.files),
            output=output,
            telemetry=self.telemetry,
            own_directories=[str(self.state_directory)],
            is_first_start=snapshot.is_first_start,
            watcher=Watcher(wake=self._wake),
            open_files=OpenFiles(limit=self.open_limit),
            reads_once=self.reads_once,
            descriptors=descriptors,
            clock=self.clock,
            monotonic=self.monotonic,
        )
        enricher = Enricher(
            source=source, tags={}, drop=(), host="h", index=IndexPattern("logs-%Y.%m.%d"), frame=output.frame
        )
        parser = Parser(line_format=source.format, fields=enricher.fields | {"n"}, max_line_bytes=source.max_line_bytes)
        self._pipeline = Pipeline(
            stages={"app": Stages(source, parser, enricher)},
            roster=roster,
            observer=self.tally,
            output=output,
            telemetry=self.telemetry,
            reads_once=self.reads_once,
            held_deleted_bytes=self.held_deleted_bytes,
            clock=self.clock,
            monotonic=self.monotonic,
        )

    def _wake(self) -> None:
        """Nobody waits."""

    @property
    def pipeline(self) -> Pipeline:
        assert self._pipeline is not None, "not started"
        return self._pipeline

    @property
    def is_running(self) -> bool:
        return self._pipeline is not None

    def step(self) -> float:
        """One step, the output's answers, and a commit if one is due; returns the seconds until something is."""
        pause = self.pipeline.step()
        self.receiver.answer()
        if self.pipeline.is_urgent or self.now - self._committed_at >= self.commit_seconds:
            self.commit()
        return pause

    def run(self, seconds: float = SETTLE_SECONDS) -> None:
        """Lets so many seconds of the world's time pass."""
        end = self.now + seconds
        for _ in range(100_000):
            pause = self.step()
            if self.now >= end:
                return
            self.now = min(end, self.now + max(pause, 0.001))
        raise AssertionError("it never rests")

    def run_once(self) -> None:
        """What `--once` does: until everything is read and acknowledged."""
        for _ in range(10_000):
            pause = self.step()
            if self.pipeline.is_idle and not self.receiver.output.status().pending:
                return
            self.now += max(pause, 0.001)
        raise AssertionError("it never ends")

    def commit(self) -> None:
        assert self.state is not None
        self._committed_at = self.now
        pending = self.pipeline.take_pending()
        if pending is not None:
            self.state.commit(pending.commit)

    def stop(self) -> None:
        """An orderly end: what is under way is delivered if the receiver answers, then committed."""
        self._finish()
        self._end(keeps_submitted=False)

    def _finish(self) -> None:
        self.pipeline.begin_stop()
        self.receiver.answer()
        self.pipeline.step()
        self.commit()

    def reload(self) -> None:
        """Another engine goes on where this one ends; deleted files are handed over open."""
        self._finish()
        descriptors = self.pipeline.roster.release()
        self.receiver.restart(keeps_submitted=False)
        self._build(descriptors)

    def kill(self, *, keeps_submitted: bool = True) -> None:
        """Ends without a word; `keeps_submitted`: what was sent arrived."""
        self._end(keeps_submitted=keeps_submitted)

    def _end(self, *, keeps_submitted: bool) -> None:
        assert self.state is not None
        for descriptor in self.pipeline.roster.release().values():
            os.close(descriptor)
        self._pipeline = None
        self.receiver.restart(keeps_submitted=keeps_submitted)
        self.state.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.is_running:
            self.kill()

    # Files

    def path(self, name: str) -> Path:
        return self.logs / name

    def lines(self, count: int = 1, *, size: int = 0) -> bytes:
        """New lines, each with its own number."""
        return b"".join(self.line(size=size) for _ in range(count))

    def line(self, *, size: int = 0) -> bytes:
        self.written += 1
        head = b'{"timestamp":"2024-01-15T10:30:45.123Z","n":%d' % self.written
        pad = max(0, size - len(head) - 11)
        return head + (b',"pad":"' + b"." * pad + b'"' if pad else b"") + b"}\n"

    def write(self, name: str, count: int = 1, *, size: int = 0) -> list[int]:
        """Appends new lines to a file; returns their numbers."""
        first = self.written + 1
        self.append(name, self.lines(count, size=size))
        return list(range(first, self.written + 1))

    def append(self, name: str, data: bytes) -> None:
        with self.path(name).open("ab") as file:
            file.write(data)

    def offset_of(self, name: str, number: int) -> int:
        """Where a line begins in a file."""
        data = self.path(name).read_bytes()
        found = re.search(rb'^\{"timestamp":"[^"]*","n":%d[,}]' % number, data, re.MULTILINE)
        assert found is not None, f"line {number} is not in {name}"
        return found.start()

    # What came of it

    def shipped(self) -> list[int]:
        """The numbers of the lines that are documents, in order, as often as they are there."""
        return sorted(source["n"] for source in self.receiver.documents().values() if "n" in source)

    def counted(self) -> dict[int, int]:
        """How often each line was observed."""
        return {int(name): count for name, count in self.tally.counts.items() if name.isdigit()}

    def lost_bytes(self) -> int:
        samples = (sample for metric in self.telemetry.unread_lost_bytes.collect() for sample in metric.samples)
        return int(sum(sample.value for sample in samples if sample.name.endswith("_total")))

    def metric(self, name: str, **labels: str) -> float:
        return self.telemetry.registry.get_sample_value(f"shipper_{name}", labels) or 0.0

    def followed(self, name: str) -> Followed:
        """The one file that is followed under this name."""
        found = [each for each in self.pipeline.roster.all() if Path(each.path).name == name]
        assert len(found) == 1, found
        return found[0]

    def follows(self, name: str) -> bool:
        """Whether this very file is followed, not only known as a copy of one that is."""
        path = self.path(name)
        return path.exists() and any(path.stat().st_ino == each.inode for each in self.pipeline.roster.all())

    def names(self) -> list[str]:
        """The names of what is followed."""
        return sorted(Path(each.path).name for each in self.pipeline.roster.all())

    def assert_exact(self, *, lost: int = 0) -> None:
        """Every line is a document once and was counted once, and so many bytes were said to be lost."""
        everything = list(range(1, self.written + 1))
        assert self.shipped() == everything
        assert self.counted() == dict.fromkeys(everything, 1)
        assert self.lost_bytes() == lost


def document(data: bytes) -> dict[str, Any]:
    """What a line says."""
    found: dict[str, Any] = json.loads(data)
    return found


Act = Callable[[World], None]
