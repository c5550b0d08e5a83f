"""The server takes connections and requests, and never answers; the queue is full, and lines go on coming."""

import json
from pathlib import Path

from command import Running
from harness.sink import Fault, Sink

BLOCK_LINES = 20_000
FLAT_BYTES = 8 << 20


def test_memory_is_flat_metrics_go_on_and_all_arrives(sink: Sink, tmp_path: Path) -> None:
    """With 6 MB under way and 30 MB unread by shipping, memory stays where it was; healed, each line is there once."""
    sink.fault(Fault("silent", applied=0.2))
    log, config = tmp_path / "app.log", tmp_path / "shipper.yml"
    config.write_text(
        "state: state\nsources: [{name: a, paths: [app.log]}]\n"
        f'output: {{elasticsearch: {{hosts: ["{sink.url}"], request_seconds: 5s}}}}\n'
    )
    log.touch()
    with Running("-c", config, directory=tmp_path) as shipper:
        _append(log, 0)
        shipper.wait_for(lambda: _counted(shipper) == BLOCK_LINES, "the first block is counted")
        shipper.wait_for(lambda: shipper.metric("shipper_catching_up") == 1, "shipping has stalled")
        _append(log, 1)
        shipper.wait_for(lambda: _counted(shipper) == 2 * BLOCK_LINES, "the second block is counted")
        before = _resident_bytes(shipper.pid)
        for block in range(2, 5):
            _append(log, block)
        shipper.wait_for(lambda: _counted(shipper) == 5 * BLOCK_LINES, "all blocks are counted")
        shipper.wait_for(lambda: shipper.metric("shipper_bulk_requests_total", result="timeout") >= 1, "a timeout")
        assert _resident_bytes(shipper.pid) - before < FLAT_BYTES
        assert shipper.status()["output"]["pending"] < BLOCK_LINES

        sink.fault()
        shipper.wait_for(lambda: _delivered(shipper) == 5 * BLOCK_LINES, "all are delivered", timeout_seconds=60)
        assert _counted(shipper) == 5 * BLOCK_LINES
        assert shipper.stop() == 0
    hits = sink.docs()
    assert len({hit["_id"] for hit in hits}) == len(hits) == 5 * BLOCK_LINES
    assert sorted(hit["_source"]["duration"] for hit in hits) == list(range(5 * BLOCK_LINES))


def _append(log: Path, block: int) -> None:
    """A block of 6 MB."""
    first = block * BLOCK_LINES
    request = {"timestamp": "2024-01-15T10:30:45.123Z", "method": "GET", "statusCode": 200, "agent": "x" * 180}
    with log.open("a") as file:
        file.writelines(
            json.dumps({**request, "url": f"/api/patients/{number}", "duration": number}) + "\n"
            for number in range(first, first + BLOCK_LINES)
        )


def _counted(shipper: Running) -> float:
    return shipper.metric("http_requests_total")


def _delivered(shipper: Running) -> float:
    return shipper.metric("shipper_documents_total", result="created") + shipper.metric(
        "shipper_documents_total", result="duplicate"
    )


def _resident_bytes(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(text.split("VmRSS:")[1].split()[0])
