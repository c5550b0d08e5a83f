"""The sink's process: sockets, HTTP, and the doing of what `faults` and `bulk` decide. A thread a connection.

Plain blocking sockets and one reused buffer a connection, so that a benchmark measures the shipper and not this.
`/_sink/*` is the control interface; it listens on a port of its own, so that faults and `down` never touch it.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import re
import socket
import struct
import sys
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import orjson
from isal import isal_zlib

from harness.sink.bulk import Document, Operation, RefusedError, Store, answer_shape, parse
from harness.sink.faults import Fault, Faults

_MAX_HEAD_BYTES = 64 * 1024
_PRODUCT = {"X-elastic-product": "Elasticsearch"}
_ROOT = {
    "name": "sink", "cluster_name": "sink", "cluster_uuid": "sinksinksinksinksinksi",
    "version": {
        "number": "8.19.0", "build_flavor": "default", "build_type": "docker", "build_hash": "0" * 40,
        "build_date": "2025-07-23T22:10:18.138215144Z", "build_snapshot": False, "lucene_version": "9.12.2",
        "minimum_wire_compatibility_version": "7.17.0", "minimum_index_compatibility_version": "7.0.0",
    },
    "tagline": "You Know, for Search",
}  # fmt: skip
_BrokenGzipError = cast(type[Exception], isal_zlib.error)  # its stub has it as an instance
_STORED = re.compile(r"/(_index_template|_component_template|_ilm/policy|_ingest/pipeline)(?:/([^/]+))?$")


@dataclass(frozen=True, slots=True)
class Head:
    """The first part of a request; header names are in lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]

    @property
    def length_bytes(self) -> int:
        """The body's length on the wire."""
        return int(self.headers.get("content-length", "0"))


class Wire(NamedTuple):
    """A request's body as it came: a part of the connection's buffer, not to be kept after the answer."""

    buffer: bytearray
    begin: int
    end: int

    def __bytes__(self) -> bytes:
        return bytes(memoryview(self.buffer)[self.begin : self.end])

    @property
    def size_bytes(self) -> int:
        """How long it is."""
        return self.end - self.begin

    @property
    def lines(self) -> int:
        """How many newlines it has."""
        return self.buffer.count(b"\n", self.begin, self.end)


