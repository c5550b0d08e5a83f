"""Delivers dead letters' documents to a server: `create`, or `index` where a reduced document is to be replaced."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec

from shipper.carrier import Fate, Rebuilt, Verdict
from shipper.elastic.asking import Asking
from shipper.elastic.bulk import FAILURE_STORE, ItemError, judge_item
from shipper.elastic.bulk import Verdict as Judged
from shipper.elastic.transport import Answer
from shipper.errors import OutputError
from shipper.letters import Letter
from shipper.settings import ElasticsearchSettings
from shipper.times import event_time

SERVER_CHARS = 500
_BACKING = ".ds-"
_FILTER: Final = (
    "errors,items.*.status,items.*.error.type,items.*.error.reason,items.*.error.caused_by.reason,items.*.failure_store"
)


class _Cause(msgspec.Struct):
    reason: str | None = None


class _Error(msgspec.Struct):
    type: str = ""
    reason: str | None = None
    caused_by: _Cause | None = None


class _Result(msgspec.Struct):
    status: int
    error: _Error | None = None
    failure_store: str = ""


class _Answer(msgspec.Struct):
    items: list[dict[str, _Result]]


class _Place(
    msgspec.Struct, rename={"id": "_id", "index": "_index", "seq_no": "_seq_no", "primary_term": "_primary_term"}
):
    id: str
    index: str
    seq_no: int
    primary_term: int


class _Hits(msgspec.Struct):
    hits: list[_Place] = []


class _Found(msgspec.Struct):
    hits: _Hits = msgspec.field(default_factory=_Hits)


class ServerCarrier:
    """A Carrier into Elasticsearch or OpenSearch."""

    def __init__(self, *, asking: Asking, settings: ElasticsearchSettings) -> None:
        self._asking = asking
        self._has_streams = settings.allow_data_stream
        pipeline = {"pipeline": settings.pipeline} if settings.pipeline else {}
        self._target = "/_bulk?" + urlencode({"filter_path": _FILTER, **pipeline}, safe=",*")

    def deliver(self, documents: Sequence[Rebuilt]) -> list[Verdict]:
        places = self._places(documents) if self._has_streams else {}
        body = b"".join(_framed(document, places) for document in documents)
        answer = self._asking.ask("POST", self._target, body, content_type="application/x-ndjson")
        if answer.status == 200:
            return self._judged(documents, answer)
        if answer.status not in (400, 413):
            raise OutputError(f"the server refuses: status {answer.status}")
        if len(documents) > 1:
            middle = len(documents) // 2
            return [*self.deliver(documents[:middle]), *self.deliver(documents[middle:])]
        return [Verdict(Fate.REFUSED, "too_large" if answer.status == 413 else "malformed")]

    def _judged(self, documents: Sequence[Rebuilt], answer: Answer) -> list[Verdict]:
        try:
            items = msgspec.json.decode(answer.body, type=_Answer).items
            results = [result for item in items for result in item.values()]
        except msgspec.MsgspecError:
            raise OutputError("the server answers with something else") from None
        if len(results) != len(documents):
            raise OutputError(f"the server answered for {len(results)} of {len(documents)} documents")
        return [_verdict(result) for result in results]

    def _places(self, documents: Sequence[Rebuilt]) -> dict[str, _Place]:
        """Where reduced documents stand in data streams, by id: only there, in that version, may they be replaced."""
        by_index: dict[str, list[str]] = {}
        for document in filter(_is_replacing, documents):
            by_index.setdefault(document.letter.index, []).append(document.letter.id)
        places: dict[str, _Place] = {}
        for index, ids in by_index.items():
            query = {"size": len(ids), "_source": False, "seq_no_primary_term": True, "query": {"ids": {"values": ids}}}
            target = f"/{quote(index, safe='')}/_search?filter_path=hits.hits"
            answer = self._asking.ask("POST", target, msgspec.json.encode(query))
            with contextlib.suppress(msgspec.MsgspecError):
                places |= {hit.id: hit for hit in msgspec.json.decode(answer.body, type=_Found).hits.hits}
        return places

    def time_of(self, letter: Letter) -> str:
        """The time of the reduced document; it has inherited it as the whole one has to."""
        if not letter.reduced:
            return ""
        target = f"/{quote(letter.index, safe='')}/_doc/{quote(letter.id, safe='')}?_source_includes=@timestamp"
        answer = self._asking.ask("GET", target)
        if answer.status != 200:
            return ""
        try:
            source = msgspec.json.decode(answer.body, type=dict[str, Any]).get("_source", {})
        except msgspec.MsgspecError:
            return ""
        found = event_time(source.get("@timestamp")) if isinstance(source, dict) else None
        return found or ""


def _is_replacing(document: Rebuilt) -> bool:
    """Whether a reduced document stands where this one belongs; what a failure store has does not."""
    return document.letter.reduced and document.letter.reason != FAILURE_STORE


def _framed(document: Rebuilt, places: Mapping[str, _Place]) -> bytes:
    letter = document.letter
    target: dict[str, Any] = {"_index": letter.index, "_id": letter.id}
    place = places.get(letter.id)
    if place is not None and place.index.startswith(_BACKING):
        target |= {"_index": place.index, "if_seq_no": place.seq_no, "if_primary_term": place.primary_term}
    action = {"index" if _is_replacing(document) else "create": target}
    return b"%b\n%b\n" % (msgspec.json.encode(action), document.document)


def _verdict(result: _Result) -> Verdict:
    error = None
    if result.error is not None:
        cause = result.error.caused_by.reason if result.error.caused_by is not None else None
        said = "; ".join(text for text in (result.error.reason, cause) if text)
        error = ItemError(result.error.type, said)
    elif result.failure_store == "used":
        error = ItemError(FAILURE_STORE, "")
    match judge_item(result.status, error):
        case Judged.CREATED:
            return Verdict(Fate.REPLACED if result.status == HTTPStatus.OK else Fate.CREATED)
        case Judged.DUPLICATE:
            return Verdict(Fate.ALREADY_THERE)
        case Judged.RETRY | Judged.HOLD:
            return Verdict(Fate.NOT_DELIVERED, error.type if error is not None else "")
        case _:
            reason = error.type if error is not None else f"status_{result.status}"
            return Verdict(Fate.REFUSED, reason, error.reason[:SERVER_CHARS] if error is not None else "")
