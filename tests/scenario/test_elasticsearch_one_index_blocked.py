"""One index takes no documents while others do: closed, write-blocked, without its pipeline or its shard limit."""

from collections.abc import Callable
from pathlib import Path

import pytest
from deliveries import Delivery, access_to, id_of, lines_of
from harness.process import wait_until
from harness.servers import Remote, Server

from shipper.elastic.settle import Patience

BLOCKS: dict[str, tuple[tuple[str, str, object], tuple[str, str, object]]] = {
    "blocked": (
        ("PUT", "/{}/_settings", {"index.blocks.write": True}),
        ("PUT", "/{}/_settings", {"index.blocks.write": None}),
    ),
    "read only for want of space": (
        ("PUT", "/{}/_settings", {"index.blocks.read_only_allow_delete": True}),
        ("PUT", "/{}/_settings", {"index.blocks.read_only_allow_delete": None}),
    ),
    "closed": (("POST", "/{}/_close", None), ("POST", "/{}/_open", None)),
    "without its pipeline": (
        ("PUT", "/{}/_settings", {"index.default_pipeline": "nowhere"}),
        ("PUT", "/{}/_settings", {"index.default_pipeline": "_none"}),
    ),
}


@pytest.mark.parametrize("block", BLOCKS)
def test_its_documents_wait_on_disk_and_arrive_later(
    any_server: Remote, index_prefix: str, tmp_path: Path, block: str
) -> None:
    """Other indices go on at once, the cursor too; unblocked, the index gets everything by itself, once."""
    blocked, free = f"{index_prefix}2024.01.14", f"{index_prefix}2024.01.15"
    (method, path, body), (unblock_method, unblock_path, unblock_body) = BLOCKS[block]
    any_server.ask("PUT", f"/{blocked}", {"settings": {"index.number_of_replicas": 0}})
    any_server.ask(method, path.format(blocked), body)  # type: ignore[arg-type]
    with Delivery(tmp_path, any_server.url, patience=Patience(hold_seconds=0.2), **access_to(any_server)) as delivery:
        delivery.ship(lines_of(50), index=blocked)
        delivery.ship(lines_of(50, first=50), first=50, index=free)
        delivery.ship(lines_of(50, first=100), first=100, index=blocked)
        delivery.wait_done()
        assert any_server.count(free) == 50
        assert (lambda s: (s.spooled, s.pending))(delivery.output.status()) == (100, 0)
        any_server.ask(unblock_method, unblock_path.format(blocked), unblock_body)  # type: ignore[arg-type]
        wait_until(lambda: not delivery.output.status().spooled, what="the spool is empty", timeout_seconds=60)
        assert delivery.close()
    found = {hit["_id"] for hit in any_server.search_all(blocked)}
    assert {id_of(n) for n in [*range(50), *range(100, 150)]} == found
    assert delivery.documents("created") + delivery.documents("duplicate") == 150
    assert delivery.letters() == []
    assert list(delivery.spool_directory.iterdir()) == []


def test_what_waits_on_disk_outlives_the_process(elasticsearch: Remote, index_prefix: str, tmp_path: Path) -> None:
    """A new process finds what the last one spooled, and delivers it by itself; conflicts are reduced then."""
    index = f"{index_prefix}2024.01.15"
    mapping = {"properties": {"duration": {"type": "long"}}}
    settings = {"index.blocks.write": True, "index.number_of_replicas": 0}
    elasticsearch.ask("PUT", f"/{index}", {"mappings": mapping, "settings": settings})
    lines = [*lines_of(30), b'{"duration":"slow"}', b'{"bytes":"\xff"}']
    with Delivery(tmp_path, elasticsearch.url, patience=Patience(hold_seconds=0.0)) as delivery:
        delivery.ship(lines, index=index)
        delivery.wait_done()
        assert not delivery.close()
    elasticsearch.ask("PUT", f"/{index}/_settings", {"index.blocks.write": None})
    with Delivery(tmp_path, elasticsearch.url) as later:
        wait_until(lambda: not later.output.status().spooled, what="the spool is empty", timeout_seconds=60)
    assert elasticsearch.count(index) == 32
    assert [(letter["line"][13:17], letter["reduced"]) for letter in later.letters() if "slow" in letter["line"]] == [
        ("slow", True)
    ]
    assert (later.documents("created"), later.documents("reduced")) == (30, 2)


def test_a_full_spool_pushes_back(elasticsearch: Remote, index_prefix: str, tmp_path: Path) -> None:
    """When the spool has no room the documents wait in memory, and arrive when the index is unblocked."""
    index = f"{index_prefix}2024.01.15"
    elasticsearch.ask("PUT", f"/{index}", {"settings": {"index.blocks.write": True, "index.number_of_replicas": 0}})
    patience = Patience(hold_seconds=0.0)
    with Delivery(tmp_path, elasticsearch.url, patience=patience, spool_bytes=10_000, bulk_bytes=64 * 1024) as delivery:
        shipped = 0
        while delivery.output.has_room():
            delivery.ship(lines_of(20, first=shipped), first=shipped, index=index, batch_lines=20)
            shipped += 20
        wait_until(lambda: delivery.output.status().spooled > 0, what="some are spooled", timeout_seconds=30)
        assert sum(path.stat().st_size for path in delivery.spool_directory.iterdir()) <= 10_000
        elasticsearch.ask("PUT", f"/{index}/_settings", {"index.blocks.write": None})
        delivery.wait_done()
        wait_until(lambda: not delivery.output.status().spooled, what="the spool is empty", timeout_seconds=60)
    delivery.assert_exact(elasticsearch.search_all(index), shipped)


def test_a_limit_of_shards_and_an_index_that_may_not_be_made(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    """An index that cannot be created now (404, 400) looks final and is not: its documents wait and arrive."""
    server = start_server("elasticsearch-8")
    server.ask("PUT", "/_cluster/settings", {"persistent": {"action.auto_create_index": "free-*"}})
    with Delivery(tmp_path, server.url, patience=Patience(hold_seconds=0.0)) as delivery:
        delivery.ship(lines_of(10), index="other-2024.01.15")
        delivery.ship(lines_of(10, first=10), first=10, index="free-2024.01.15")
        delivery.wait_done()
        assert server.count("free-*") == 10
        limit = {"action.auto_create_index": None, "cluster.max_shards_per_node": 1}
        server.ask("PUT", "/_cluster/settings", {"persistent": limit})
        delivery.ship(lines_of(10, first=20), first=20, index="third-2024.01.15")
        delivery.wait_done()
        assert delivery.output.status().spooled == 20
        server.ask("PUT", "/_cluster/settings", {"persistent": {"cluster.max_shards_per_node": None}})
        wait_until(lambda: not delivery.output.status().spooled, what="the spool is empty", timeout_seconds=60)
    assert server.count("*-2024.01.15") == 30
    assert delivery.letters() == []
