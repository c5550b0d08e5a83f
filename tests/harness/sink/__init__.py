"""A bulk sink with faults: answers like Elasticsearch 8.19, over real sockets, in a process of its own.

    with Sink() as sink:
        sink.fault(Fault("items", status=429, rate=0.3), Fault("cut_answer", after=2, times=1))
        ...                      # ship to sink.url
        assert expected == {hit["_id"] for hit in sink.docs()}

It keeps documents by (_index, _id) with `create` semantics in memory, or only counts them (`discard=True`, for
benchmarks). For what only a real server can tell, use `harness.servers`.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from harness.calls import Body, call
from harness.process import Counterpart, DiedError, Process, free_port, scratch
from harness.sink.faults import Fault

__all__ = ["Fault", "Sink"]

_TESTS = Path(__file__).parents[2]


class Sink(Counterpart):
    """The process: started by the constructor, ended by `stop()` or as a context manager, and its documents with it."""

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int | None = None,
        discard: bool = False,
        ids_only: bool = False,
        seed: int = 0,
    ) -> None:
        self._directory = scratch("sink")
        command = [sys.executable, "-m", "harness.sink", "--host", host, "--port", str(port or free_port())]
        command += ["--seed", str(seed)]
        command += ["--until-stdin-closes", *["--discard"] * discard, *["--ids-only"] * ids_only]
        path = os.pathsep.join(filter(None, [str(_TESTS), os.environ.get("PYTHONPATH", "")]))
        self._process = Process(command, log=self._directory / "log", env={"PYTHONPATH": path})
        try:
            ready = json.loads(self._process.wait_ready(timeout_seconds=30))
        except DiedError:
            shutil.rmtree(self._directory)
            raise
        self.url: str = ready["url"]
        self._control_url: str = ready["control"]

    @property
    def pid(self) -> int:
        """The process id, for measuring what it costs."""
        return self._process.pid

    def stop(self) -> None:
        """End the process; may be repeated. Raises DiedError if the sink itself, not a fault, went wrong before."""
        self._process.stop()
        output = self._process.output() if self._process.log.exists() else ""
        shutil.rmtree(self._directory, ignore_errors=True)
        if "Traceback" in output:
            raise DiedError(f"the sink itself failed\n{output[-4000:]}")

    def fault(self, *faults: Fault, seed: int | None = None) -> None:
        """Put these faults in force instead of all earlier ones; none at all: heal. Their counts start at 0."""
        settings: dict[str, Any] = {"faults": [fault.to_json() for fault in faults]}
        self._ask("PUT", "/_sink/faults", settings if seed is None else {**settings, "seed": seed})

    def fired(self) -> list[int]:
        """Return how often each fault has happened, in the order in which they were given."""
        return [fault["fired"] for fault in self._ask("GET", "/_sink/faults")]

    def down(self) -> None:
        """Refuse connections and cut those there are, until `up()`; documents stay."""
        self._ask("PUT", "/_sink/listening", b"false")

    def up(self) -> None:
        """Listen again, on the same port."""
        self._ask("PUT", "/_sink/listening", b"true")

    def docs(self, index: str = "*") -> list[dict[str, Any]]:
        """Return `{"_index", "_id", "_seq_no", "_source"}` of all in the indices that match, in order of arrival."""
        answer = self._ask("GET", f"/_sink/docs?index={index}")
        if isinstance(answer, dict):  # a single line is a whole JSON text
            return [answer]
        return [json.loads(line) for line in (answer or "").splitlines()]

    def count(self, index: str = "*") -> int:
        """Return how many documents the indices that match have."""
        return int(self.request("GET", f"/{index}/_count")[1]["count"])

    def stats(self) -> dict[str, Any]:
        """Return what happened since the start or the last `clear()`, the control requests left out.

        `requests`, `bulk_requests`, `documents` (accepted), `duplicates` (409s), `wire_bytes`, `body_bytes`
        (uncompressed), `connections`, `concurrent_requests_max`; by status `statuses` ("0": no answer was sent) and
        `item_statuses`.
        """
        stats: dict[str, Any] = self._ask("GET", "/_sink/stats")
        return stats

    def clear(self) -> None:
        """Forget all documents and statistics; faults and templates stay."""
        self._ask("DELETE", "/_sink/docs")
        self.clear_stats()

    def clear_stats(self) -> None:
        """Forget the statistics alone."""
        self._ask("DELETE", "/_sink/stats")

    def request(self, method: str, path: str, body: Body = None) -> tuple[int, Any]:
        """Return (status, JSON) of a request to the sink as a client sees it, faults included."""
        return call(self.url, method, path, body)

    def _ask(self, method: str, path: str, body: Body = None) -> Any:
        status, answer = call(self._control_url, method, path, body)
        if status != 200:
            raise ValueError(f"{method} {path}: {status} {answer}")
        return answer
