"""What the sink knows and how it answers: documents, templates, statistics, and what its faults make of a request."""

from __future__ import annotations

import contextlib
import re
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import orjson

from harness.sink.bulk import Document, Operation, RefusedError, Store, answer_shape, parse
from harness.sink.faults import Fault, Faults
from harness.sink.messages import PRODUCT, Answer, Head, Wire, inflated, lines_of_gzip

_ROOT = {
    "name": "sink", "cluster_name": "sink", "cluster_uuid": "sinksinksinksinksinksi",
    "version": {
        "number": "8.19.0", "build_flavor": "default", "build_type": "docker", "build_hash": "0" * 40,
        "build_date": "2025-07-23T22:10:18.138215144Z", "build_snapshot": False, "lucene_version": "9.12.2",
        "minimum_wire_compatibility_version": "7.17.0", "minimum_index_compatibility_version": "7.0.0",
    },
    "tagline": "You Know, for Search",
}  # fmt: skip
_READ = re.compile(r"/([^/_][^/]*)/(_mget|_count)$")
_STORED = re.compile(r"/(_index_template|_component_template|_ilm/policy|_ingest/pipeline)(?:/([^/]+))?$")


def _json(value: Any, status: int = 200) -> Answer:
    return Answer(status, orjson.dumps(value))


def _error(status: int, error_type: str, reason: str) -> Answer:
    cause = {"type": error_type, "reason": reason}
    body = orjson.dumps({"error": {"root_cause": [cause], **cause}, "status": status})
    headers = {"content-type": "application/json", **PRODUCT}
    if status == 401:  # without the product header, as the real one
        headers = {"content-type": "application/json", "WWW-Authenticate": 'Basic realm="security", charset="UTF-8"'}
    return Answer(status, body, headers)