@dataclass(frozen=True, slots=True)
class Answer:
    """A response; `is_cut` ends it in the middle, `is_silent` keeps it back until the client gives up."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "application/json", **_PRODUCT})
    is_cut: bool = False
    is_silent: bool = False

    def encoded(self, *, is_head: bool) -> bytes:
        """Return the bytes that go out."""
        lines = [f"HTTP/1.1 {self.status} {http.client.responses.get(self.status, 'Unknown')}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        lines.append(f"content-length: {len(self.body)}\r\n\r\n")
        whole = "\r\n".join(lines).encode() + (b"" if is_head else self.body)
        return whole[: len(whole) - len(self.body) // 2 - 1] if self.is_cut else whole


def _json(value: Any, status: int = 200) -> Answer:
    return Answer(status, orjson.dumps(value))


def _error(status: int, error_type: str, reason: str) -> Answer:
    cause = {"type": error_type, "reason": reason}
    body = orjson.dumps({"error": {"root_cause": [cause], **cause}, "status": status})
    headers = {"content-type": "application/json", **_PRODUCT}
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
    def at_work(self) -> Any:
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
    """What the sink knows and how it answers; no sockets here."""

    def __init__(self, *, keep: bool, seed: int) -> None:
        self.keep = keep
        self.seed = seed
        self.faults = Faults(seed=seed)
        self.statistics = Statistics()
        self.set_listening: Callable[[bool], None] = lambda is_listening: None
        self._store = Store()
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
            whole = _inflated(head, wire)
            self._bulk(head, whole[: whole.rfind(b"\n") + 1], share=fault.applied_share)

    def _faulty_or_ordinary(self, head: Head, wire: Wire) -> Answer:
        if self.faults.is_empty:
            return self._ordinary(head, wire)
        body = _inflated(head, wire)
        if delay := self.faults.delay(head.path, body):
            time.sleep(delay)
        fault = self.faults.whole(head.path, body)
        if fault is None:
            return self._ordinary(head, wire)
        return self._faulty(head, body, fault)

    def _faulty(self, head: Head, body: bytes, fault: Fault) -> Answer:
        applied = Answer()
        if fault.applied_share and head.path.endswith("_bulk"):
            applied = self._bulk(head, body, share=fault.applied_share)
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
            if not self.keep:
                return self._discard(head, wire)
            return self._bulk(head, _inflated(head, wire))
        if head.path == "/":
            return _json(_ROOT)
        if head.path.startswith("/_cluster/health"):
            return _json({"cluster_name": "sink", "status": "green", "timed_out": False, "number_of_nodes": 1})
        if head.path == "/_ilm/status":
            return _json({"operation_mode": "RUNNING"})
        if head.path.endswith("/_refresh"):
            return _json({"_shards": {"total": 1, "successful": 1, "failed": 0}})
        if found := _STORED.match(head.path):
            return self._stored(head, found[1], urllib.parse.unquote(found[2] or "*"), bytes(wire))
        reason = f"no handler found for uri [{head.path}] and method [{head.method}]"
        return _error(400, "illegal_argument_exception", reason)

    def _discard(self, head: Head, wire: Wire) -> Answer:
        if "content-encoding" in head.headers:
            body = _inflated(head, wire)
            lines, size_bytes = body.count(b"\n"), len(body)
        else:
            lines, size_bytes = wire.lines, wire.size_bytes
        documents = lines // 2
        self.statistics.count(bulk_requests=1, body_bytes=size_bytes, documents=documents)
        return Answer(body=answer_shape(head.query.get("filter_path", "")).all_created(documents))

    def _bulk(self, head: Head, body: bytes, *, share: float = 1.0) -> Answer:
        self.statistics.count(bulk_requests=1, body_bytes=len(body))
        try:
            operations = parse(body, default_index=urllib.parse.unquote(head.path[1:].rpartition("/")[0]))
        except RefusedError as error:
            return _error(error.status, error.error_type, error.reason)
        operations = operations[: int(len(operations) * share)]
        results = self._store.apply(operations, self._refusing(head.path))
        statuses = Counter(result.status for result in results)
        self.statistics.count_items(statuses)
        self.statistics.count(documents=statuses[201] + statuses[200], duplicates=statuses[409])
        return Answer(body=answer_shape(head.query.get("filter_path", "")).answer(results))

    def _refusing(self, path: str) -> Callable[[Operation], Fault | None]:
        faults = self.faults
        if not faults.has_items:
            return lambda operation: None
        return lambda operation: faults.item(path, operation.index_name, operation.source)

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


def _inflated(head: Head, wire: Wire) -> bytes:
    """Return the uncompressed body; of a gzip that was cut off as much as there is, like the real one."""
    if head.headers.get("content-encoding") != "gzip":
        return bytes(wire)
    rest, members = bytes(wire), []
    with contextlib.suppress(_BrokenGzipError):
        while rest:
            inflater = isal_zlib.decompressobj(wbits=31)
            members.append(inflater.decompress(rest))
            rest = inflater.unused_data
    return members[0] if len(members) == 1 else b"".join(members)


class Connection:
    """One client's connection, served by one thread until either side ends it."""

    def __init__(self, sock: socket.socket, core: Core) -> None:
        self._sock = sock
        self._core = core
        self._buffer = bytearray(256 * 1024)
        self._filled = 0

    def serve(self) -> None:
        """Answer requests until the connection ends."""
        with contextlib.suppress(ConnectionError, TimeoutError), self._sock:
            while (found := self._head()) is not None and self._serve_one(*found):
                pass

    def _serve_one(self, head: Head, begin: int) -> bool:
        if head.headers.get("expect", "").lower() == "100-continue":
            self._sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        is_control = head.path.startswith("/_sink/")
        with contextlib.nullcontext() if is_control else self._core.statistics.at_work():
            cut = None if is_control else self._core.faults.before_body(head.path)
            end = self._fill(begin, min(head.length_bytes, cut.bytes) if cut else head.length_bytes)
            if cut is not None:
                return self._reset(head, cut, Wire(self._buffer, begin, end))
            answer = self._core.answer(head, Wire(self._buffer, begin, end))
            if answer.is_silent:
                self._sock.settimeout(None)
                while self._sock.recv(65536):
                    pass
                return False
            self._sock.sendall(answer.encoded(is_head=head.method == "HEAD"))
        rest = self._filled - end
        self._buffer[:rest] = self._buffer[end : self._filled]
        self._filled = rest
        return not answer.is_cut and head.headers.get("connection", "").lower() != "close"

    def _head(self) -> tuple[Head, int] | None:
        while (end := self._buffer.find(b"\r\n\r\n", 0, self._filled)) < 0:
            if self._filled > _MAX_HEAD_BYTES:
                return None
            if not self._receive():
                return None
        first, *lines = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ", 2)
        path, _, query = target.partition("?")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return Head(method, path, dict(urllib.parse.parse_qsl(query, keep_blank_values=True)), headers), end + 4

    def _fill(self, begin: int, length: int) -> int:
        """Read until `length` bytes from `begin` are there; return where they end."""
        end = begin + length
        if end > len(self._buffer):
            self._buffer.extend(bytes(end - len(self._buffer)))
        while self._filled < end:
            if not self._receive(end):
                raise ConnectionResetError("the client ended in the middle of a body")
        return end

    def _receive(self, end: int | None = None) -> int:
        with memoryview(self._buffer) as view, view[self._filled : end] as rest:
            count = self._sock.recv_into(rest, flags=0 if end is None else socket.MSG_WAITALL)
        self._filled += count
        return count

    def _reset(self, head: Head, fault: Fault, wire: Wire) -> bool:
        self._core.apply_part(head, fault, wire)
        self._core.statistics.count_status(0)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False


