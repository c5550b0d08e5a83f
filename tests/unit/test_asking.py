"""What commands ask a server: patience, which documents are there, and what becomes of dead letters sent again."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from shipper.carrier import Fate, Rebuilt, Verdict
from shipper.elastic.asking import Asking, NotServedError
from shipper.elastic.presence import ServerShelf
from shipper.elastic.resend import ServerCarrier
from shipper.errors import OutputError
from shipper.letters import Letter
from shipper.presence import Presence
from shipper.settings import ElasticsearchSettings

Answer = tuple[int, Any]


class Server:
    """Answers requests one after another with what it was given; the last answer stays."""

    def __init__(self) -> None:
        self.answers: list[Answer | Callable[[bytes], Answer]] = [(200, {})]
        self.requests: list[tuple[str, bytes]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                outer.requests.append((self.path, body))
                answer = outer.answers[0] if len(outer.answers) == 1 else outer.answers.pop(0)
                status, content = answer(body) if callable(answer) else answer
                sent = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(sent)))
                self.end_headers()
                self.wfile.write(sent)

            do_GET = do_POST  # noqa: N815 - the library's names

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.settings = ElasticsearchSettings(hosts=(f"http://127.0.0.1:{self._server.server_port}",))
        self.sleeps: list[float] = []
        self.asking = Asking(self.settings, purpose="test", patience_seconds=5, sleep=self.sleeps.append)

    def close(self) -> None:
        self.asking.close()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    """A server on loopback."""
    started = Server()
    yield started
    started.close()


def rebuilt(number: int, *, is_reduced: bool = False, reason: str = "x") -> Rebuilt:
    letter = Letter(
        id=f"id-{number}",
        index="logs-2024.01.15",
        source="a",
        file="f",
        offset=number,
        reason=reason,
        time="t",
        line="{}",
        reduced=is_reduced,
    )
    return Rebuilt(letter, b'{"n":%d}' % number)


def items(*results: Answer) -> Answer:
    """A bulk answer with these statuses and errors."""
    return 200, {
        "items": [{"index": {"status": status, **({"error": error} if error else {})}} for status, error in results]
    }


# Patience


def test_a_busy_server_is_asked_again(server: Server) -> None:
    """429 and 5xx are waited out."""
    server.answers = [(429, {}), (503, b"<html>"), (200, {"ok": True})]

    answer = server.asking.ask("POST", "/x")

    assert json.loads(answer.body) == {"ok": True}
    assert len(server.sleeps) == 2


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_ends_at_once(server: Server, status: int) -> None:
    """Waiting would not help."""
    server.answers = [(status, {})]

    with pytest.raises(NotServedError, match="not allowed"):
        server.asking.ask("POST", "/x")

    assert server.sleeps == []


def test_patience_has_an_end(server: Server) -> None:
    """A server that stays busy, and one that is not there."""
    impatient = Asking(server.settings, purpose="test", patience_seconds=0)
    server.answers = [(503, {})]
    with pytest.raises(NotServedError, match="busy: status 503"):
        impatient.ask("POST", "/x")
    impatient.close()

    nobody = Asking(ElasticsearchSettings(hosts=("http://127.0.0.1:1",)), purpose="test", patience_seconds=0)
    with pytest.raises(NotServedError, match="does not answer"):
        nobody.ask("POST", "/x")
    nobody.close()


# Presence


def test_which_documents_are_there(server: Server) -> None:
    """One question for an index; of a closed one nobody knows."""
    closed = {"type": "index_closed_exception", "reason": "closed"}
    server.answers = [
        (
            200,
            {
                "docs": [
                    {"found": True},
                    {"found": False},
                    {"error": closed},
                ]
            },
        )
    ]
    shelf = ServerShelf(asking=server.asking)

    found = shelf.look_up("logs-a b", ["1", "2", "3"])

    assert found == [Presence.THERE, Presence.ABSENT, Presence.UNKNOWN]
    assert shelf.problems == {"logs-a b": "closed"}
    (request,) = server.requests
    assert request[0].startswith("/logs-a%20b/_mget?_source=false&")
    assert json.loads(request[1]) == {"ids": ["1", "2", "3"]}


def test_an_index_that_is_not_there_has_nothing(server: Server) -> None:
    """It is searched, as it may be a data stream; the server may also say it of the whole request."""
    error = {"type": "index_not_found_exception", "reason": "no such index"}
    missing = (404, {"error": error})
    shelf = ServerShelf(asking=server.asking)

    for answers in ([missing], [(200, {"docs": [{"error": error}] * 2}), missing]):
        server.answers = list(answers)
        assert [Presence.ABSENT] * 2 == shelf.look_up("x", ["1", "2"])


@pytest.mark.parametrize(
    "answer",
    [
        (404, b"<html>not here</html>"),
        (200, b"<html>"),
        (200, {"docs": [{"found": True}]}),
        (200, {}),
        (302, b""),
        (400, {"error": {"type": "illegal_argument_exception"}}),
    ],
)
def test_what_is_no_answer_is_never_taken_for_one(server: Server, answer: Answer) -> None:
    """A proxy's page, half an answer and a redirect say nothing of any document."""
    server.answers = [answer]

    with pytest.raises(OutputError):
        ServerShelf(asking=server.asking).look_up("x", ["1", "2"])


