"""The server takes part of each bulk and answers 429 for the rest."""

from pathlib import Path

from deliveries import Delivery, lines_of
from harness.sink import Fault, Sink


def test_only_the_refused_documents_go_again_and_all_arrive_once(sink: Sink, tmp_path: Path) -> None:
    """Of 3,000 documents a third is answered 429 at each attempt: all are there once, none is counted twice."""
    sink.fault(Fault("items", status=429, rate=0.33))
    with Delivery(tmp_path, sink.url, bulk_bytes=64 * 1024) as delivery:
        delivery.ship(lines_of(3000))
        delivery.wait_done()
    delivery.assert_exact(sink.docs(), 3000)
    assert delivery.documents("created") == 3000
    stats = sink.stats()
    assert stats["duplicates"] == 0
    assert stats["item_statuses"]["201"] == 3000
    assert delivery.metric("bulk_retries_total", {"reason": "busy"}) == stats["item_statuses"]["429"] > 900
