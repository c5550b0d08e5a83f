"""The server answers whole requests with 429, and then not any more."""

from pathlib import Path

from deliveries import Delivery, id_of, lines_of
from harness.process import wait_until
from harness.sink import Fault, Sink


def test_less_is_sent_at_once_and_nothing_is_lost(sink: Sink, tmp_path: Path) -> None:
    """After eight 429s all documents are there once, and the refused bulks went again in smaller pieces."""
    sink.fault(Fault("status", status=429, times=8))
    with Delivery(tmp_path, sink.url, bulk_bytes=512 * 1024) as delivery:
        delivery.ship(lines_of(5000))
        delivery.wait_done()
    delivery.assert_exact(sink.docs(), 5000)
    assert delivery.documents("created") == 5000
    assert delivery.metric("bulk_requests_total", {"result": "rejected"}) == 8
    assert delivery.metric("bulk_retries_total", {"reason": "rejected"}) > 0


def test_a_document_that_is_always_too_much_stops_no_other(sink: Sink, tmp_path: Path) -> None:
    """One document whose request is 429 for ever waits on its own while all others are delivered."""
    sink.fault(Fault("status", status=429, contains='"n": 77,'))
    with Delivery(tmp_path, sink.url, bulk_bytes=64 * 1024, concurrency=1) as delivery:
        delivery.ship(lines_of(100))
        delivery.ship(lines_of(400, first=100), first=100)
        expected = {id_of(n) for n in range(500)} - {id_of(77)}
        wait_until(lambda: {hit["_id"] for hit in sink.docs()} == expected, what="all others", timeout_seconds=30)
        sink.fault()
        delivery.wait_done()
    delivery.assert_exact(sink.docs(), 500)
