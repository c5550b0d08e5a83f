"""The server is not there: at start, in the middle, and at the end."""

import time
from pathlib import Path

import pytest
from deliveries import Delivery, lines_of
from harness.process import wait_until
from harness.sink import Fault, Sink


def test_it_is_waited_for_and_said_once(sink: Sink, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A server that is down at start is waited for; one warning, one line when it is there; then all arrives."""
    caplog.set_level("INFO", logger="shipper")
    sink.down()
    with Delivery(tmp_path, sink.url) as delivery:
        delivery.ship(lines_of(300))
        wait_until(
            lambda: delivery.metric("bulk_requests_total", {"result": "network"}) >= 5,
            what="five attempts",
            timeout_seconds=30,
        )
        status = delivery.output.status()
        assert (status.is_up, status.pending, status.refused_since) == (False, 300, None)
        assert delivery.metric("output_up") == 0
        sink.up()
        delivery.wait_done()
        assert (lambda s: (s.is_up, s.pending, s.error))(delivery.output.status()) == (True, 0, "")
        assert delivery.metric("output_up") == 1
    delivery.assert_exact(sink.docs(), 300)
    said = [(record.levelname, "does not take" in record.message) for record in caplog.records]
    assert said == [("WARNING", True), ("INFO", False)]


def test_memory_is_bounded_while_it_is_down(sink: Sink, tmp_path: Path) -> None:
    """With the server down the output takes over a bounded number of bytes and then has no room."""
    sink.down()
    with Delivery(tmp_path, sink.url, bulk_bytes=64 * 1024, concurrency=2) as delivery:
        shipped = 0
        while delivery.output.has_room():
            delivery.ship(lines_of(100, first=shipped), first=shipped)
            shipped += 100
        assert shipped == delivery.output.status().pending < 2000
        sink.up()
        delivery.wait_done()
        assert delivery.output.has_room()
    delivery.assert_exact(sink.docs(), shipped)


def test_it_goes_away_in_the_middle(sink: Sink, tmp_path: Path) -> None:
    """Connections that are reset while documents are under way lose none and double none."""
    with Delivery(tmp_path, sink.url, bulk_bytes=64 * 1024) as delivery:
        for turn in range(5):
            delivery.ship(lines_of(500, first=500 * turn), first=500 * turn)
            sink.down()
            sink.up()
        delivery.wait_done()
    delivery.assert_exact(sink.docs(), 2500)
    assert delivery.documents("created") + delivery.documents("duplicate") == 2500


def test_another_host_takes_over(sink: Sink, tmp_path: Path) -> None:
    """With two hosts of which one is down all documents go to the other, and the output counts as up."""
    with Sink() as other, Delivery(tmp_path, other.url, sink.url) as delivery:
        other.down()
        delivery.ship(lines_of(500))
        delivery.wait_done()
        assert delivery.output.status().is_up
    delivery.assert_exact(sink.docs(), 500)


@pytest.mark.parametrize("fault", [None, Fault("silent"), Fault("status", status=503)], ids=["down", "silent", "503"])
def test_a_stop_waits_until_the_deadline_and_no_longer(sink: Sink, tmp_path: Path, fault: Fault | None) -> None:
    """A stop with a server that does not answer ends at its deadline, says so, and tells nothing done."""
    if fault is None:
        sink.down()
    else:
        sink.fault(fault)
    delivery = Delivery(tmp_path, sink.url, pause_seconds=3600.0, request_seconds=60.0)
    delivery.ship(lines_of(100))
    began = time.monotonic()
    assert not delivery.close(seconds=1.0)
    assert 0.9 < time.monotonic() - began < 3.0
    assert delivery.done_count == 0


def test_a_stop_ends_a_long_wait_and_delivers(sink: Sink, tmp_path: Path) -> None:
    """A stop does not sit out a pause of an hour: if the server is back, everything is delivered."""
    sink.fault(Fault("status", status=503, times=1))
    delivery = Delivery(tmp_path, sink.url, pause_seconds=3600.0)
    delivery.output._backoff = lambda failures: 3600.0
    delivery.ship(lines_of(100))
    wait_until(lambda: sink.fired() == [1], what="the first refusal", timeout_seconds=30)
    assert delivery.close(seconds=20.0)
    assert delivery.done_count == 1
    delivery.assert_exact(sink.docs(), 100)
