"""A request fails as a whole for one of its documents: a firewall does not like a text, a server breaks at it, a proxy
cuts what is large. Nobody says which document it is.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from deliveries import Delivery, id_of, lines_of
from harness.process import wait_until
from harness.sink import Fault, Sink

from shipper.elastic.settle import Patience

CULPRIT = 437
FAULTS = {
    "a firewall's 403": Fault("html", status=403, contains="etc/passwd"),
    "a firewall's 406": Fault("html", status=406, contains="etc/passwd"),
    "a 400 that nobody knows": Fault("html", status=400, contains="etc/passwd"),
    "500": Fault("status", status=500, contains="etc/passwd"),
    "504": Fault("html", status=504, contains="etc/passwd"),
    "no answer": Fault("silent", contains="etc/passwd", applied=0.0),
}


def attack(number: int) -> list[bytes]:
    return lines_of(1, first=number, attack="../../etc/passwd")


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_for_one_line_and_all_others_arrive(sink: Sink, tmp_path: Path, fault: Fault) -> None:
    """It waits on disk, alone, and arrives when it may."""
    lines = lines_of(1000)
    lines[CULPRIT : CULPRIT + 1] = attack(CULPRIT)
    sink.fault(fault)
    patience = Patience(busy_seconds=0.5)
    with Delivery(
        tmp_path, sink.url, request_seconds=0.4, bulk_bytes=64 * 1024, compression="none", patience=patience
    ) as delivery:
        delivery.ship(lines)
        wait_until(lambda: sink.count() == 999, what="all others are there", timeout_seconds=30)
        later = 0

        def is_spooled() -> bool:
            nonlocal later
            delivery.ship(lines_of(1, first=1000 + later), first=1000 + later)  # the service goes on writing
            later += 1
            return delivery.output.status().spooled == 1

        wait_until(is_spooled, what="the culprit waits on disk", timeout_seconds=30, poll_seconds=0.05)
        delivery.wait_done()
        wait_until(lambda: delivery.output.status().is_up, what="the server takes documents", timeout_seconds=5)
        assert delivery.letters() == []
        sink.fault()
        wait_until(lambda: sink.count() == 1000 + later, what="the culprit is there", timeout_seconds=30)
        wait_until(lambda: not delivery.output.status().spooled, what="the spool is empty", timeout_seconds=10)
        delivery.assert_exact(sink.docs(), 1000 + later)


def test_nothing_else_in_the_spool_waits_for_it(sink: Sink, tmp_path: Path) -> None:
    """An index was blocked, and among what waited for it is a line that no request gets past the firewall."""
    refusing = Fault("html", status=403, contains="etc/passwd")
    lines = lines_of(80)
    lines[17:18] = attack(17)
    sink.fault(Fault("items", status=403, type="cluster_block_exception", index="logs-2024.01.15"))
    with Delivery(tmp_path, sink.url, compression="none", patience=Patience(hold_seconds=0.1)) as delivery:
        delivery.ship(lines[:40])
        delivery.wait_done()
        delivery.ship(lines[40:], first=40)  # into another file, for the first is being tried
        delivery.wait_done()
        assert delivery.output.status().spooled == 80
        assert len(list(delivery.spool_directory.iterdir())) > 1
        sink.fault(refusing)
        others = 0

        def all_but_one_are_there() -> bool:
            nonlocal others
            delivery.ship(lines_of(1, first=100 + others), first=100 + others, index="logs-2024.01.16")
            others += 1
            return delivery.output.status().spooled == 1

        wait_until(all_but_one_are_there, what="the others of the index", timeout_seconds=30, poll_seconds=0.05)
        assert {id_of(n) for n in range(80) if n != 17} == {hit["_id"] for hit in sink.docs("logs-2024.01.15")}
        delivery.wait_done()
        wait_until(lambda: delivery.output.status().is_up, what="the server takes documents", timeout_seconds=5)
        sink.fault()
        wait_until(lambda: not delivery.output.status().spooled, what="the spool is empty", timeout_seconds=10)
        assert {id_of(n) for n in range(80)} == {hit["_id"] for hit in sink.docs("logs-2024.01.15")}


def test_for_its_size_and_no_413_gets_through(sink: Sink, tmp_path: Path) -> None:
    """A proxy cuts the connection of a request that is too large for it: smaller ones pass."""
    sink.fault(Fault("cut_request", bytes=50_000, above=100_000))
    with Delivery(tmp_path, sink.url, compression="none", bulk_bytes=1 << 20, bulk_seconds=0.5) as delivery:
        delivery.ship(lines_of(3000))
        delivery.wait_done()
        delivery.assert_exact(sink.docs(), 3000)


def test_an_outage_does_not_make_single_documents_of_requests(sink: Sink, tmp_path: Path) -> None:
    """Nothing passes, so that nothing says that it is for a document: what goes out afterwards is not in crumbs."""
    with Delivery(tmp_path, sink.url, bulk_bytes=256 * 1024, bulk_seconds=5.0) as delivery:
        sink.fault(Fault("html", status=403, times=60))
        delivery.ship(lines_of(2000))
        delivery.output.flush()
        delivery.wait_done()
        assert sink.stats()["bulk_requests"] <= 60 + 12
        delivery.assert_exact(sink.docs(), 2000)
