"""Replaces reduced documents by whole ones (`--repair`), where a mapping was mended and no dead letter is at hand.

A document that is there already may be a reduced one, without a field or with the beginning of its line only: the
server is asked which are, and those go again with `index`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import msgspec

from shipper.batch import Documents
from shipper.carrier import Fate, Rebuilt
from shipper.elastic.asking import Asking, NotServedError
from shipper.elastic.reduce import CONFLICT_TAG, SIZE_TAG
from shipper.elastic.resend import ServerCarrier
from shipper.errors import OutputError, UndeliveredError
from shipper.letters import Letter
from shipper.presence import AT_ONCE
from shipper.settings import ElasticsearchSettings

_NO_INDEX = 404
_MARKS = frozenset({CONFLICT_TAG, SIZE_TAG})
_PLACES = ("tags", "shipper.tags", "shipper_fields.tags")


class _Tagged(msgspec.Struct):
    """A document, as far as it says that it was reduced."""

    tags: Any = ()
    shipper: Any = None
    shipper_fields: Any = None

    def names(self) -> set[str]:
        """All tags, the line's own and ours."""
        found: set[str] = set()
        for value in (self.tags, *map(_tags_below, (self.shipper, self.shipper_fields))):
            values = value if isinstance(value, list | tuple) else [value]
            found |= {one for one in values if isinstance(one, str)}
        return found


def _tags_below(value: Any) -> Any:
    return value.get("tags", ()) if isinstance(value, dict) else ()


class _Hit(msgspec.Struct, rename={"id": "_id", "source": "_source"}):
    id: str
    source: _Tagged = msgspec.field(default_factory=_Tagged)


class _Hits(msgspec.Struct):
    hits: list[_Hit] = []


class _Found(msgspec.Struct):
    hits: _Hits = msgspec.field(default_factory=_Hits)


class Repairer:
    """Used by one thread; waits for the server."""

    def __init__(self, settings: ElasticsearchSettings) -> None:
        """Raises OutputError where the settings can never work."""
        self._asking = Asking(settings, purpose="repair")
        self._carrier = ServerCarrier(asking=self._asking, settings=settings)
        self._refreshed: set[str] = set()

    def close(self) -> None:
        self._asking.close()

    def repair(self, documents: Documents) -> int:
        """How many documents (of one index) were reduced and are whole now. Raises UndeliveredError."""
        lines = documents.body.split(b"\n")
        actions = [msgspec.json.decode(line)["create"] for line in lines[:-1:2]]
        try:
            ids = [action["_id"] for action in actions]
            marked = {
                hit.id: hit.source.names() & _MARKS or _MARKS  # an index may keep no source to show
                for first in range(0, len(ids), AT_ONCE)
                for hit in self._marked(actions[0]["_index"], ids[first : first + AT_ONCE])
            }
            again = [
                Rebuilt(_letter(action["_index"], action["_id"], documents, number), source)
                for number, (action, source) in enumerate(zip(actions, lines[1::2], strict=True))
                if marked.get(action["_id"]) and not marked[action["_id"]] <= _tags_of(source)
            ]
            verdicts = self._carrier.deliver(again) if again else []
        except OutputError as error:
            raise UndeliveredError(str(error)) from None
        return sum(verdict.fate is Fate.REPLACED for verdict in verdicts)

    def _marked(self, index: str, ids: Sequence[str]) -> list[_Hit]:
        """Those of the documents that have a tag of reduced ones."""
        marks = [{"match": {name: mark}} for name in _PLACES for mark in sorted(_MARKS)]
        query = {
            "size": len(ids),
            "_source": list(_PLACES),
            "query": {
                "bool": {"filter": [{"ids": {"values": ids}}, {"bool": {"should": marks, "minimum_should_match": 1}}]}
            },
        }
        if index not in self._refreshed:  # else what came in the last second is not found; who may not, does without
            self._refreshed.add(index)
            with suppress(NotServedError):
                self._asking.ask("POST", f"/{quote(index, safe='')}/_refresh")
        target = f"/{quote(index, safe='')}/_search?filter_path=hits.hits._id,hits.hits._source"
        answer = self._asking.ask("POST", target, msgspec.json.encode(query))
        if answer.status == _NO_INDEX:
            return []
        if answer.status >= 300:
            raise OutputError(f"{self._asking}: the search for reduced documents is refused: status {answer.status}")
        try:
            return msgspec.json.decode(answer.body, type=_Found).hits.hits
        except msgspec.MsgspecError:
            raise OutputError(f"{self._asking} answers with something else") from None


def _tags_of(document: bytes) -> set[str]:
    """The tags of a document as it would be sent: a line that is too long for us has the tag for good."""
    return msgspec.json.decode(document, type=_Tagged).names()


def _letter(index: str, document_id: str, documents: Documents, number: int) -> Letter:
    """What says that a reduced document is to be replaced."""
    batch, line = documents.batch, documents.line_numbers[number]
    return Letter(
        id=document_id,
        index=index,
        source=batch.source,
        file=batch.path,
        offset=batch.offsets[line],
        reason="reduced",
        server="",
        time="",
        line="",
        reduced=True,
    )
