"""One of several hosts does not do its work: it hangs, is overloaded, is a proxy without a server, or comes back."""

from pathlib import Path

import pytest
from deliveries import Delivery, lines_of
from harness.process import wait_until
from harness.sink import Fault, Sink

ILLS = {
    "hangs": Fault("silent", applied=0.0),
    "has no master": Fault("status", status=503),
    "is a proxy without a server": Fault("html", status=502),
    "cuts connections": Fault("cut_request", bytes=1000),
}


@pytest.mark.parametrize("ill", ILLS.values(), ids=ILLS.keys())
def test_the_others_take_over(sink: Sink, tmp_path: Path, ill: Fault) -> None:
    """Everything arrives by way of the other host, and the ill one is asked only now and then."""
    with (
        Sink() as other,
        Delivery(tmp_path, other.url, sink.url, request_seconds=0.5, bulk_bytes=64 * 1024) as delivery,
    ):
        other.fault(ill)
        for first in range(0, 4000, 100):
            delivery.ship(lines_of(100, first=first), first=first)
        delivery.wait_done()
        assert delivery.output.status().is_up
        assert 1 <= other.fired()[0] <= 4
        assert sink.stats()["bulk_requests"] >= 10
        assert other.docs() == []
        delivery.assert_exact(sink.docs(), 4000)


def test_what_the_ill_one_has_done_is_no_unexpected_conflict(sink: Sink, tmp_path: Path) -> None:
    """It stores the documents and does not answer; the next host says that they are there. No state was lost."""
    with Delivery(tmp_path, sink.url, sink.url.replace("127.0.0.1", "localhost"), request_seconds=0.5) as delivery:
        sink.fault(Fault("silent", applied=1.0, times=1))
        delivery.ship(lines_of(100))
        delivery.wait_done()
        assert delivery.documents("duplicate") == 100
        assert delivery.metric("unexpected_conflicts_total") == 0
        delivery.assert_exact(sink.docs(), 100)


def test_one_that_comes_back_is_used_again(sink: Sink, tmp_path: Path) -> None:
    """After the pause it gets its share, without a word from anybody."""
    with Sink() as other, Delivery(tmp_path, other.url, sink.url, bulk_bytes=64 * 1024) as delivery:
        other.down()
        delivery.ship(lines_of(500))
        delivery.wait_done()
        other.up()
        shipped = 500

        def has_its_share() -> bool:
            nonlocal shipped
            delivery.ship(lines_of(10, first=shipped), first=shipped)
            shipped += 10
            return len(other.docs()) > 0

        wait_until(has_its_share, what="a document by way of the mended host", timeout_seconds=30, poll_seconds=0.1)
        delivery.wait_done()
        delivery.assert_exact(sink.docs() + other.docs(), shipped)
