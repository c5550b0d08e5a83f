"""The ingest pipeline that is asked for is missing, is made, changes, fails, and is gone again."""

from pathlib import Path
from typing import Any

import pytest
from deliveries import Delivery, lines_of
from harness.process import wait_until
from harness.servers import Remote

from shipper.elastic.settle import Patience


def _sources(server: Remote, index: str) -> dict[int, dict[str, Any]]:
    return {hit["_source"]["n"]: hit["_source"] for hit in server.search_all(index) if "n" in hit["_source"]}


@pytest.mark.parametrize("flavour", ["elasticsearch", "opensearch"])
def test_a_missing_one_is_waited_for(
    request: pytest.FixtureRequest, index_prefix: str, tmp_path: Path, flavour: str
) -> None:
    """While it is missing nothing is reduced and nothing set aside: all wait, on disk, and arrive when it is there."""
    server: Remote = request.getfixturevalue(flavour)
    index, pipeline = f"{index_prefix}2024.01.15", f"{index_prefix}pipeline"
    with Delivery(tmp_path, server.url, pipeline=pipeline, patience=Patience(hold_seconds=0.2)) as delivery:
        delivery.ship(lines_of(200), index=index)
        delivery.wait_done()
        assert delivery.output.status().spooled == 200
        server.ask("PUT", f"/_ingest/pipeline/{pipeline}", {"processors": []})
        wait_until(lambda: not delivery.output.status().spooled, what="the spool is empty", timeout_seconds=60)
        server.ask("DELETE", f"/_ingest/pipeline/{pipeline}")
        delivery.ship(lines_of(100, first=200), first=200, index=index)
        delivery.wait_done()
        server.ask("PUT", f"/_ingest/pipeline/{pipeline}", {"processors": []})
        wait_until(lambda: not delivery.output.status().spooled, what="it is empty again", timeout_seconds=60)
    delivery.assert_exact(server.search_all(index), 300)


def test_one_that_changes_and_fails(opensearch: Remote, index_prefix: str, tmp_path: Path) -> None:
    """What it makes of documents is the operator's; documents that it fails on arrive around it, as text, tagged."""
    index, pipeline = f"{index_prefix}2024.01.15", f"{index_prefix}pipeline"
    path = f"/_ingest/pipeline/{pipeline}"
    opensearch.ask("PUT", path, {"processors": [{"set": {"field": "stage", "value": "first"}}]})
    with Delivery(tmp_path, opensearch.url, pipeline=pipeline) as delivery:
        delivery.ship(lines_of(10), index=index)
        delivery.wait_done()
        opensearch.ask("PUT", path, {"processors": [{"set": {"field": "stage", "value": "second"}}]})
        delivery.ship(lines_of(10, first=10), first=10, index=index)
        delivery.wait_done()
        opensearch.ask("PUT", path, {"processors": [{"fail": {"message": "no good"}}]})
        delivery.ship(lines_of(3, first=20), first=20, index=index)
        delivery.wait_done()
    stages = [source["stage"] for _, source in sorted(_sources(opensearch, index).items())]
    assert ["first"] * 10 + ["second"] * 10 == stages
    reasons = dict.fromkeys((20, 21, 22), "fail_processor_exception")
    hits = opensearch.search_all(index)
    delivery.assert_exact(hits, 23, reduced=reasons)
    assert [line.decode() for line in lines_of(3, first=20)] == [
        hit["_source"]["message"] for hit in hits if hit["_source"].get("tags") == ["mapping_conflict"]
    ]
