"""A real node with small limits: on a request's size (413), on the bytes under way and on queued writes (429)."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from deliveries import Delivery, documents_of, id_of, lines_of
from harness.servers import Server

from shipper.batch import Documents

LIMITS = {
    "http.max_content_length": "1mb",
    "indexing_pressure.memory.limit": "512kb",
    "thread_pool.write.size": 1,
    "thread_pool.write.queue_size": 1,
}


@pytest.fixture(scope="module", params=["elasticsearch-8", "elasticsearch-9"])
def small(request: pytest.FixtureRequest) -> Iterator[Server]:
    """One that all tests here share."""
    with Server(request.param, extra_settings=LIMITS) as server:
        yield server


@pytest.fixture(autouse=True)
def _empty(small: Server) -> None:
    small.delete_all("")


def test_requests_beyond_the_limits_are_made_smaller(small: Server, tmp_path: Path) -> None:
    """2 MB at once are too much in two ways: everything arrives, none of it reduced."""
    with Delivery(tmp_path, small.url, bulk_bytes=2 << 20) as delivery:
        delivery.ship(lines_of(8_000), batch_lines=1000)
        delivery.wait_done()
        assert sum(delivery.metric("bulk_requests_total", {"result": it}) for it in ("too_large", "rejected")) > 0
    delivery.assert_exact(small.search_all("logs-*"), 8_000)


def test_a_document_beyond_each_limit_is_reduced(small: Server, tmp_path: Path) -> None:
    """One beyond the bytes under way (429, for ever) and one beyond a request (413): their beginnings, tagged."""
    lines = lines_of(100)
    lines[30] = lines_of(1, first=30, text="x" * 700_000)[0]
    lines[60] = lines_of(1, first=60, text="x" * 1_200_000)[0]
    with Delivery(tmp_path, small.url) as delivery:
        delivery.ship(lines)
        delivery.wait_done()
    hits = small.search_all("logs-*")
    delivery.assert_exact(hits, 100, reduced={30: "too_large", 60: "too_large"})
    tagged = small.ask("POST", "/logs-*/_search?q=tags:line_too_long")["hits"]["hits"]
    assert {id_of(30), id_of(60)} == {hit["_id"] for hit in tagged}


def test_documents_of_many_indices_that_have_to_queue(small: Server, tmp_path: Path) -> None:
    """One request for twelve indices, of which the queue takes two at a time: only the refused go again."""
    with Delivery(tmp_path, small.url) as delivery:
        delivery.submit(_spread(600, indices=12))
        delivery.wait_done()
        assert delivery.metric("bulk_retries_total", {"reason": "busy"}) > 0
        assert delivery.documents("created") == 600
    delivery.assert_exact(small.search_all("logs-*"), 600)


def _spread(count: int, *, indices: int) -> Documents:
    """Documents of one batch, each of the next index in turn."""
    parts = [
        documents_of(lines_of(1, first=n), first=n, index=f"logs-2024.01.{n % indices + 1:02d}") for n in range(count)
    ]
    whole = documents_of(lines_of(count))
    whole.body = b"".join(part.body for part in parts)
    return whole
