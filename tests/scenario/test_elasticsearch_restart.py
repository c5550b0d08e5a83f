"""The node is killed and comes back while documents are being shipped."""

from collections.abc import Callable
from pathlib import Path

import pytest
from deliveries import Delivery, lines_of
from harness.servers import Server


@pytest.mark.parametrize("flavour", ["elasticsearch-8", "opensearch-2"])
def test_nothing_is_lost_and_nothing_doubled(start_server: Callable[..., Server], tmp_path: Path, flavour: str) -> None:
    """After `kill -9` in the middle of a stream of bulks, every document is there once."""
    server = start_server(flavour)
    with Delivery(tmp_path, server.url, bulk_bytes=64 * 1024) as delivery:
        delivery.ship(lines_of(3000))
        server.kill()
        server.restart()
        delivery.ship(lines_of(3000, first=3000), first=3000)
        delivery.wait_done(timeout_seconds=120)
    delivery.assert_exact(server.search_all("logs-*"), 6000)
    assert delivery.documents("created") + delivery.documents("duplicate") == 6000
    assert delivery.letters() == []
