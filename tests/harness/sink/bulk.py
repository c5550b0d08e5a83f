"""What a bulk request means, and what it is answered: parsing, the documents in memory, the answer's bytes.

As Elasticsearch 8.19 does it, as far as a shipper can tell: `create` on a known (_index, _id) is a 409, one malformed
action line refuses the whole request and applies nothing, `filter_path` prunes the answer and loses positions.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from harness.sink.faults import Fault

MAX_ID_BYTES = 512
_ILLEGAL_IN_INDEX = frozenset('\\/*?"<>| ,#:')


class RefusedError(Exception):
    """A whole request that is answered with an error; nothing of it is applied."""

    def __init__(self, status: int, error_type: str, reason: str) -> None:
        super().__init__(reason)
        self.status, self.error_type, self.reason = status, error_type, reason


class Operation(NamedTuple):
    """One item of a bulk request; `source` is the line as it came, without its newline (empty for `delete`)."""

    action: str
    index_name: str
    id: str | None
    source: bytes


class Result(NamedTuple):
    """What became of one operation; `type` is empty if it succeeded."""

    action: str
    index_name: str
    id: str
    status: int
    seq_no: int = 0
    type: str = ""
    reason: str = ""


class Document(NamedTuple):
    """A stored document: the exact bytes that came, and its number in the order of arrival."""

    seq_no: int
    source: bytes


def parse(body: bytes, *, default_index: str = "") -> list[Operation]:
    """Return the operations of an uncompressed body; raise RefusedError (400) as Elasticsearch would."""
    if not body:
        raise RefusedError(400, "parse_exception", "request body is required")
    if not body.endswith(b"\n"):
        raise RefusedError(400, "illegal_argument_exception", "The bulk request must be terminated by a newline [\\n]")
    operations: list[Operation] = []
    lines = iter(body[:-1].split(b"\n"))
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        action, index, identity = _action(line, number, default_index)
        source = b"" if action == "delete" else next(lines, None)
        if source is None:
            raise RefusedError(400, "illegal_argument_exception", f"Malformed action/metadata line [{number}]")
        operations.append(Operation(action, index, identity, source))
    return operations


def _action(line: bytes, number: int, default_index: str) -> tuple[str, str, str | None]:
    try:
        parsed = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise RefusedError(400, "x_content_parse_exception", f"[{number}] {error}") from None
    malformed = RefusedError(400, "illegal_argument_exception", f"Malformed action/metadata line [{number}]")
    if not isinstance(parsed, dict) or len(parsed) != 1:
        raise malformed
    action, about = next(iter(parsed.items()))
    if action not in ("create", "index", "delete") or not isinstance(about, dict):
        raise malformed
    index, identity = about.get("_index", default_index), about.get("_id")
    if not index:
        raise RefusedError(400, "action_request_validation_exception", "Validation Failed: 1: index is missing;")
    if identity is not None and len(str(identity).encode(errors="surrogatepass")) > MAX_ID_BYTES:
        reason = f"Validation Failed: 1: id [{identity}] is too long, must be no longer than {MAX_ID_BYTES} bytes;"
        raise RefusedError(400, "action_request_validation_exception", reason)
    return action, str(index), None if identity is None else str(identity)


class Store:
    """All documents by (_index, _id), in memory: they end with the process. Safe to use from many threads.

    Without `keeps_sources` only their ids are kept, for runs of millions.
    """

    def __init__(self, *, keeps_sources: bool = True) -> None:
        self._keeps_sources = keeps_sources
        self._documents: dict[tuple[str, str], Document] = {}  # guarded by _lock
        self._indices: set[str] = set()  # guarded by _lock
        self._numbers = itertools.count()
        self._lock = threading.Lock()

    def apply(self, operations: Iterable[Operation], refuse: Callable[[Operation], Fault | None]) -> list[Result]:
        """Do the operations in order, but for those that `refuse` names a fault for; return one result each."""
        with self._lock:
            return [self._apply(operation, refuse(operation)) for operation in operations]

    def documents(self, pattern: str) -> list[tuple[str, str, Document]]:
        """Return (index, id, document) of the indices that match, in the order of arrival."""
        with self._lock:
            found = [(*key, document) for key, document in self._documents.items() if fnmatchcase(key[0], pattern)]
        return sorted(found, key=lambda entry: entry[2].seq_no)

    def count(self, pattern: str) -> int:
        """Return how many documents the indices that match have."""
        with self._lock:
            return sum(fnmatchcase(index, pattern) for index, _ in self._documents)

    def has(self, index: str, identities: Sequence[str]) -> list[bool] | None:
        """Return of each id whether it is in the index; None if there is no such index."""
        with self._lock:
            if index not in self._indices:
                return None
            return [(index, identity) in self._documents for identity in identities]

    def clear(self) -> None:
        """Forget all documents."""
        with self._lock:
            self._documents.clear()
            self._indices.clear()

    def _apply(self, operation: Operation, fault: Fault | None) -> Result:
        action, index = operation.action, operation.index_name
        number = next(self._numbers)
        identity = f"auto-{number}" if operation.id is None else operation.id
        key = (index, identity)
        if fault is not None:
            if fault.applied_share:
                self._documents.setdefault(key, self._document(number, operation))
            return Result(action, index, identity, fault.status, 0, fault.error_type, fault.reason)
        if action == "delete":
            return Result(action, index, identity, 404 if self._documents.pop(key, None) is None else 200, number)
        if _ILLEGAL_IN_INDEX & set(index) or index != index.lower() or index[0] in "_-+":
            reason = f"Invalid index name [{index}]"
            return Result(action, index, identity, 400, 0, "invalid_index_name_exception", reason)
        if reason := _unusable(operation.source):
            return Result(action, index, identity, 400, 0, "document_parsing_exception", reason)
        is_known = key in self._documents
        if is_known and action == "create":
            reason = f"[{identity}]: version conflict, document already exists (current version [1])"
            return Result(action, index, identity, 409, 0, "version_conflict_engine_exception", reason)
        self._documents[key] = self._document(number, operation)
        return Result(action, index, identity, 200 if is_known else 201, number)

    def _document(self, number: int, operation: Operation) -> Document:
        self._indices.add(operation.index_name)
        return Document(number, operation.source if self._keeps_sources else b"")


def _unusable(source: bytes) -> str:
    try:
        parsed = orjson.loads(source)
    except orjson.JSONDecodeError as error:
        return f"failed to parse: {error}"
    return "" if isinstance(parsed, dict) else "failed to parse: not an object"


def filtered(value: Any, paths: Sequence[Sequence[str]]) -> Any:
    """Return what `filter_path` leaves of a JSON value, or None if nothing: empty objects and arrays are pruned too."""
    if any(not path for path in paths):
        return value
    if isinstance(value, list):
        return [kept for entry in value if (kept := filtered(entry, paths)) is not None] or None
    if not isinstance(value, dict):
        return None
    kept_fields = {}
    for key, entry in value.items():
        below = [path[1:] for path in paths if fnmatchcase(key, path[0])]
        if below and (kept := filtered(entry, below)) is not None:
            kept_fields[key] = kept
    return kept_fields or None


_PROBE, _PROBE_NUMBER = "~differs from item to item~", 987_654_321


class AnswerShape:
    """The bulk answer under one `filter_path`: what is equal for all items is encoded only once."""

    def __init__(self, filter_path: str) -> None:
        self._paths = [path.split(".") for path in filter_path.split(",") if path]
        self._encoded: dict[tuple[str, int, str], bytes] = {}
        self._is_slim = {error: self._is_same_for_all(error) for error in ("", "error")}
        self._same: tuple[int, bytes] = (-1, b"")

    def answer(self, results: Sequence[Result], *, took: int = 1) -> bytes:
        """Return the answer's bytes for these results."""
        return self._whole([self._bytes(result) for result in results], any(result.type for result in results), took)

    def all_created(self, count: int) -> bytes:
        """Return the answer for `count` documents that were all created; the last one is remembered."""
        known, answer = self._same  # one read: other threads replace the pair
        if known != count:
            answer = self._whole([self._bytes(Result("create", "discarded", "discarded", 201))] * count, False, 1)
            self._same = (count, answer)
        return answer

    def _is_same_for_all(self, error: str) -> bool:
        probe = str(self._item(Result("create", _PROBE, _PROBE, 0, _PROBE_NUMBER, error, _PROBE)))
        return _PROBE not in probe and str(_PROBE_NUMBER) not in probe

    def _whole(self, items: list[bytes], has_errors: bool, took: int) -> bytes:
        head = {"errors": has_errors, "took": took}
        kept = head if not self._paths else (filtered(head, self._paths) or {})
        parts = [f'"{name}":{orjson.dumps(value).decode()}'.encode() for name, value in kept.items()]
        present = [item for item in items if item]
        if present:
            parts.append(b'"items":[' + b",".join(present) + b"]")
        return b"{" + b",".join(parts) + b"}"

    def _bytes(self, result: Result) -> bytes:
        if not self._is_slim["error" if result.type else ""]:
            return self._dump(result)
        key = (result.action, result.status, result.type)
        encoded = self._encoded.get(key)
        if encoded is None:
            encoded = self._encoded[key] = self._dump(result)
        return encoded

    def _dump(self, result: Result) -> bytes:
        item = self._item(result)
        return b"" if item is None else orjson.dumps(item)

    def _item(self, result: Result) -> Any:
        about: dict[str, Any] = {"_index": result.index_name, "_id": result.id}
        if result.type:
            error = {"type": result.type, "reason": result.reason, "shard": "0", "index": result.index_name}
            about |= {"status": result.status, "error": error}
        else:
            about |= {
                "_version": 1,
                "result": {200: "updated", 201: "created", 404: "not_found"}.get(result.status, "noop"),
                "_shards": {"total": 1, "successful": 1, "failed": 0},
                "_seq_no": result.seq_no,
                "_primary_term": 1,
                "status": result.status,
            }
        whole = {"items": [{result.action: about}]}
        if not self._paths:
            return whole["items"][0]
        kept = filtered(whole, self._paths)
        return None if kept is None else kept["items"][0]


@lru_cache(maxsize=64)
def answer_shape(filter_path: str) -> AnswerShape:
    """Return the shape for this `filter_path`; empty means the full answer."""
    return AnswerShape(filter_path)
