"""The sink does what its faults are named after, and otherwise answers as Elasticsearch does."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import socket
import threading
import time
import urllib.parse
import zlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import elasticsearch
import pytest
from harness.process import wait_until
from harness.sink import Fault, Sink

SLIM = "/_bulk?filter_path=errors,items.*.status,items.*.error.type"


@pytest.fixture(scope="module")
def shared() -> Iterator[Sink]:
    """One process for all tests of this file."""
    with Sink(seed=1) as sink:
        yield sink


@pytest.fixture
def sink(shared: Sink) -> Sink:
    """The sink, healed and empty."""
    shared.up()
    shared.fault()
    shared.clear()
    return shared


def bulk(*ids: str, index: str = "logs-a", source: str = '{"a":1}') -> bytes:
    """A bulk body that creates these documents."""
    return "".join(f'{{"create":{{"_index":"{index}","_id":"{each}"}}}}\n{source}\n' for each in ids).encode()


def post(sink: Sink, path: str, body: bytes, headers: dict[str, str] | None = None, timeout: float = 10) -> Any:
    """One request with Python's own client; the response, with its body as `.text`."""
    address = urllib.parse.urlsplit(sink.url).netloc
    with contextlib.closing(http.client.HTTPConnection(address, timeout=timeout)) as connection:
        connection.request("POST", path, body, {"content-type": "application/x-ndjson", **(headers or {})})
        with connection.getresponse() as response:
            return SimpleNamespace(status=response.status, headers=response.headers, text=response.read())


def statuses(answer: Any) -> list[int]:
    """The items' statuses in order."""
    return [next(iter(item.values()))["status"] for item in answer["items"]]


def ids(sink: Sink, index: str = "*") -> list[str]:
    """The ids that are stored, in order of arrival."""
    return [document["_id"] for document in sink.docs(index)]


def test_create_stores_and_a_repeat_conflicts(sink: Sink) -> None:
    """A document is created once; its repetition is a 409 item with Elasticsearch's error type."""
    assert sink.request("POST", SLIM, bulk("1", "2"))[1] == {
        "errors": False,
        "items": [{"create": {"status": 201}}, {"create": {"status": 201}}],
    }
    error = {"status": 409, "error": {"type": "version_conflict_engine_exception"}}
    assert sink.request("POST", SLIM, bulk("2", "3"))[1] == {
        "errors": True,
        "items": [{"create": error}, {"create": {"status": 201}}],
    }
    assert ids(sink) == ["1", "2", "3"]
    assert {"_index": "logs-a", "_id": "1", "_source": {"a": 1}}.items() <= sink.docs()[0].items()
    stats = sink.stats()
    assert (stats["documents"], stats["duplicates"], stats["bulk_requests"]) == (3, 1, 2)
    assert stats["item_statuses"] == {"201": 3, "409": 1}


def test_filter_path_loses_positions_as_elasticsearch_does(sink: Sink) -> None:
    """Without `items.*.status` an item that succeeded leaves no trace; without any filter all fields are there."""
    path = "/_bulk?filter_path=errors,items.*.error.type"
    assert sink.request("POST", path, bulk("1"))[1] == {"errors": False}
    assert len(sink.request("POST", path, bulk("1", "2"))[1]["items"]) == 1
    full = sink.request("POST", "/_bulk", bulk("3"))[1]
    assert list(full) == ["errors", "took", "items"]
    item = full["items"][0]["create"]
    assert (item["_index"], item["_id"], item["result"], item["status"]) == ("logs-a", "3", "created", 201)


@pytest.mark.parametrize(
    ("body", "error_type"),
    [
        (b"", "parse_exception"),
        (bulk("1")[:-1], "illegal_argument_exception"),
        (bulk("1") + b"garbage\n{}\n", "x_content_parse_exception"),
        (bulk("1") + b'{"craete":{}}\n{}\n', "illegal_argument_exception"),
        (b'{"create":{"_id":"1"}}\n{}\n', "action_request_validation_exception"),
        (bulk("1", "x" * 513), "action_request_validation_exception"),
    ],
    ids=["empty", "no newline", "garbage action", "unknown action", "no index", "long id"],
)
def test_a_malformed_request_is_refused_whole(sink: Sink, body: bytes, error_type: str) -> None:
    """One bad action line is a 400 for the whole request, and nothing of it is applied."""
    status, answer = sink.request("POST", "/_bulk", body)
    assert (400, error_type) == (status, answer["error"]["type"])
    assert ids(sink) == []


