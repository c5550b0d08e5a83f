"""Delivers dead letters' documents to a server: `create`, or `index` where a reduced document is to be replaced."""

from __future__ import annotations

from collections.abc import Sequence
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


class ServerCarrier:
    """A Carrier into Elasticsearch or OpenSearch."""

    def __init__(self, *, asking: Asking, settings: ElasticsearchSettings) -> None:
        self._asking = asking
        pipeline = {"pipeline": settings.pipeline} if settings.pipeline else {}
        self._target = "/_bulk?" + urlencode({"filter_path": _FILTER, **pipeline}, safe=",*")

    def deliver(self, documents: Sequence[Rebuilt]) -> list[Verdict]:
        body = b"".join(map(_framed, documents))
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


def _framed(document: Rebuilt) -> bytes:
    letter = document.letter
    is_replacing = letter.reduced and letter.reason != FAILURE_STORE  # what is in the failure store is not in the index
    action = {"index" if is_replacing else "create": {"_index": letter.index, "_id": letter.id}}
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
