"""The servers that the other tests rely on really are what they say they are."""

from __future__ import annotations

import http.client
import ssl
import urllib.parse
from collections.abc import Callable
from typing import Any

import pytest
from harness import servers as harness_servers
from harness.calls import call
from harness.flavours import FLAVOURS
from harness.missing import MissingError
from harness.process import DiedError, wait_until
from harness.servers import Remote, Server

SLIM = "/_bulk?filter_path=errors,items.*.status,items.*.error.type"


def bulk(index: str, *ids: str) -> bytes:
    """A bulk body that creates these documents."""
    return "".join(f'{{"create":{{"_index":"{index}","_id":"{each}"}}}}\n{{"n":{each}}}\n' for each in ids).encode()


def statuses(answer: Any) -> list[int]:
    """The items' statuses in order."""
    return [item["create"]["status"] for item in answer["items"]]


def test_every_server_creates_once_and_refuses_repeats(any_server: Remote, index_prefix: str) -> None:
    """A bulk create is stored, found and counted; its repetition is a 409 for each item that was there."""
    index = f"{index_prefix}a"
    assert statuses(any_server.request("POST", SLIM, bulk(index, "1", "2"))[1]) == [201, 201]
    assert statuses(any_server.request("POST", SLIM, bulk(index, "2", "3"))[1]) == [409, 201]
    assert any_server.count(index) == 3
    expected = [{"_index": index, "_id": str(each), "_source": {"n": each}} for each in (1, 2, 3)]
    assert expected == any_server.search_all(f"{index_prefix}*")


def test_every_server_tells_its_version(any_server: Remote) -> None:
    """`GET /` names the version, and OpenSearch its distribution."""
    version = any_server.ask("GET", "/")["version"]
    assert version["number"].startswith(any_server.flavour.split("-")[1] + ".")
    assert any_server.is_opensearch == (version.get("distribution") == "opensearch")


def test_every_server_compresses(any_server: Remote, index_prefix: str) -> None:
    """An index with best_compression, which takes a system library on Elasticsearch 9, stores and finds documents."""
    index = f"{index_prefix}a"
    any_server.ask("PUT", f"/{index}", {"settings": {"index.codec": "best_compression", "number_of_replicas": 0}})
    any_server.ask("POST", SLIM, bulk(index, "1"))
    assert any_server.count(index) == 1


def test_search_all_pages_through_everything(elasticsearch: Remote, index_prefix: str) -> None:
    """More documents than one page holds are all returned; an index that does not exist has none."""
    ids = [str(each) for each in range(12_345)]
    elasticsearch.ask("POST", SLIM, bulk(f"{index_prefix}a", *ids))
    assert sorted(ids) == [hit["_id"] for hit in elasticsearch.search_all(f"{index_prefix}*")]
    assert elasticsearch.search_all(f"{index_prefix}none*") == []
    assert elasticsearch.count(f"{index_prefix}none") == 0


def test_delete_all_removes_what_a_test_made(any_server: Remote, index_prefix: str) -> None:
    """Indices, templates and pipelines of the prefix are gone afterwards; others stay."""
    others = f"x{index_prefix}"
    for prefix in (index_prefix, others):
        any_server.ask("POST", SLIM, bulk(f"{prefix}a", "1"))
        any_server.ask("PUT", f"/_component_template/{prefix}c", {"template": {"settings": {}}})
        template = {"index_patterns": [f"{prefix}*"], "composed_of": [f"{prefix}c"], "priority": 501}
        any_server.ask("PUT", f"/_index_template/{prefix}t", template)
        any_server.ask("PUT", f"/_ingest/pipeline/{prefix}p", {"processors": []})
    any_server.delete_all(index_prefix)
    paths = ("/{}a", "/_component_template/{}c", "/_index_template/{}t", "/_ingest/pipeline/{}p")
    assert [any_server.request("GET", path.format(index_prefix))[0] for path in paths] == [404] * 4
    assert [any_server.request("GET", path.format(others))[0] for path in paths] == [200] * 4
    any_server.delete_all(others)


@pytest.mark.parametrize("flavour", ["elasticsearch-8", "opensearch-2"])
def test_kill_and_restart_keep_port_and_data(start_server: Callable[..., Server], flavour: str) -> None:
    """After kill -9 nobody listens; the restarted server has the same address and every acknowledged document."""
    server = start_server(flavour)
    server.ask("POST", SLIM, bulk("a", "1", "2", "3"))
    url = server.url
    server.kill()
    with pytest.raises(ConnectionRefusedError):
        server.request("GET", "/")
    server.restart()
    assert (url, 3) == (server.url, server.count("a"))
    directory = server.directory
    server.stop()
    assert not directory.exists()


