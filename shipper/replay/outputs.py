"""The outputs of a replay: those of the daemon, with dead letters and spool of their own, or one that only counts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from exporter.registry import CollectorRegistry
from shipper.batch import Content, Documents, Frame, Output, OutputStatus
from shipper.deadletter import DeadLetterWriter
from shipper.elastic.bulk import FRAME
from shipper.settings import LocalSettings, Settings, host_name
from shipper.telemetry import Telemetry

SPOOL = "spool"


class CountingOutput:
    """Takes everything and sends nothing, for `--dry-run`."""

    frame: Frame = FRAME
    has_ledger = False

    def start(self) -> None:
        """Nothing to start."""

    def has_room(self) -> bool:
        return True

    def submit(self, documents: Documents) -> None:
        documents.results["created"] = documents.count
        documents.done(documents)

    def flush(self) -> None:
        """Nothing waits."""

    def forget(self, content: Content, position: int) -> None:
        """It has nothing."""

    def covered(self, content: Content) -> Sequence[tuple[int, int]]:  # noqa: ARG002 - an Output's signature
        return ()

    def close(self, *, deadline: float) -> bool:  # noqa: ARG002 - an Output's signature
        return True

    def status(self) -> OutputStatus:
        return OutputStatus(
            name="nowhere", is_up=True, error="", progress_at=time.monotonic(), refused_since=None, pending=0
        )


def make_output(settings: Settings, *, directory: Path, number: int, on_crash: Callable[[], None]) -> Output:
    """The configured output for one worker, with dead letters and spool below `directory`. Raises OutputError."""
    telemetry = Telemetry(registry=CollectorRegistry())
    dead_letters = DeadLetterWriter(directory=directory / "dead-letter")
    server = settings.output.elasticsearch
    if server is None:
        from shipper.local import LocalOutput  # what a server does without

        local = settings.output.local or LocalSettings()
        return LocalOutput(settings=local, telemetry=telemetry, dead_letters=dead_letters, on_crash=on_crash)
    from shipper.elastic.output import ElasticsearchOutput  # 10 MB of memory that a local output does without

    return ElasticsearchOutput(
        settings=server,
        telemetry=telemetry,
        dead_letters=dead_letters,
        spool_directory=directory / f"{SPOOL}-{number}",
        host=host_name(settings),
        on_crash=on_crash,
    )


def spools_in(directory: Path) -> int:
    """How many workers are needed to send what earlier ones left in their spools."""
    numbers = [int(path.parent.name.rpartition("-")[2]) for path in directory.glob(f"{SPOOL}-*/*.ndjson")]
    return max(numbers, default=-1) + 1