def test_a_name_for_several_indices_is_searched(server: Server) -> None:
    """After a refresh; the next question goes to the search at once."""
    many = {"type": "illegal_argument_exception", "reason": "alias [x] has more than one index associated with it"}
    hits = {"hits": {"hits": [{"_id": "2"}]}}
    server.answers = [(200, {"docs": [{"error": many}, {"error": many}]}), (200, {}), (200, hits)]
    shelf = ServerShelf(asking=server.asking)

    assert [Presence.ABSENT, Presence.THERE] == shelf.look_up("x", ["1", "2"])
    assert [Presence.THERE] == shelf.look_up("x", ["2"])
    paths = [path.partition("?")[0] for path, _ in server.requests]
    assert paths == ["/x/_mget", "/x/_refresh", "/x/_search", "/x/_search"]


# Sending again


def test_how_documents_are_sent(server: Server) -> None:
    """`create`, or `index` over a reduced document; what a failure store has is not in the index."""
    server.answers = [items((201, None), (200, None), (201, None))]
    documents = [rebuilt(1), rebuilt(2, is_reduced=True), rebuilt(3, is_reduced=True, reason="failure_store")]
    settings = ElasticsearchSettings(hosts=server.settings.hosts, pipeline="p 1")

    verdicts = ServerCarrier(asking=server.asking, settings=settings).deliver(documents)

    assert [Fate.CREATED, Fate.REPLACED, Fate.CREATED] == [verdict.fate for verdict in verdicts]
    path, body = server.requests[0]
    assert path.endswith("&pipeline=p+1")
    lines = [json.loads(text) for text in body.splitlines()]
    assert ["create", "index", "create"] == [next(iter(action)) for action in lines[::2]]
    assert lines[0]["create"] == {"_index": "logs-2024.01.15", "_id": "id-1"}
    assert lines[1] == {"n": 1}


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ((201, None), Verdict(Fate.CREATED)),
        ((409, {"type": "version_conflict_engine_exception"}), Verdict(Fate.ALREADY_THERE)),
        (
            (400, {"type": "document_parsing_exception", "reason": "it says", "caused_by": {"reason": "because"}}),
            Verdict(Fate.REFUSED, "document_parsing_exception", "it says; because"),
        ),
        (
            (429, {"type": "es_rejected_execution_exception"}),
            Verdict(Fate.NOT_DELIVERED, "es_rejected_execution_exception"),
        ),
        ((403, {"type": "cluster_block_exception"}), Verdict(Fate.NOT_DELIVERED, "cluster_block_exception")),
        ((400, {"type": "index_closed_exception"}), Verdict(Fate.NOT_DELIVERED, "index_closed_exception")),
    ],
)
def test_what_becomes_of_a_document(server: Server, result: Answer, expected: Verdict) -> None:
    """Accepted, there already, refused with the reason, or not just now."""
    server.answers = [items(result)]

    assert [expected] == ServerCarrier(asking=server.asking, settings=server.settings).deliver([rebuilt(1)])


@pytest.mark.parametrize(("status", "reason"), [(413, "too_large"), (400, "malformed")])
def test_a_request_that_is_refused_is_halved(server: Server, status: int, reason: str) -> None:
    """Until the document stands alone that is to blame."""

    def answer(body: bytes) -> Answer:
        return (status, {}) if b'"id-3"' in body else items(*[(201, None)] * (len(body.splitlines()) // 2))

    server.answers = [answer]

    verdicts = ServerCarrier(asking=server.asking, settings=server.settings).deliver([rebuilt(n) for n in range(6)])

    expected = [Verdict(Fate.REFUSED, reason) if n == 3 else Verdict(Fate.CREATED) for n in range(6)]
    assert expected == verdicts


@pytest.mark.parametrize("answer", [(200, b"<html>"), (200, {"items": []}), (302, b"")])
def test_what_is_no_answer_moves_no_record(server: Server, answer: Answer) -> None:
    """Half an answer may not be taken for success."""
    server.answers = [answer]

    with pytest.raises(OutputError):
        ServerCarrier(asking=server.asking, settings=server.settings).deliver([rebuilt(1)])


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((200, {"_source": {"@timestamp": "2024-01-15T10:30:45.123Z"}}), "2024-01-15T10:30:45.123Z"),
        ((200, {"_source": {"@timestamp": "never"}}), ""),
        ((200, {"_source": {}}), ""),
        ((200, b"<html>"), ""),
        ((404, {}), ""),
    ],
)
def test_the_time_of_a_reduced_document(server: Server, answer: Answer, expected: str) -> None:
    """A line that has inherited its time gets it from the document that stands for it; nobody is asked of others."""
    server.answers = [answer]
    carrier = ServerCarrier(asking=server.asking, settings=server.settings)

    assert expected == carrier.time_of(rebuilt(1, is_reduced=True).letter)
    assert carrier.time_of(rebuilt(1).letter) == ""
    assert len(server.requests) == 1
