"""The only copy of an index's shard is lost, as with the disk of a node, and comes back later."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from command import run_to_end
from deliveries import Delivery, lines_of
from harness.process import wait_until
from harness.servers import Server

from shipper.elastic.settle import Patience

LOST, FREE = "logs-2024.01.14", "logs-2024.01.15"


def take_away(server: Server, index: str) -> Path:
    """Kills the node, takes the files of the index's shard away, and starts it again; returns where they belong."""
    uuid = server.ask("GET", f"/{index}/_settings")[index]["settings"]["index"]["uuid"]
    (shard,) = server.directory.glob(f"data/**/{uuid}/0")
    server.kill()
    shutil.move(shard, server.directory / "away")
    server.restart(is_waiting=False)
    wait_until(lambda: states(server) == {LOST: "UNASSIGNED", FREE: "STARTED"}, what="one is red", timeout_seconds=30)
    return shard


def bring_back(server: Server, shard: Path) -> None:
    """The disk is there again."""
    server.kill()
    shutil.move(server.directory / "away", shard)
    server.restart()


def states(server: Server) -> dict[str, str]:
    """How the primary shards are, by index; nothing while the node cannot say."""
    status, rows = server.request("GET", "/_cat/shards?format=json&h=index,state,prirep")
    return {row["index"]: row["state"] for row in rows if row["prirep"] == "p"} if status == 200 else {}


@pytest.mark.parametrize("flavour", ["elasticsearch-8"])
def test_others_go_on_and_its_documents_arrive_when_it_is_back(
    start_server: Callable[..., Server], tmp_path: Path, flavour: str
) -> None:
    """Documents of the red index wait on disk, others do not wait for it; `audit` says that it cannot say."""
    server = start_server(flavour)
    lines = [
        json.dumps({"timestamp": f"2024-01-{14 + n % 2}T10:30:45.123Z", "n": n}).encode() + b"\n" for n in range(10)
    ]
    (tmp_path / "app.log").write_bytes(b"".join(lines))
    command = ("app.log", "--output", server.url)
    assert run_to_end("run", *command, "--once", directory=tmp_path).returncode == 0
    shard = take_away(server, LOST)
    audit = run_to_end("audit", *command, "--json", directory=tmp_path)
    assert audit.returncode == 1
    totals = json.loads(audit.stdout)["totals"]
    assert (totals["present"], totals["unknown"], totals["missing"]) == (5, 5, 0)

    patience = Patience(busy_seconds=1.0)
    with Delivery(tmp_path, server.url, patience=patience, request_seconds=4.0) as delivery:
        delivery.ship(lines_of(50), index=LOST)
        shipped = 50

        def is_on_disk() -> bool:
            nonlocal shipped
            delivery.ship(lines_of(10, first=shipped), first=shipped, index=(LOST, FREE)[shipped // 10 % 2])
            shipped += 10
            return delivery.output.status().spooled >= 50

        wait_until(is_on_disk, what="documents of the red index are on disk", timeout_seconds=30, poll_seconds=0.2)
        delivery.wait_done()
        assert server.count(FREE) == 5 + sum(10 for first in range(50, shipped, 10) if first // 10 % 2)
        assert (lambda s: s.spooled + s.pending)(delivery.output.status()) == shipped + 5 - server.count(FREE)
        bring_back(server, shard)
        wait_until(lambda: not delivery.output.status().spooled, what="the spool is empty", timeout_seconds=60)
        assert delivery.close()
    hits = [hit for hit in server.search_all("logs-*") if hit["_id"].startswith("0123456789ab")]
    delivery.assert_exact(hits, shipped)
    audit = run_to_end("audit", *command, "--json", directory=tmp_path)
    assert (audit.returncode, json.loads(audit.stdout)["totals"]["present"]) == (0, 10)
