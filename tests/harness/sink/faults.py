"""Which fault meets which request, and how often: decisions only, no sockets.

Faults are tried in the order given. One that is drawn by `rate` is drawn from a seeded generator, so that a single
client meets the same faults in every run.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, asdict, dataclass, field, fields
from fnmatch import fnmatchcase
from typing import Any, Literal, get_args

Kind = Literal[
    "items", "status", "too_large", "html", "redirect", "garbage", "half_items",
    "cut_request", "cut_answer", "slow", "silent",
]  # fmt: skip

ERROR_TYPES = {
    400: "document_parsing_exception",
    401: "security_exception",
    403: "security_exception",
    404: "index_not_found_exception",
    409: "version_conflict_engine_exception",
    429: "es_rejected_execution_exception",
    503: "unavailable_shards_exception",
}
"""What Elasticsearch 8 calls the usual refusals; another status is an `exception`."""

_APPLIED = {"garbage": 1.0, "half_items": 0.5, "cut_answer": 1.0, "silent": 1.0}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong. By kind:

    - `items`: single documents are answered with `status`, `type`, `reason`; the request itself is a 200. With
      `applied` they are stored nevertheless, as when only the answer was lost. Not while the sink discards.
    - `status`: the whole request is, with Elasticsearch's error JSON.
    - `too_large`: 413 with an empty body, above `bytes` uncompressed.
    - `html`: a proxy's page, with `status`.  `redirect`: 302 to `location`.
    - `garbage`: 200 whose body is no JSON.  `half_items`: 200 that answers for the first half of the items only.
    - `cut_request`: the connection is reset after `bytes` of the request's body.
    - `cut_answer`: it is closed after half of the answer.
    - `slow`: everything else happens `seconds` later.  `silent`: no answer, the connection stays open.
    """

    kind: Kind
    _: KW_ONLY
    status: int = 429
    type: str = ""  # of the error; empty: what Elasticsearch says with this status
    reason: str = "as the test asked"
    rate: float = 1.0  # the share of requests (or items) that it meets
    after: int = 0  # it spares that many first
    times: int | None = None  # and then happens that often; None: for ever
    index: str = "*"  # only items for indices of this pattern (`items`)
    contains: str = ""  # only items, or requests, whose text contains this
    company: str = ""  # only items of requests whose text contains this (`items`)
    path: str = "*_bulk"  # only requests to paths of this pattern
    bytes: int = 0
    above: int = 0  # only requests of more bytes than that on the wire (`cut_request`)
    seconds: float = 0.0
    location: str = "http://127.0.0.1:9/"
    applied: float | None = None  # share of a failing request's items that is stored; None: as the kind has it

    @property
    def error_type(self) -> str:
        """The error's type as the answer carries it."""
        return self.type or ERROR_TYPES.get(self.status, "exception")

    @property
    def applied_share(self) -> float:
        """The share of the items, from the first, that is stored although the request fails."""
        return _APPLIED.get(self.kind, 0.0) if self.applied is None else self.applied

    @classmethod
    def from_json(cls, settings: Mapping[str, Any]) -> Fault:
        """Return the fault that a JSON object describes; raise ValueError for an unknown kind or key."""
        unknown = settings.keys() - {known.name for known in fields(cls)}
        if unknown or settings.get("kind") not in get_args(Kind):
            raise ValueError(f"no such fault: {dict(settings)}")
        return cls(**settings)

    def to_json(self) -> dict[str, Any]:
        """Return the object that `from_json` reads."""
        return asdict(self)


@dataclass(slots=True)
class _Counted:
    fault: Fault
    met: int = 0
    fired: int = 0


@dataclass(slots=True)
class Faults:
    """The faults in force and how often each has happened; safe to ask from many threads."""

    faults: Iterable[Fault] = ()
    seed: int = 0
    _counted: list[_Counted] = field(init=False)  # guarded by _lock
    _random: random.Random = field(init=False)  # guarded by _lock
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._counted = [_Counted(fault) for fault in self.faults]
        self._random = random.Random(self.seed)

    @property
    def is_empty(self) -> bool:
        """True if nothing can go wrong."""
        return not self._counted

    @property
    def has_items(self) -> bool:
        """True if single documents may be refused."""
        return any(counted.fault.kind == "items" for counted in self._counted)

    def before_body(self, path: str, *, body_bytes: int) -> Fault | None:
        """Return the fault that cuts this request, with a body of so many bytes, before it is read."""
        return self._first(kinds={"cut_request"}, path=path, text=None, body_bytes=body_bytes)

    def delay(self, path: str, text: bytes) -> float:
        """Return how many seconds this request has to wait, all `slow` faults together."""
        with self._lock:
            return sum(
                counted.fault.seconds
                for counted in self._counted
                if counted.fault.kind == "slow" and self._fires(counted, path=path, text=text, body_bytes=None)
            )

    def whole(self, path: str, text: bytes) -> Fault | None:
        """Return the fault that this whole request ends in; `text` is its uncompressed body."""
        whole = set(get_args(Kind)) - {"cut_request", "slow", "items"}
        return self._first(kinds=whole, path=path, text=text, body_bytes=len(text))

    def item(self, path: str, index: str, source: bytes, *, request: bytes = b"") -> Fault | None:
        """Return the fault that refuses this document of a request with that text."""
        return self._first(kinds={"items"}, path=path, text=source, body_bytes=None, index=index, request=request)

    def report(self) -> list[dict[str, Any]]:
        """Return every fault as JSON, with `fired`, the number of times that it has happened."""
        with self._lock:
            return [{**counted.fault.to_json(), "fired": counted.fired} for counted in self._counted]

    def _first(
        self,
        *,
        kinds: set[str],
        path: str,
        text: bytes | None,
        body_bytes: int | None,
        index: str = "",
        request: bytes = b"",
    ) -> Fault | None:
        with self._lock:
            for counted in self._counted:
                if counted.fault.kind in kinds and self._fires(
                    counted, path=path, text=text, body_bytes=body_bytes, index=index, request=request
                ):
                    return counted.fault
        return None

    def _fires(
        self,
        counted: _Counted,
        *,
        path: str,
        text: bytes | None,
        body_bytes: int | None,
        index: str = "",
        request: bytes = b"",
    ) -> bool:
        fault = counted.fault
        if not fnmatchcase(path, fault.path) or (fault.kind == "items" and not fnmatchcase(index, fault.index)):
            return False
        if fault.contains and (text is None or fault.contains.encode() not in text):
            return False
        if fault.company.encode() not in request:
            return False
        if fault.kind == "too_large" and (body_bytes or 0) <= fault.bytes:
            return False
        if fault.kind == "cut_request" and (body_bytes or 0) <= fault.above:
            return False
        counted.met += 1
        if counted.met <= fault.after or (fault.times is not None and counted.fired >= fault.times):
            return False
        if fault.rate < 1 and self._random.random() >= fault.rate:
            return False
        counted.fired += 1
        return True
