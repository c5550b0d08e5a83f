"""Each answer takes its time, and more comes in than goes out."""

from pathlib import Path

from deliveries import Delivery, lines_of
from harness.sink import Fault, Sink


def test_a_full_queue_pushes_back_and_all_arrives(sink: Sink, tmp_path: Path) -> None:
    """With a second an answer there is no room at times, three requests are under way, and nothing is sent twice."""
    sink.fault(Fault("slow", seconds=1.0))
    has_had_no_room = False
    with Delivery(tmp_path, sink.url, bulk_bytes=64 * 1024, concurrency=3) as delivery:
        for turn in range(20):
            has_had_no_room = has_had_no_room or not delivery.output.has_room()
            delivery.ship(lines_of(200, first=200 * turn), first=200 * turn)
        delivery.wait_done()
    assert has_had_no_room
    delivery.assert_exact(sink.docs(), 4000)
    stats = sink.stats()
    assert (stats["duplicates"], stats["concurrent_requests_max"]) == (0, 3)


def test_a_flush_does_not_wait_for_company(sink: Sink, tmp_path: Path) -> None:
    """Documents that would wait an hour for more go at once after a flush."""
    with Delivery(tmp_path, sink.url, bulk_seconds=3600.0) as delivery:
        delivery.ship(lines_of(10))
        delivery.output.flush()
        delivery.wait_done()
    assert len(sink.docs()) == 10
