"""What the tests of the Elasticsearch output share: an output with short waits, and documents to put into it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from harness.process import wait_until
from harness.servers import Remote
from prometheus_client import CollectorRegistry

from shipper.batch import Batch, DeadLetter, Documents
from shipper.deadletter import DeadLetterWriter
from shipper.elastic.bulk import FRAME
from shipper.elastic.output import ElasticsearchOutput
from shipper.elastic.settle import Patience
from shipper.settings import ElasticsearchSettings, Secret
from shipper.telemetry import Telemetry

INDEX = "logs-2024.01.15"
SECONDS = 30.0


def lines_of(count: int, *, first: int = 0, **fields: Any) -> list[bytes]:
    """Return so many request lines, each with its number in `n`."""
    return [
        json.dumps({"n": n, "method": "POST", "url": "/api/patients", "duration": 145, **fields}).encode()
        for n in range(first, first + count)
    ]


def document_of(line: bytes, number: int, *, where: str = "/var/log/app.log") -> bytes:
    """Return the document of a line, as enrichment makes it."""
    ours = {
        "@timestamp": "2024-01-15T10:30:45.123Z",
        "host": {"name": "harness"},
        "log": {"file": {"path": where}, "offset": number * 100},
    }
    if line.startswith(b"{") and line.endswith(b"}"):
        return line[:-1] + b"," + json.dumps(ours).encode()[1:]
    return json.dumps({"message": line.decode("utf-8", "replace"), **ours, "tags": ["parse_failure"]}).encode()


def id_of(number: int) -> str:
    """Return the id of the line at this place."""
    return f"0123456789ab-{number * 100:010d}-00000000"


def framed(lines: Sequence[bytes], *, first: int = 0, index: str = INDEX) -> bytes:
    """Return the documents of lines, framed as the output wants them."""
    return b"".join(
        b"".join(
            (
                FRAME.before_index,
                index.encode(),
                FRAME.before_id,
                id_of(number).encode(),
                FRAME.before_source,
                document_of(line, number),
                FRAME.end,
            )
        )
        for number, line in enumerate(lines, first)
    )


def documents_of(
    lines: Sequence[bytes],
    *,
    first: int = 0,
    index: str = INDEX,
    dead_letters: Sequence[DeadLetter] = (),
    done: Callable[[Documents], None] = lambda documents: None,
) -> Documents:
    """Return the documents of a batch of lines."""
    offsets = [number * 100 for number in range(first, first + len(lines))]
    batch = Batch(
        "app", "/var/log/app.log", "0123456789ab", first * 100, (first + len(lines)) * 100, list(lines), offsets
    )
    body = framed(lines, first=first, index=index)
    segments = [(index, 0, len(body))] if body else []
    return Documents(batch, body, len(lines), segments, range(len(lines)), list(dead_letters), done)


class Delivery:
    """An output at work, with its dead letters and its spool below one directory; a context manager that closes it."""

    def __init__(
        self,
        directory: Path,
        *hosts: str,
        patience: Patience | None = None,
        spool_bytes: int = 1 << 30,
        pause_seconds: float = 0.02,
        is_started: bool = True,
        **settings: Any,
    ) -> None:
        self.directory = directory
        self.registry = CollectorRegistry()
        telemetry = Telemetry(registry=self.registry)
        self._lock = threading.Lock()
        self._done: list[Documents] = []
        self.crashes = 0
        self.submitted = 0
        self.letters_directory = directory / "dead-letter"
        self.spool_directory = directory / "spool"
        settings.setdefault("bulk_seconds", 0.02)
        settings.setdefault("request_seconds", 10.0)
        self.output = ElasticsearchOutput(
            settings=ElasticsearchSettings(hosts=hosts, **settings),
            telemetry=telemetry,
            dead_letters=DeadLetterWriter(directory=self.letters_directory),
            spool_directory=self.spool_directory,
            on_crash=self._crash,
            version="1.2.3",
            host="harness",
            spool_bytes=spool_bytes,
            backoff=lambda failures: min(pause_seconds * failures, 0.2),
            spool_backoff=lambda failures: min(pause_seconds * failures, 0.2),
            patience=patience or Patience(),
        )
        if is_started:
            self.output.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close(seconds=1.0)

    def ship(self, lines: Sequence[bytes], *, batch_lines: int = 100, first: int = 0, index: str = INDEX) -> None:
        """Submit lines, in batches, waiting for room as the pipeline does."""
        for start in range(0, len(lines), batch_lines):
            part = lines[start : start + batch_lines]
            wait_until(self.output.has_room, what="room in the output", timeout_seconds=SECONDS)
            self.submit(documents_of(part, first=first + start, index=index, done=self._note))

    def submit(self, documents: Documents) -> None:
        """Submit documents as they are."""
        documents.done = self._note
        self.submitted += 1
        self.output.submit(documents)

    def wait_done(self, timeout_seconds: float = SECONDS) -> None:
        """Wait until all that was submitted is done."""
        wait_until(lambda: len(self._done) >= self.submitted, what="all is done", timeout_seconds=timeout_seconds)
        with self._lock:
            assert len(self._done) == len({id(documents) for documents in self._done}) == self.submitted

    @property
    def done_count(self) -> int:
        """How many batches are done."""
        return len(self._done)

    def close(self, *, seconds: float = SECONDS) -> bool:
        """Close the output; nothing may have crashed."""
        is_delivered = self.output.close(deadline=time.monotonic() + seconds)
        assert self.crashes == 0
        return is_delivered

    def letters(self) -> list[dict[str, Any]]:
        """Return the dead letters."""
        texts = [path.read_text() for path in sorted(self.letters_directory.glob("*.ndjson"))]
        return [json.loads(line) for text in texts for line in text.splitlines()]

    def assert_exact(
        self,
        hits: Sequence[Mapping[str, Any]],
        count: int,
        *,
        reduced: Mapping[int, str] | None = None,
        set_aside: Mapping[int, str] | None = None,
    ) -> None:
        """The whole ledger of lines 0 to `count`: each is a document once, or set aside; all were counted once.

        `reduced` and `set_aside` are the reasons of the dead letters, by line.
        """
        reduced, set_aside = reduced or {}, set_aside or {}
        assert sorted(id_of(n) for n in range(count) if n not in set_aside) == sorted(hit["_id"] for hit in hits)
        expected = [(id_of(n), reason, True) for n, reason in reduced.items()]
        expected += [(id_of(n), reason, False) for n, reason in set_aside.items()]
        letters = [(it["_id"], it["reason"], it.get("reduced", False)) for it in self.letters()]
        assert sorted(expected) == sorted(letters)
        results = {result: int(self.documents(result)) for result in ("created", "duplicate", "reduced", "dead_letter")}
        assert results["dead_letter"] == len(set_aside), results
        assert results["reduced"] <= len(reduced), results
        assert sum(results.values()) == count, results

    def metric(self, name: str, labels: Mapping[str, str] | None = None) -> float:
        """Return the value of one of the daemon's own metrics, 0 if it has not been touched."""
        return self.registry.get_sample_value(f"shipper_{name}", dict(labels or {})) or 0.0

    def documents(self, result: str) -> float:
        """Return how many documents had this result."""
        return self.metric("documents_total", {"source": "app", "result": result})

    def _note(self, documents: Documents) -> None:
        with self._lock:
            self._done.append(documents)

    def _crash(self) -> None:
        self.crashes += 1


def access_to(server: Remote) -> dict[str, Any]:
    """Return the settings with which the output gets into a server as its administrator."""
    if server.user is None:
        return {}
    return {"username": server.user, "password": Secret(server.password or ""), "ca_file": str(server.ca_file or "")}
