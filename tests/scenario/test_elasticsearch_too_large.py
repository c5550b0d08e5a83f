"""The server, or a proxy before it, has a limit on the size of a request (413, empty answer)."""

from pathlib import Path

from deliveries import Delivery, id_of, lines_of
from harness.sink import Fault, Sink


def test_requests_are_halved_until_they_fit(sink: Sink, tmp_path: Path) -> None:
    """With a limit below the bulk size all documents arrive, and later bulks keep below it by themselves."""
    sink.fault(Fault("too_large", bytes=100_000))
    with Delivery(tmp_path, sink.url, bulk_bytes=1 << 20) as delivery:
        delivery.ship(lines_of(4000))
        delivery.wait_done()
        refused = delivery.metric("bulk_requests_total", {"result": "too_large"})
        delivery.ship(lines_of(4000, first=4000), first=4000)
        delivery.wait_done()
    delivery.assert_exact(sink.docs(), 8000)
    assert delivery.documents("created") == 8000
    assert refused == delivery.metric("bulk_requests_total", {"result": "too_large"}) > 0


def test_one_document_beyond_the_limit_is_reduced(sink: Sink, tmp_path: Path) -> None:
    """A line larger than any request becomes its beginning, tagged, with the whole line as a dead letter."""
    sink.fault(Fault("too_large", bytes=200_000))
    long = lines_of(1, first=50, text="x" * 300_000)[0]
    lines = [*lines_of(50), long, *lines_of(49, first=51)]
    with Delivery(tmp_path, sink.url) as delivery:
        delivery.ship(lines)
        delivery.wait_done()
    hits = {hit["_id"]: hit["_source"] for hit in sink.docs()}
    delivery.assert_exact(sink.docs(), 100, reduced={50: "too_large"})
    reduced = hits[id_of(50)]
    assert reduced["tags"] == ["line_too_long"]
    assert long.decode().startswith(reduced["message"])
    assert len(reduced["message"]) == 32 * 1024
    assert reduced["host"] == {"name": "harness"}
    assert [long.decode()] == [letter["line"] for letter in delivery.letters()]
    assert delivery.documents("reduced") == 1


def test_a_document_that_no_limit_lets_through_is_a_dead_letter(sink: Sink, tmp_path: Path) -> None:
    """If even the reduced document is too large it is set aside, and the others go on."""
    sink.fault(Fault("too_large", bytes=20_000))
    lines = [*lines_of(10), lines_of(1, first=10, text="x" * 100_000)[0], *lines_of(10, first=11)]
    with Delivery(tmp_path, sink.url) as delivery:
        delivery.ship(lines)
        delivery.wait_done()
    delivery.assert_exact(sink.docs(), 21, set_aside={10: "too_large"})
