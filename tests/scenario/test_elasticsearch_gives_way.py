"""A server that can take little at a time: less is sent at once, and as much as before when it can take it again."""

from pathlib import Path

from deliveries import Delivery, lines_of
from harness.process import wait_until
from harness.sink import Fault, Sink

from shipper.elastic.gather import MIN_BULK_BYTES

BULK_BYTES = 256 * 1024


def test_it_is_given_way_to_and_comes_back(sink: Sink, tmp_path: Path) -> None:
    """Four requests in flight become one small one while it answers 429; healed, four large ones again."""
    slow = Fault("slow", seconds=0.03)
    with Delivery(tmp_path, sink.url, bulk_bytes=BULK_BYTES, concurrency=4) as delivery:
        pace = delivery.output._queue.pace
        shipped = 0

        def ship() -> None:
            nonlocal shipped
            delivery.ship(lines_of(500, first=shipped), first=shipped)
            shipped += 500

        def in_flight(seconds: float = 30.0) -> int:
            """At most so many requests at once while twenty batches are shipped."""
            sink.clear_stats()
            for _ in range(20):
                ship()
            delivery.wait_done(seconds)
            return int(sink.stats()["concurrent_requests_max"])

        sink.fault(slow)
        assert in_flight() == 4
        sink.fault(slow, Fault("status", status=429))
        ship()
        wait_until(
            lambda: (pace.in_flight, pace.bulk_bytes) == (1, MIN_BULK_BYTES), what="it gives way", timeout_seconds=30
        )
        sink.clear_stats()
        asked = sink.stats()["requests"]
        wait_until(lambda: sink.stats()["requests"] > asked + 3, what="some more refusals", timeout_seconds=30)
        assert sink.stats()["concurrent_requests_max"] == 1
        sink.fault(slow)
        delivery.wait_done()
        wait_until(lambda: in_flight() == 4, what="four at once again", timeout_seconds=60)
        assert (pace.in_flight, pace.bulk_bytes) == (4, BULK_BYTES)
        delivery.assert_exact(sink.docs(), shipped)


def test_documents_that_it_has_no_time_for_slow_it_down_too(sink: Sink, tmp_path: Path) -> None:
    """Half of the documents of each request are refused as busy: less at once, nothing lost, none twice."""
    sink.fault(Fault("slow", seconds=0.02), Fault("items", status=429, rate=0.5, times=3000))
    smallest = BULK_BYTES
    with Delivery(tmp_path, sink.url, bulk_bytes=BULK_BYTES, concurrency=4) as delivery:
        for first in range(0, 8000, 100):
            delivery.ship(lines_of(100, first=first), first=first)
            smallest = min(smallest, delivery.output._queue.pace.bulk_bytes)
        delivery.wait_done()
        assert smallest < BULK_BYTES
        assert sink.stats()["duplicates"] == 0
        delivery.assert_exact(sink.docs(), 8000)
