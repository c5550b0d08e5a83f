"""Replaces reduced documents by whole ones (`--repair`), where a mapping was mended and no dead letter is at hand.

A document that is there already may be a reduced one: the server is asked which are, and those go again with `index`.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

import msgspec

from shipper.batch import Documents
from shipper.carrier import Fate, Rebuilt
from shipper.elastic.asking import Asking
from shipper.elastic.reduce import CONFLICT_TAG
from shipper.elastic.resend import ServerCarrier
from shipper.errors import OutputError, UndeliveredError
from shipper.letters import Letter
from shipper.presence import AT_ONCE
from shipper.settings import ElasticsearchSettings

_NO_INDEX = 404


class _Hit(msgspec.Struct, rename={"id": "_id"}):
    id: str


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

    def close(self) -> None:
        self._asking.close()

    def repair(self, documents: Documents) -> int:
        """How many documents (of one index) were reduced and are whole now. Raises UndeliveredError."""
        lines = documents.body.split(b"\n")
        actions = [msgspec.json.decode(line)["create"] for line in lines[:-1:2]]
        try:
            ids = [action["_id"] for action in actions]
            reduced = {
                one
                for first in range(0, len(ids), AT_ONCE)
                for one in self._reduced(actions[0]["_index"], ids[first : first + AT_ONCE])
            }
            again = [
                Rebuilt(_letter(action["_index"], action["_id"], documents, number), source)
                for number, (action, source) in enumerate(zip(actions, lines[1::2], strict=True))
                if action["_id"] in reduced
            ]
            verdicts = self._carrier.deliver(again) if again else []
        except OutputError as error:
            raise UndeliveredError(str(error)) from None
        return sum(verdict.fate is Fate.REPLACED for verdict in verdicts)

    def _reduced(self, index: str, ids: Sequence[str]) -> set[str]:
        query = {
            "size": len(ids),
            "_source": False,
            "query": {"bool": {"filter": [{"ids": {"values": ids}}, {"match": {"tags": CONFLICT_TAG}}]}},
        }
        target = f"/{quote(index, safe='')}/_search?filter_path=hits.hits._id"
        answer = self._asking.ask("POST", target, msgspec.json.encode(query))
        if answer.status == _NO_INDEX:
            return set()
        if answer.status >= 300:
            raise OutputError(f"{self._asking}: the search for reduced documents is refused: status {answer.status}")
        try:
            return {hit.id for hit in msgspec.json.decode(answer.body, type=_Found).hits.hits}
        except msgspec.MsgspecError:
            raise OutputError(f"{self._asking} answers with something else") from None


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