def test_a_node_may_be_started_without_its_cluster(start_server: Callable[..., Server]) -> None:
    """A node that waits for others answers, and refuses a bulk as a whole with a 503."""
    settings = {"gateway.expected_data_nodes": 2, "gateway.recover_after_data_nodes": 2}
    server = start_server("elasticsearch-8", extra_settings=settings, is_waiting=False)
    status, answer = server.request("POST", "/_bulk?timeout=1s", bulk("a", "1"))
    assert (status, answer["error"]["type"]) == (503, "cluster_block_exception")


def test_extra_settings_reach_the_node(start_server: Callable[..., Server]) -> None:
    """A node with a write queue of one refuses items of a bulk that is spread over many indices, each with a 429."""
    settings = {"thread_pool.write.size": 1, "thread_pool.write.queue_size": 1}
    server = start_server("elasticsearch-8", extra_settings=settings)
    indices = [f"a{each}" for each in range(12)]
    for index in indices:
        server.ask("PUT", f"/{index}", {"settings": {"number_of_replicas": 0}})
    body = b"".join(bulk(index, *map(str, range(50))) for index in indices)
    assert {201, 429} == set(statuses(server.ask("POST", SLIM, body)))


def test_the_secure_server_refuses_without_credentials(elasticsearch_secure: Server) -> None:
    """No credentials and wrong ones are 401 for the whole request; only its own authority vouches for it."""
    context = ssl.create_default_context(cafile=elasticsearch_secure.ca_file)
    url = elasticsearch_secure.url
    assert url.startswith("https://")
    assert call(url, "POST", SLIM, bulk("a", "1"), context=context)[0] == 401
    wrong = {"authorization": "ApiKey d3Jvbmc6d3Jvbmc="}
    assert call(url, "POST", SLIM, bulk("a", "1"), headers=wrong, context=context)[0] == 401
    with pytest.raises(ssl.SSLCertVerificationError):
        call(url, "GET", "/", context=ssl.create_default_context())


def test_the_secure_server_accepts_an_api_key_within_its_role(elasticsearch_secure: Server, index_prefix: str) -> None:
    """A key with create_doc on some indices creates there, and gets a 403 item elsewhere."""
    may = {"names": [f"{index_prefix}yes-*"], "privileges": ["create_doc", "auto_configure"]}
    headers = {"authorization": f"ApiKey {elasticsearch_secure.create_api_key({'shipper': {'indices': [may]}})}"}
    body = bulk(f"{index_prefix}yes-1", "1") + bulk(f"{index_prefix}no-1", "1")
    status, answer = elasticsearch_secure.request("POST", SLIM, body, headers=headers)
    assert (status, statuses(answer)) == (200, [201, 403])


def test_the_secure_server_has_the_fingerprint_it_names(elasticsearch_secure: Server) -> None:
    """The fingerprint is that of the certificate which the server presents."""
    parts = urllib.parse.urlsplit(elasticsearch_secure.url)
    context = ssl.create_default_context(cafile=elasticsearch_secure.ca_file)
    connection = http.client.HTTPSConnection(parts.hostname or "", parts.port, context=context, timeout=10)
    connection.connect()
    assert isinstance(connection.sock, ssl.SSLSocket)
    certificate = connection.sock.getpeercert(binary_form=True)
    connection.close()
    assert elasticsearch_secure.fingerprint == harness_servers.fingerprint_of(certificate or b"")


def test_the_secure_server_knows_its_keys_again_after_a_restart(start_server: Callable[..., Server]) -> None:
    """A key that was created before works after a restart, at the latest when the security index has recovered."""
    server = start_server("elasticsearch-8-secure")
    headers = {"authorization": f"ApiKey {server.create_api_key()}"}
    server.restart(is_waiting=False)

    def works() -> bool:
        return server.request("GET", "/_cluster/health", headers=headers)[0] == 200

    wait_until(works, what="the key works", timeout_seconds=30)
    assert works()


def test_a_server_that_somebody_else_runs_is_used_by_its_url(elasticsearch: Remote, index_prefix: str) -> None:
    """A Remote asks the server of a URL, credentials taken from it, and will not kill what is not its own."""
    remote = Remote(elasticsearch.url.replace("://", "://user:p%40ss@"), flavour="elasticsearch-8")
    assert (elasticsearch.url, "user", "p@ss") == (remote.url, remote.user, remote.password)
    remote.ask("POST", SLIM, bulk(f"{index_prefix}a", "1"))
    remote.stop()
    assert elasticsearch.count(f"{index_prefix}a") == 1
    with pytest.raises(MissingError):
        remote.kill()


def test_a_node_that_cannot_start_shows_why(start_server: Callable[..., Server]) -> None:
    """The error of a node that does not start carries what the node printed."""
    with pytest.raises(DiedError, match="no_such_setting"):
        start_server("elasticsearch-8", extra_settings={"no_such_setting": 1})


def test_every_flavour_is_there_or_says_why() -> None:
    """`missing` returns None for a flavour that can be started, else a reason a person can act on."""
    reasons = {flavour: harness_servers.missing(flavour) for flavour in FLAVOURS}
    assert all(reason is None or len(reason) > 20 for reason in reasons.values())