class Statistics:
    """What happened since the start or the last `clear`; guarded by its own lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._at_work = 0
        self.clear()

    def clear(self) -> None:
        """Set everything to 0; requests at work stay at work."""
        with self._lock:
            self._counts: Counter[str] = Counter()
            self._statuses: Counter[int] = Counter()
            self._item_statuses: Counter[int] = Counter()
            self._max_at_work = self._at_work

    def count(self, **counts: int) -> None:
        """Add to the named counters."""
        with self._lock:
            self._counts.update(counts)

    def count_items(self, statuses: Counter[int]) -> None:
        """Add one bulk request's items by status."""
        with self._lock:
            self._item_statuses.update(statuses)

    def count_status(self, status: int) -> None:
        """Add one answer; status 0 is a connection that was cut before any."""
        with self._lock:
            self._statuses[status] += 1

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Count a request as being at work, from its head to the end of its answer."""
        with self._lock:
            self._counts["requests"] += 1
            self._at_work += 1
            self._max_at_work = max(self._max_at_work, self._at_work)
        try:
            yield
        finally:
            with self._lock:
                self._at_work -= 1

    def report(self) -> dict[str, Any]:
        """Return all of it as JSON."""
        names = ("requests", "bulk_requests", "documents", "duplicates", "wire_bytes", "body_bytes", "connections")
        with self._lock:
            return {
                **{name: self._counts[name] for name in names},
                "concurrent_requests_max": self._max_at_work,
                "statuses": {str(status): count for status, count in sorted(self._statuses.items())},
                "item_statuses": {str(status): count for status, count in sorted(self._item_statuses.items())},
            }


class Core:
    """The sink without its sockets; safe to use from many threads."""

    def __init__(self, *, keep: bool, seed: int, keeps_sources: bool = True) -> None:
        self.keep = keep
        self.seed = seed
        self.faults = Faults(seed=seed)
        self.statistics = Statistics()
        self.set_listening: Callable[[bool], None] = lambda is_listening: None
        self._store = Store(keeps_sources=keeps_sources)
        self._settings: dict[tuple[str, str], Any] = {}  # templates, policies, pipelines; one assignment each, no lock

    def answer(self, head: Head, wire: Wire) -> Answer:
        """Return the answer to a request whose body arrived whole."""
        if head.path.startswith("/_sink/"):
            return self._control(head, bytes(wire))
        self.statistics.count(wire_bytes=wire.size_bytes)
        answer = self._faulty_or_ordinary(head, wire)
        self.statistics.count_status(0 if answer.is_silent else answer.status)
        return answer

    def apply_part(self, head: Head, fault: Fault, wire: Wire) -> None:
        """Store that share of a cut request which the fault says was applied."""
        if fault.applied_share:
            whole = inflated(head, wire)
            self._applied(head, whole[: whole.rfind(b"\n") + 1], fault.applied_share)

    def _faulty_or_ordinary(self, head: Head, wire: Wire) -> Answer:
        faults = self.faults
        if faults.is_empty:
            return self._ordinary(head, wire)
        body = inflated(head, wire)
        if delay := faults.delay(head.path, body):
            time.sleep(delay)
        fault = faults.whole(head.path, body)
        if fault is None:
            return self._ordinary(head, wire)
        return self._faulty(head, body, fault)

    def _faulty(self, head: Head, body: bytes, fault: Fault) -> Answer:
        applied = Answer()
        if fault.applied_share and head.path.endswith("_bulk"):
            applied = self._applied(head, body, fault.applied_share)
        match fault.kind:
            case "status":
                return _error(fault.status, fault.error_type, fault.reason)
            case "too_large":
                return Answer(413, b"", {})
            case "html":
                page = f"<html><head><title>{fault.status}</title></head><body><center>nginx</center></body></html>\r\n"
                return Answer(fault.status, page.encode(), {"content-type": "text/html", "server": "nginx"})
            case "redirect":
                return Answer(302, b"", {"location": fault.location})
            case "garbage":
                return Answer(200, b'{"took":1,"errors":fal\x00\xff')
            case "half_items":
                return applied
            case "cut_answer":
                return Answer(applied.status, applied.body, applied.headers, is_cut=True)
            case _:
                return Answer(is_silent=True)

    def _ordinary(self, head: Head, wire: Wire) -> Answer:
        if head.path.endswith("_bulk") and head.method in ("POST", "PUT"):
            if self.keep:
                return self._bulk(head, inflated(head, wire))
            if "content-encoding" in head.headers:
                counted = lines_of_gzip(wire)
                if counted is None:
                    return self._applied(head, inflated(head, wire), 1.0)
                return self._discard(head, counted[0] // 2, counted[1])
            return self._discard(head, wire.lines // 2, wire.size_bytes)
        if head.path == "/":
            return _json(_ROOT)
        if head.path.startswith("/_cluster/health"):
            return _json({"cluster_name": "sink", "status": "green", "timed_out": False, "number_of_nodes": 1})
        if head.path == "/_ilm/status":
            return _json({"operation_mode": "RUNNING"})
        if head.path.endswith("/_refresh"):
            return _json({"_shards": {"total": 1, "successful": 1, "failed": 0}})
        if found := _READ.match(head.path):
            return self._read(urllib.parse.unquote(found[1]), found[2], bytes(wire))
        if found := _STORED.match(head.path):
            return self._stored(head, found[1], urllib.parse.unquote(found[2] or "*"), bytes(wire))
        reason = f"no handler found for uri [{head.path}] and method [{head.method}]"
        return _error(400, "illegal_argument_exception", reason)

    def _applied(self, head: Head, body: bytes, share: float) -> Answer:
        if self.keep:
            return self._bulk(head, body, share=share)
        return self._discard(head, int(body.count(b"\n") // 2 * share), len(body))

    def _discard(self, head: Head, documents: int, body_bytes: int) -> Answer:
        self.statistics.count(bulk_requests=1, body_bytes=body_bytes, documents=documents)
        return Answer(body=answer_shape(head.query.get("filter_path", "")).all_created(documents))

    def _bulk(self, head: Head, body: bytes, *, share: float = 1.0) -> Answer:
        self.statistics.count(bulk_requests=1, body_bytes=len(body))
        try:
            operations = parse(body, default_index=urllib.parse.unquote(head.path[1:].rpartition("/")[0]))
        except RefusedError as error:
            return _error(error.status, error.error_type, error.reason)
        operations = operations[: int(len(operations) * share)]
        results = self._store.apply(operations, self._refusing(head.path, body))
        statuses = Counter(result.status for result in results)
        self.statistics.count_items(statuses)
        self.statistics.count(documents=statuses[201] + statuses[200], duplicates=statuses[409])
        return Answer(body=answer_shape(head.query.get("filter_path", "")).answer(results))

    def _read(self, index: str, what: str, body: bytes) -> Answer:
        if what == "_count":
            return _json({"count": self._store.count(index)})
        identities = orjson.loads(body)["ids"]
        found = self._store.has(index, identities)
        if found is None:
            return _error(404, "index_not_found_exception", f"no such index [{index}]")
        pairs = zip(identities, found, strict=True)
        return _json({"docs": [{"_index": index, "_id": identity, "found": is_there} for identity, is_there in pairs]})

    def _refusing(self, path: str, body: bytes) -> Callable[[Operation], Fault | None]:
        faults = self.faults
        if not faults.has_items:
            return lambda operation: None
        return lambda operation: faults.item(path, operation.index_name, operation.source, request=body)

    def _stored(self, head: Head, kind: str, name: str, body: bytes) -> Answer:
        if head.method == "PUT":
            try:
                self._settings[(kind, name)] = orjson.loads(body)
            except orjson.JSONDecodeError as error:
                return _error(400, "parsing_exception", str(error))
            return _json({"acknowledged": True})
        known = {key[1]: value for key, value in self._settings.items() if key[0] == kind and name in ("*", key[1])}
        if not known and name != "*":
            return _error(404, "resource_not_found_exception", f"{kind} matching [{name}] not found")
        if head.method == "DELETE":
            for each in known:
                del self._settings[(kind, each)]
            return _json({"acknowledged": True})
        return _json(_listed(kind, known))

    def _control(self, head: Head, body: bytes) -> Answer:
        match head.method, head.path:
            case "GET", "/_sink/docs":
                return Answer(body=b"".join(map(_line, self._store.documents(head.query.get("index", "*")))))
            case "DELETE", "/_sink/docs":
                self._store.clear()
            case "GET", "/_sink/stats":
                return _json(self.statistics.report())
            case "DELETE", "/_sink/stats":
                self.statistics.clear()
            case "GET", "/_sink/faults":
                return _json(self.faults.report())
            case "PUT", "/_sink/faults":
                return self._set_faults(body)
            case "PUT", "/_sink/listening":
                self.set_listening(bool(orjson.loads(body)))
            case _:
                return _error(404, "illegal_argument_exception", f"no control {head.method} {head.path}")
        return _json({"acknowledged": True})

    def _set_faults(self, body: bytes) -> Answer:
        try:
            settings = orjson.loads(body)
            given = settings if isinstance(settings, dict) else {"faults": settings}
            faults = [Fault.from_json(each) for each in given["faults"]]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return _error(400, "illegal_argument_exception", f"not faults: {error}")
        self.faults = Faults(faults, seed=int(given.get("seed", self.seed)))
        return _json({"acknowledged": True})


def _line(entry: tuple[str, str, Document]) -> bytes:
    index, identity, document = entry
    about = orjson.dumps({"_index": index, "_id": identity, "_seq_no": document.seq_no})
    return about[:-1] + b',"_source":' + document.source.strip() + b"}\n"


def _listed(kind: str, known: dict[str, Any]) -> Any:
    match kind:
        case "_index_template":
            return {"index_templates": [{"name": name, "index_template": value} for name, value in known.items()]}
        case "_component_template":
            templates = [{"name": name, "component_template": value} for name, value in known.items()]
            return {"component_templates": templates}
        case "_ilm/policy":
            about = {"version": 1, "modified_date": "2025-01-01T00:00:00.000Z", "in_use_by": {"indices": []}}
            return {name: {**about, **value} for name, value in known.items()}
        case _:
            return known
