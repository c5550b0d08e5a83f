"""A request of which part was applied while all the rest is refused for one document in it, as Elasticsearch 9 does."""

from pathlib import Path

from deliveries import Delivery, documents_of, id_of, lines_of
from harness.process import wait_until
from harness.servers import Remote
from harness.sink import Fault, Sink

from shipper.elastic.settle import Patience

COUNT = 20_000
CULPRIT = COUNT - 10
TOGETHER = "action_request_validation_exception"


def test_only_the_culprit_is_set_aside_and_nothing_is_there_twice(
    elasticsearch9: Remote, index_prefix: str, tmp_path: Path
) -> None:
    """45 MB with one impossible id near the end: thousands are refused with it, and all of them arrive."""
    index = f"{index_prefix}2024.01.15"
    mapping = {"dynamic": False, "properties": {"n": {"type": "long"}}}
    elasticsearch9.ask("PUT", f"/{index}", {"mappings": mapping, "settings": {"index.number_of_replicas": 0}})
    documents = documents_of(lines_of(COUNT, text="x" * 2000), index=index)
    documents.body = documents.body.replace(id_of(CULPRIT).encode(), b"x" * 600)
    with Delivery(tmp_path, elasticsearch9.url, bulk_bytes=64 << 20, concurrency=1, request_seconds=60.0) as delivery:
        delivery.submit(documents)
        delivery.wait_done(60.0)
        assert delivery.metric("unexpected_conflicts_total") == 0
    assert ["x" * 600] == [letter["_id"] for letter in delivery.letters()]
    assert elasticsearch9.count(index) == COUNT - 1
    assert delivery.documents("created") + delivery.documents("duplicate") == COUNT - 1
    assert delivery.documents("dead_letter") == 1


def test_those_refused_for_their_company_go_again(sink: Sink, tmp_path: Path) -> None:
    """Documents that are refused together are sent in smaller company, whole; from the spool as well."""
    sink.fault(Fault("items", status=400, type=TOGETHER, times=170))
    with Delivery(tmp_path, sink.url) as delivery:
        delivery.ship(lines_of(300))
        delivery.wait_done()
        assert sink.fired() == [170]
        delivery.assert_exact(sink.docs(), 300)
    sink.clear()
    sink.fault(Fault("items", status=403, type="cluster_block_exception"))
    with Delivery(tmp_path, sink.url, patience=Patience(hold_seconds=0.0)) as other:
        other.ship(lines_of(300))
        other.wait_done()
        assert other.output.status().spooled == 300
        sink.fault(Fault("items", status=400, type=TOGETHER, times=170))
        wait_until(lambda: not other.output.status().spooled, what="the spool is empty", timeout_seconds=30)
        other.assert_exact(sink.docs(), 300)


def test_the_company_becomes_smaller_until_the_culprit_stands_alone(sink: Sink, tmp_path: Path) -> None:
    """All that is in a request with one impossible document is refused, each time: halves find it in few requests."""
    sink.fault(Fault("items", status=400, type=TOGETHER, company='"n": 123,'))
    with Delivery(tmp_path, sink.url) as delivery:
        delivery.ship(lines_of(300))
        delivery.wait_done()
    delivery.assert_exact(sink.docs(), 300, set_aside={123: TOGETHER})
    assert sink.stats()["requests"] < 30


def test_one_that_is_refused_alone_is_set_aside(sink: Sink, tmp_path: Path) -> None:
    """Whoever is refused so without company is the culprit."""
    sink.fault(Fault("items", status=400, type=TOGETHER, contains='"n": 123,'))
    with Delivery(tmp_path, sink.url) as delivery:
        delivery.ship(lines_of(300))
        delivery.wait_done()
    delivery.assert_exact(sink.docs(), 300, set_aside={123: TOGETHER})
