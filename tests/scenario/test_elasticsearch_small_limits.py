"""A real node with small limits: on a request's size (413), on the bytes under way and on queued writes (429)."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from deliveries import Delivery, lines_of
from harness.servers import Server

LIMITS = {
    "http.max_content_length": "1mb",
    "indexing_pressure.memory.limit": "512kb",
    "thread_pool.write.size": 1,
    "thread_pool.write.queue_size": 1,
}


@pytest.fixture(scope="module", params=["elasticsearch-8", "opensearch-2", "elasticsearch-9"])
def small(request: pytest.FixtureRequest) -> Iterator[Server]:
    """One that all tests here share."""
    with Server(request.param, extra_settings=LIMITS) as server:
        yield server


def test_requests_beyond_the_limits_are_made_smaller(small: Server, tmp_path: Path) -> None:
    """2 MB at once are too much in two ways: everything arrives, none of it reduced."""
    with Delivery(tmp_path, small.url, bulk_bytes=2 << 20, request_seconds=30.0) as delivery:
        delivery.ship(lines_of(10_000), batch_lines=1000)
        delivery.wait_done()
        assert delivery.metric("bulk_requests_total", {"result": "too_large"}) > 0
    delivery.assert_exact(small.search_all("logs-*"), 10_000)
