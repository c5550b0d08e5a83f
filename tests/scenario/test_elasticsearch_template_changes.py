"""An index template changes what the server answers for the index that it makes next."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from deliveries import Delivery, documents_of, lines_of
from harness.process import wait_until
from harness.servers import Remote, Server

from shipper.elastic.settle import Patience


def _template(prefix: str, **template: Any) -> dict[str, Any]:
    settings = {"index.number_of_replicas": 0, **template.pop("settings", {})}
    return {"index_patterns": [f"{prefix}*"], "priority": 900, "template": {"settings": settings, **template}}


@pytest.mark.parametrize("flavour", ["elasticsearch", "opensearch"])
def test_one_that_makes_other_fields(
    request: pytest.FixtureRequest, index_prefix: str, tmp_path: Path, flavour: str
) -> None:
    """The next day has another mapping, in which the same lines conflict: reduced there, whole here, none lost."""
    server: Remote = request.getfixturevalue(flavour)
    path = f"/_index_template/{index_prefix}template"
    with Delivery(tmp_path, server.url) as delivery:
        server.ask("PUT", path, _template(index_prefix))
        delivery.ship(lines_of(20), index=f"{index_prefix}2024.01.15")
        delivery.wait_done()
        server.ask("PUT", path, _template(index_prefix, mappings={"properties": {"url": {"type": "long"}}}))
        delivery.ship(lines_of(20, first=20), first=20, index=f"{index_prefix}2024.01.16")
        delivery.wait_done()
    hits = server.search_all(f"{index_prefix}*")
    reason = {letter["reason"] for letter in delivery.letters()}
    assert len(reason) == 1
    delivery.assert_exact(hits, 40, reduced=dict.fromkeys(range(20, 40), reason.pop()))
    reduced = [hit["_source"] for hit in hits if hit["_index"].endswith("16")]
    assert [{"url": "/api/patients"}] * 20 == [source["shipper"]["unmapped"] for source in reduced]


@pytest.mark.parametrize("flavour", ["elasticsearch", "opensearch"])
def test_one_that_names_a_pipeline_which_is_not_there(
    request: pytest.FixtureRequest, index_prefix: str, tmp_path: Path, flavour: str
) -> None:
    """It blocks the new index only; mended, the documents arrive whole by themselves."""
    server: Remote = request.getfixturevalue(flavour)
    old, new = f"{index_prefix}2024.01.15", f"{index_prefix}2024.01.16"
    pipeline = f"{index_prefix}pipeline"
    server.ask("PUT", f"/{old}")
    template = _template(index_prefix, settings={"index.default_pipeline": pipeline})
    server.ask("PUT", f"/_index_template/{index_prefix}template", template)
    with Delivery(tmp_path, server.url, patience=Patience(hold_seconds=0.2)) as delivery:
        delivery.ship(lines_of(20), index=new)
        delivery.ship(lines_of(20, first=20), first=20, index=old)
        delivery.wait_done()
        assert (server.count(old), delivery.output.status().spooled) == (20, 20)
        server.ask("PUT", f"/_ingest/pipeline/{pipeline}", {"processors": []})
        wait_until(lambda: not delivery.output.status().spooled, what="the spool is empty", timeout_seconds=30)
    delivery.assert_exact(server.search_all(f"{index_prefix}*"), 40)


def test_one_that_makes_it_a_data_stream(start_server: Callable[..., Server], tmp_path: Path) -> None:
    """Asked for: each document is there once, sent again too; one without a time is kept as a dead letter."""
    server = start_server("elasticsearch-8")
    template = {**_template("app-", mappings={"properties": {"n": {"type": "long"}}}), "data_stream": {}}
    server.ask("PUT", "/_index_template/app", template)
    untimed = documents_of(lines_of(1, first=200), first=200, index="app-2024.01.15")
    untimed.body = untimed.body.replace(b'"@timestamp": "2024-01-15T10:30:45.123Z", ', b"")
    assert b"@timestamp" not in untimed.body
    for _ in range(2):
        with Delivery(tmp_path, server.url, allow_data_stream=True) as delivery:
            delivery.ship(lines_of(200), index="app-2024.01.15")
            delivery.submit(untimed)
            delivery.wait_done()
        hits = server.search_all("app-*")
        delivery.assert_exact(hits, 201, set_aside={200: "document_parsing_exception"})
    assert delivery.documents("duplicate") == 200
    assert {True} == {hit["_index"].startswith(".ds-app-2024.01.15") for hit in hits}
