"""The whole cluster takes no documents: an operator's block, or a user who may do nothing at all (403)."""

from pathlib import Path

import pytest
from deliveries import Delivery, lines_of
from harness.process import wait_until
from harness.servers import Remote

from shipper.settings import Secret


@pytest.mark.parametrize("flavour", ["elasticsearch", "opensearch"])
def test_a_block_of_the_cluster_is_waited_out(
    request: pytest.FixtureRequest,
    index_prefix: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    flavour: str,
) -> None:
    """Documents wait, a person is told once what to look at, nothing is set aside; unblocked, all arrive."""
    server: Remote = request.getfixturevalue(flavour)
    index = f"{index_prefix}2024.01.15"
    server.ask("PUT", f"/{index}")
    try:
        server.ask("PUT", "/_cluster/settings", {"persistent": {"cluster.blocks.read_only": True}})
        with Delivery(tmp_path, server.url) as delivery:
            delivery.ship(lines_of(100), index=index)
            wait_until(
                lambda: delivery.metric("bulk_requests_total", {"result": "forbidden"}) >= 3,
                what="three refusals",
                timeout_seconds=30,
            )
            assert delivery.output.status().refused_since is None
            server.ask("PUT", "/_cluster/settings", {"persistent": {"cluster.blocks.read_only": None}})
            delivery.wait_done()
    finally:
        server.ask("PUT", "/_cluster/settings", {"persistent": {"cluster.blocks.read_only": None}})
    delivery.assert_exact(server.search_all(index), 100)
    assert ["blocks the cluster" in record.message for record in caplog.records if record.levelname == "ERROR"] == [
        True
    ]


def test_a_user_without_any_role_gets_one(
    elasticsearch_secure: Remote, index_prefix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """403 for the whole request is waited for, said once, and ends when the user may write; no word of the password."""
    index = f"{index_prefix}2024.01.15"
    user = {"password": "a long password", "roles": []}
    elasticsearch_secure.ask("PUT", "/_security/user/writer", user)
    with Delivery(
        tmp_path,
        elasticsearch_secure.url,
        username="writer",
        password=Secret("a long password"),
        ca_file=str(elasticsearch_secure.ca_file),
    ) as delivery:
        delivery.ship(lines_of(100), index=index)
        wait_until(
            lambda: delivery.metric("bulk_requests_total", {"result": "forbidden"}) >= 3,
            what="three refusals",
            timeout_seconds=30,
        )
        assert delivery.output.status().refused_since is not None
        rights = {"names": [f"{index_prefix}*"], "privileges": ["create_doc", "auto_configure"]}
        elasticsearch_secure.ask("PUT", "/_security/role/writers", {"indices": [rights]})
        elasticsearch_secure.ask("PUT", "/_security/user/writer", {**user, "roles": ["writers"]})
        delivery.wait_done()
    delivery.assert_exact(elasticsearch_secure.search_all(index), 100)
    assert ["privileges" in record.message for record in caplog.records if record.levelname == "ERROR"] == [True]
    assert "a long password" not in caplog.text
