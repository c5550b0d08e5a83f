"""Which documents a server has, for `audit`: asked with `_mget`, which sees what was written a moment ago."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from shipper.batch import Content
from shipper.elastic.asking import Asking, NotServedError
from shipper.elastic.transport import Answer
from shipper.presence import Presence, Ranges

_NO_INDEX = "index_not_found_exception"
_MANY_INDICES = "more than one index"

_Kind = TypeVar("_Kind")


class _Error(msgspec.Struct):
    type: str = ""
    reason: str = ""


class _Document(msgspec.Struct):
    found: bool = False
    error: _Error | None = None


class _Documents(msgspec.Struct):
    docs: list[_Document]


class _Hit(msgspec.Struct, rename={"id": "_id"}):
    id: str


class _Hits(msgspec.Struct):
    hits: list[_Hit] = []


class _Found(msgspec.Struct):
    hits: _Hits = msgspec.field(default_factory=_Hits)


class ServerShelf:
    """A Shelf of Elasticsearch or OpenSearch."""

    def __init__(self, *, asking: Asking) -> None:
        self._asking = asking
        self.repeated = 0  # an id is there once in an index
        self._searched: set[str] = set()
        self.problems: dict[str, str] = {}

    def look_up(self, index: str, ids: Sequence[str]) -> list[Presence]:
        if index in self._searched:
            return self._search(index, ids)
        answer = self._ask(
            f"{_path(index)}/_mget?_source=false&filter_path=docs.found,docs.error.type,docs.error.reason", {"ids": ids}
        )
        if answer.status == 404:
            return [Presence.ABSENT] * len(ids)
        documents = _decoded(answer, _Documents).docs
        if any(document.error is not None and _must_be_searched(document.error) for document in documents):
            self._ask(f"{_path(index)}/_refresh", None)
            return self._search(index, ids)
        if len(documents) != len(ids):
            raise NotServedError(f"the server said something of {len(documents)} of {len(ids)} documents")
        return [self._judged(index, document) for document in documents]

    def has_index(self, index: str) -> bool:  # noqa: ARG002 - a server's retention is not ours to explain
        return True

    def deleted(self, content: Content) -> Ranges:  # noqa: ARG002
        return ()

    def __str__(self) -> str:
        return str(self._asking)

    def _judged(self, index: str, document: _Document) -> Presence:
        if document.error is None:
            return Presence.THERE if document.found else Presence.ABSENT
        self.problems[index] = document.error.reason or document.error.type
        return Presence.UNKNOWN

    def _search(self, index: str, ids: Sequence[str]) -> list[Presence]:
        """The same of a name that is an alias of several indices or a data stream."""
        query = {"size": len(ids), "_source": False, "query": {"ids": {"values": ids}}}
        parameters = "allow_partial_search_results=false&filter_path=hits.hits._id"
        answer = self._ask(f"{_path(index)}/_search?{parameters}", query)
        if answer.status == 404:
            return [Presence.ABSENT] * len(ids)
        self._searched.add(index)
        found = {hit.id for hit in _decoded(answer, _Found).hits.hits}
        return [Presence.THERE if one in found else Presence.ABSENT for one in ids]

    def _ask(self, target: str, body: dict[str, Any] | None) -> Answer:
        answer = self._asking.ask("POST", target, b"" if body is None else json.dumps(body).encode())
        if answer.status >= 300 and not _says_no_index(answer):
            raise NotServedError(f"{self._asking}: {target.partition('?')[0]} is refused: status {answer.status}")
        return answer


def _must_be_searched(error: _Error) -> bool:
    """Whether a name may be that of several indices: of a data stream too a server says that there is no such index."""
    return error.type == _NO_INDEX or _MANY_INDICES in error.reason


def _says_no_index(answer: Answer) -> bool:
    """Whether a 404 is the server's own, about an index; not a proxy's about a path."""
    return answer.status == 404 and _NO_INDEX.encode() in answer.body


def _path(index: str) -> str:
    return "/" + quote(index, safe="")


def _decoded(answer: Answer, kind: type[_Kind]) -> _Kind:
    try:
        return msgspec.json.decode(answer.body, type=kind)
    except msgspec.MsgspecError as error:
        raise NotServedError(f"the server answers with something else: {error}") from None