class Listener:
    """A listening socket and its connections; `set_open` closes them all and comes back on the same port."""

    def __init__(self, *, host: str, port: int, core: Core) -> None:
        self._core = core
        self._open: set[socket.socket] = set()  # guarded by _lock
        self._lock = threading.Lock()
        self._address: tuple[str, int] = (host, port)
        self._socket: socket.socket | None = None
        self._thread: threading.Thread
        self.set_open(True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return "http://{}:{}".format(*self._address)

    def set_open(self, is_open: bool) -> None:
        """Listen, or refuse all and reset what is connected."""
        if is_open and self._socket is None:
            self._socket = socket.create_server(self._address, backlog=128)
            self._address = (self._address[0], self._socket.getsockname()[1])
            self._thread = threading.Thread(target=self._accept, args=(self._socket,), daemon=True)
            self._thread.start()
        elif not is_open and self._socket is not None:
            listening, self._socket = self._socket, None
            with contextlib.suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)  # wakes the thread in accept()
            listening.close()
            self._thread.join()  # the port is taken as long as that thread is in accept()
            with self._lock:
                connected = list(self._open)
            for each in connected:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                sock, _ = listening.accept()
            except OSError:
                return  # closed by set_open(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open.add(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        self._core.statistics.count(connections=1)
        try:
            Connection(sock, self._core).serve()
        finally:
            with self._lock:
                self._open.discard(sock)


def main(arguments: list[str]) -> None:
    """Serve until SIGTERM, or until standard input closes if told so; print READY with both addresses as JSON."""
    parser = argparse.ArgumentParser(prog="python -m harness.sink", description="A bulk sink with faults.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--discard", action="store_true", help="count the documents, keep none: for benchmarks")
    parser.add_argument("--seed", type=int, default=0, help="of the faults that are drawn by rate")
    parser.add_argument("--until-stdin-closes", action="store_true", help="end with the process that holds our input")
    options = parser.parse_args(arguments)
    core = Core(keep=not options.discard, seed=options.seed)
    listener = Listener(host=options.host, port=options.port, core=core)
    control = Listener(host="127.0.0.1", port=0, core=core)
    core.set_listening = listener.set_open
    print("READY", json.dumps({"url": listener.url, "control": control.url, "pid": os.getpid()}), flush=True)
    if options.until_stdin_closes:
        sys.stdin.read()
    else:
        threading.Event().wait()
