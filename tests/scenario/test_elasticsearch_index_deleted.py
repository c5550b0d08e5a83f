"""Somebody deletes the index that is being written to."""

from pathlib import Path

from deliveries import Delivery, access_to, id_of, lines_of
from harness.servers import Remote


def test_what_comes_after_is_there_once_and_nothing_stops(
    any_server: Remote, index_prefix: str, tmp_path: Path
) -> None:
    """The server makes the index anew: all that is sent from then on arrives, what was deleted stays deleted."""
    index = f"{index_prefix}2024.01.15"
    with Delivery(tmp_path, any_server.url, bulk_bytes=64 * 1024, **access_to(any_server)) as delivery:
        delivery.ship(lines_of(500), index=index)
        delivery.wait_done()
        delivery.ship(lines_of(500, first=500), first=500, index=index)  # some of these before, some after
        any_server.ask("DELETE", f"/{index}")
        delivery.wait_done()
        delivery.ship(lines_of(500, first=1000), first=1000, index=index)
        delivery.wait_done()
        assert delivery.output.status().is_up
    found = [hit["_id"] for hit in any_server.search_all(index)]
    assert len(set(found)) == len(found)
    assert {id_of(n) for n in range(1000, 1500)} <= set(found) <= {id_of(n) for n in range(500, 1500)}
    assert delivery.documents("created") + delivery.documents("duplicate") == 1500
    assert delivery.letters() == []