def test_a_bad_document_is_refused_alone(sink: Sink) -> None:
    """A source that is no JSON object, or an impossible index name, is a 400 item; its neighbours are stored."""
    body = bulk("1") + bulk("2", source="[1]") + bulk("3", source="{a") + bulk("4", index="Upper") + bulk("5")
    assert statuses(sink.request("POST", "/_bulk", body)[1]) == [201, 400, 400, 400, 201]


def test_gzip_is_read(sink: Sink) -> None:
    """A gzip body counts as the documents in it; one cut in half is refused whole for its missing newline."""
    packed = gzip.compress(bulk(*map(str, range(100))))
    assert post(sink, SLIM, packed, {"content-encoding": "gzip"}).status == 200
    assert len(ids(sink)) == 100
    assert post(sink, SLIM, packed[: len(packed) // 2], {"content-encoding": "gzip"}).status == 400
    assert len(packed) + len(packed) // 2 == sink.stats()["wire_bytes"]


@pytest.mark.parametrize("status", [429, 400, 409, 503, 403])
def test_items_fault_refuses_single_documents(sink: Sink, status: int) -> None:
    """Items of the index that the fault names get its status, as often as it says; the others are stored."""
    sink.fault(Fault("items", status=status, index="logs-b*", times=2, type="some_exception", reason="because"))
    answer = sink.request("POST", "/_bulk", bulk("1") + bulk("2", "3", "4", index="logs-b1"))[1]
    assert [201, status, status, 201] == statuses(answer)
    assert {"type": "some_exception", "reason": "because"}.items() <= answer["items"][1]["create"]["error"].items()
    assert sink.fired() == [2]
    assert ids(sink) == ["1", "4"]


def test_items_fault_by_rate_is_drawn_from_the_seed(sink: Sink) -> None:
    """The same seed refuses the same documents; about as many as the rate says."""
    runs = []
    for _ in range(2):
        sink.clear()
        sink.fault(Fault("items", rate=0.3), seed=7)
        sink.request("POST", SLIM, bulk(*map(str, range(1000))))
        runs.append(ids(sink))
    assert runs[0] == runs[1]
    assert 600 < len(runs[0]) < 800


def test_items_fault_by_content(sink: Sink) -> None:
    """A fault can meet only documents that contain a text, as a mapping conflict would."""
    sink.fault(Fault("items", status=400, contains='"a":'))
    body = bulk("1") + bulk("2", source='{"b":1}')
    assert statuses(sink.request("POST", SLIM, body)[1]) == [400, 201]


def test_items_fault_by_company(sink: Sink) -> None:
    """A fault can meet all documents of a request in which one contains a text, as Elasticsearch 9 does it."""
    sink.fault(Fault("items", status=400, company='"a":'))
    assert statuses(sink.request("POST", SLIM, bulk("1") + bulk("2", source='{"b":1}'))[1]) == [400, 400]
    assert statuses(sink.request("POST", SLIM, bulk("2", source='{"b":1}'))[1]) == [201]


def test_items_fault_may_have_stored_the_document(sink: Sink) -> None:
    """With `applied` an item is refused although it is stored, so that its repetition is a 409."""
    sink.fault(Fault("items", status=503, applied=1.0, times=1))
    assert statuses(sink.request("POST", SLIM, bulk("1"))[1]) == [503]
    assert statuses(sink.request("POST", SLIM, bulk("1"))[1]) == [409]


@pytest.mark.parametrize("status", [429, 503, 401, 403, 400, 404, 500])
def test_status_fault_refuses_the_whole_request(sink: Sink, status: int) -> None:
    """The whole request is answered with the status and Elasticsearch's error JSON, and nothing is stored."""
    sink.fault(Fault("status", status=status, times=1))
    response = post(sink, SLIM, bulk("1"))
    assert (status, status) == (response.status, json.loads(response.text)["status"])
    assert (status == 401) == (response.headers["x-elastic-product"] is None)
    assert ids(sink) == []
    assert post(sink, SLIM, bulk("1")).status == 200


def test_status_fault_may_have_applied_a_part(sink: Sink) -> None:
    """With `applied` the first part is stored although the request fails, as Elasticsearch 9 does with big ones."""
    sink.fault(Fault("status", status=400, applied=0.5))
    assert post(sink, SLIM, bulk("1", "2", "3", "4")).status == 400
    assert ids(sink) == ["1", "2"]


def test_status_fault_meets_only_its_path(sink: Sink) -> None:
    """Faults meet bulk requests unless they name another path."""
    sink.fault(Fault("status", status=401, path="/"))
    assert sink.request("GET", "/")[0] == 401
    assert sink.request("POST", SLIM, bulk("1"))[0] == 200


def test_too_large_counts_uncompressed_bytes(sink: Sink) -> None:
    """Above the limit, before compression, the answer is 413 with an empty body."""
    body = bulk(*map(str, range(100)))
    sink.fault(Fault("too_large", bytes=len(body) - 1))
    response = post(sink, SLIM, gzip.compress(body), {"content-encoding": "gzip"})
    assert (response.status, response.text, response.headers["x-elastic-product"]) == (413, b"", None)
    assert post(sink, SLIM, bulk("1")).status == 200


def test_html_and_redirect_come_from_a_proxy(sink: Sink) -> None:
    """A proxy's error is HTML without the product header; a redirect carries its location."""
    sink.fault(Fault("html", status=502, times=1), Fault("redirect", location="http://elsewhere/"))
    page, redirect = post(sink, SLIM, bulk("1")), post(sink, SLIM, bulk("1"))
    assert (page.status, page.headers["content-type"]) == (502, "text/html")
    assert page.text.startswith(b"<html>")
    assert (redirect.status, redirect.headers["location"]) == (302, "http://elsewhere/")


def test_garbage_and_half_items_are_200(sink: Sink) -> None:
    """Both look successful: one is no JSON, the other answers for (and stores) only the first half."""
    sink.fault(Fault("garbage", times=1, applied=0.0), Fault("half_items", times=1))
    garbage = post(sink, SLIM, bulk("1"))
    assert garbage.status == 200
    with pytest.raises(ValueError, match=r"."):
        json.loads(garbage.text)
    half = post(sink, SLIM, bulk("1", "2", "3", "4"))
    assert statuses(json.loads(half.text)) == [201, 201]
    assert ids(sink) == ["1", "2"]


def test_cut_request_resets_the_connection(sink: Sink) -> None:
    """After so many bytes of the body the connection is reset; nothing is stored, unless `applied` says so."""
    body = bulk(*map(str, range(100_000)))
    sink.fault(Fault("cut_request", bytes=1000, times=1), Fault("cut_request", bytes=len(body) // 2, applied=1.0))
    with pytest.raises(ConnectionError):
        post(sink, SLIM, body)
    assert ids(sink) == []
    with pytest.raises(ConnectionError):
        post(sink, SLIM, body)
    wait_until(lambda: 49_000 < len(ids(sink)) < 51_000, what="the first half is stored", timeout_seconds=10)
    assert sink.stats()["statuses"] == {"0": 2}


def test_cut_answer_ends_in_the_middle(sink: Sink) -> None:
    """The documents are stored, but the answer breaks off."""
    sink.fault(Fault("cut_answer", times=1))
    with pytest.raises(http.client.IncompleteRead):
        post(sink, SLIM, bulk("1", "2"))
    assert ids(sink) == ["1", "2"]
    assert post(sink, SLIM, bulk("3")).status == 200


def test_slow_answers_late(sink: Sink) -> None:
    """The answer comes the given seconds later, and requests at work at the same time are counted."""
    sink.fault(Fault("slow", seconds=0.3))
    threads = [threading.Thread(target=post, args=(sink, SLIM, bulk(str(each)))) for each in range(3)]
    begin = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - begin >= 0.3
    assert sink.stats()["concurrent_requests_max"] == 3


def test_silent_never_answers(sink: Sink) -> None:
    """The documents are stored, and the client waits until its own timeout."""
    sink.fault(Fault("silent"))
    with pytest.raises(TimeoutError):
        post(sink, SLIM, bulk("1"), timeout=0.3)
    assert ids(sink) == ["1"]


def test_after_spares_the_first_requests(sink: Sink) -> None:
    """`after` lets so many pass, `times` limits how many it meets."""
    sink.fault(Fault("status", status=503, after=2, times=1))
    assert [post(sink, SLIM, bulk(str(each))).status for each in range(4)] == [200, 200, 503, 200]


def test_down_refuses_connections_and_up_remembers(sink: Sink) -> None:
    """While down nobody can connect and open connections are cut; afterwards the documents are still there."""
    post(sink, SLIM, bulk("1"))
    address = urllib.parse.urlsplit(sink.url)
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=10) as connected:
        connected.sendall(b"HEAD / HTTP/1.1\r\n\r\n")
        assert b"200 OK" in connected.recv(4096)
        sink.down()
        assert connected.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        post(sink, SLIM, bulk("2"))
    sink.up()
    assert post(sink, SLIM, bulk("2")).status == 200
    assert ids(sink) == ["1", "2"]


def test_an_unknown_fault_is_refused(sink: Sink) -> None:
    """A misspelt kind or key is an error at once, not a test that passes by accident."""
    assert sink.request("PUT", "/_sink/faults", {"faults": [{"kind": "itmes"}]})[0] == 400
    assert sink.request("PUT", "/_sink/faults", [{"kind": "items", "satus": 1}])[0] == 400


def test_root_and_health_look_like_elasticsearch(sink: Sink) -> None:
    """`GET /` tells version 8.19, health is green, and the official client takes it for the real one."""
    with contextlib.closing(elasticsearch.Elasticsearch(sink.url)) as client:
        assert client.ping()
        assert client.bulk(operations=[{"create": {"_index": "a", "_id": "1"}}, {"a": 1}])["items"]
    assert sink.request("GET", "/")[1]["version"]["number"].startswith("8.19.")
    assert sink.request("GET", "/_cluster/health")[1]["status"] == "green"


def test_templates_and_policies_are_stored(sink: Sink) -> None:
    """What setup installs can be read back in Elasticsearch's shapes, and is 404 where it is not installed."""
    policy = {"policy": {"phases": {"delete": {"min_age": "30d", "actions": {"delete": {}}}}}}
    template = {"index_patterns": ["logs-*"], "priority": 501}
    component: dict[str, Any] = {"template": {"settings": {}}}
    assert sink.request("PUT", "/_ilm/policy/p", policy)[1] == {"acknowledged": True}
    sink.request("PUT", "/_index_template/t", template)
    sink.request("PUT", "/_component_template/c", component)
    assert policy["policy"] == sink.request("GET", "/_ilm/policy/p")[1]["p"]["policy"]
    found = sink.request("GET", "/_index_template/t")[1]["index_templates"]
    assert [{"name": "t", "index_template": template}] == found
    found = sink.request("GET", "/_component_template")[1]["component_templates"]
    assert [{"name": "c", "component_template": component}] == found
    assert (
        sink.request("GET", "/_index_template/none")[0],
        sink.request("GET", "/_index_template/none")[1]["error"]["type"],
    ) == (404, "resource_not_found_exception")
    assert sink.request("GET", "/_ilm/status")[1]["operation_mode"] == "RUNNING"
    assert sink.request("DELETE", "/_index_template/t")[0] == 200
    assert sink.request("HEAD", "/_index_template/t")[0] == 404


def test_discard_counts_and_answers_for_each_document() -> None:
    """The benchmark's mode stores nothing, but the number of items is right, under the filter and gzip too."""
    with Sink(discard=True) as sink:
        answer = sink.request("POST", SLIM, bulk("1", "2", "3"))[1]
        assert answer == {"errors": False, "items": [{"create": {"status": 201}}] * 3}
        packed = gzip.compress(bulk("4", "5"))
        assert len(json.loads(post(sink, "/_bulk", packed, {"content-encoding": "gzip"}).text)["items"]) == 2
        assert sink.stats()["documents"] == 5
        assert sink.docs() == []


def test_discard_counts_what_was_packed() -> None:
    """A large body, one of two members, and of one that was cut off as much as there is."""
    packed = gzip.compress(bulk(*map(str, range(20_000))))
    half = packed[: len(packed) // 2]
    of_half = zlib.decompressobj(wbits=31).decompress(half).count(b"\n") // 2
    with Sink(discard=True) as sink:
        for body, expected in ((packed, 20_000), (packed + packed, 40_000), (half, of_half)):
            sink.clear_stats()
            items = json.loads(post(sink, SLIM, body, {"content-encoding": "gzip"}).text)["items"]
            assert (expected, expected) == (len(items), sink.stats()["documents"])


def test_discard_stays_empty_whatever_fails() -> None:
    """Faults work in the benchmark's mode too, and store nothing either."""
    with Sink(discard=True) as sink:
        sink.fault(Fault("half_items", times=1), Fault("cut_answer", times=1))
        assert statuses(json.loads(post(sink, SLIM, bulk("1", "2", "3", "4")).text)) == [201, 201]
        with pytest.raises(http.client.IncompleteRead):
            post(sink, SLIM, bulk("1"))
        assert [] == sink.docs()
        assert sink.stats()["documents"] == 3


def test_requests_that_it_cannot_read_are_refused(sink: Sink) -> None:
    """Chunks are refused with 411, what is no HTTP at all with 400, and the sink goes on."""
    address = urllib.parse.urlsplit(sink.url)
    for text, expected in (
        (b"POST /_bulk HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n", b"411"),
        (b"\r\n\r\n", b"400"),
    ):
        with socket.create_connection((address.hostname or "", address.port or 0), timeout=10) as connected:
            connected.sendall(text)
            connected.shutdown(socket.SHUT_WR)
            assert expected in connected.recv(4096)
    assert sink.request("GET", "/")[0] == 200


def test_the_process_ends_with_its_parent() -> None:
    """When its standard input closes, as when the test run is killed, the sink ends by itself."""
    sink = Sink()
    process = sink._process
    assert process._child.stdin is not None
    process._child.stdin.close()
    assert process.wait(timeout_seconds=10) == 0
    sink.stop()


def test_it_says_what_it_has(sink: Sink) -> None:
    """By id and by number, as a server says it; of an index that nothing went to, that there is none."""
    sink.request("POST", "/_bulk", b'{"create":{"_index":"logs-a","_id":"1"}}\n{"n":1}\n')

    assert sink.request("POST", "/logs-a/_mget", {"ids": ["1", "2"]}) == (
        200,
        {"docs": [{"_index": "logs-a", "_id": "1", "found": True}, {"_index": "logs-a", "_id": "2", "found": False}]},
    )
    status, answer = sink.request("POST", "/logs-b/_mget", {"ids": ["1"]})
    assert (404, "index_not_found_exception") == (status, answer["error"]["type"])
    assert (1, 0) == (sink.count("logs-*"), sink.count("other-*"))


def test_it_can_keep_ids_alone() -> None:
    """Enough to tell lines apart that came twice, in a run of millions."""
    body = b'{"create":{"_index":"logs-a","_id":"1"}}\n{"n":1}\n'
    with Sink(ids_only=True) as sink:
        answers = [sink.request("POST", "/_bulk", body)[1]["items"][0]["create"]["status"] for _ in range(2)]
        assert ([201, 409], 1) == (answers, sink.count())
