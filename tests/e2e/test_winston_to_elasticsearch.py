"""The main job on the real thing: Winston writes and rotates, the command follows, the index has each line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from command import Running, run_to_end
from harness.servers import Remote
from harness.winston import WinstonWriter, lines

FAMILIES = ("combined", "exceptions", "rejections")


def configure(directory: Path, server: Remote, prefix: str) -> Path:
    config = directory / "shipper.yml"
    config.write_text(
        "state: ${STATE:-state}\n"
        "sources: [{name: caredroid, paths: [logs/]}]\n"
        f'output: {{elasticsearch: {{hosts: ["{server.url}"], index: "{prefix}%Y.%m.%d"}}}}\n'
    )
    return config


def test_every_line_once(
    tmp_path: Path, winston: Callable[..., WinstonWriter], elasticsearch: Remote, index_prefix: str
) -> None:
    """With size rotation, zip, symlink and a midnight in between: as many documents as lines, requests as counted."""
    config = configure(tmp_path, elasticsearch, index_prefix)
    with Running("-c", config, directory=tmp_path) as shipper:
        writer = winston(
            lines=20_000,
            rate=2_000,
            max_size="256k",
            zipped_archive=True,
            create_symlink=True,
            exceptions=5,
            rejections=5,
            utc=True,
            clock_start="2024-01-15T23:59:00Z",
            clock_step_ms=10,
        )
        ledger = writer.wait(timeout_seconds=120)
        expected = sum(ledger.lines[family] for family in FAMILIES)
        shipper.wait_for(
            lambda: elasticsearch.count(f"{index_prefix}*") >= expected, f"{expected} documents", timeout_seconds=60
        )
        shipper.wait_for(lambda: shipper.metric("http_requests_total") >= ledger.requests, "all requests counted")
        assert shipper.metric("http_requests_total") == ledger.requests
        assert shipper.metric("shipper_unread_lost_bytes_total") == 0
        assert shipper.stop() == 0

    assert not ledger.faults
    assert ledger.archived > 5
    written = Counter(line for family in FAMILIES for line in lines(tmp_path / "logs", family))
    assert sum(written.values()) == expected
    hits = elasticsearch.search_all(f"{index_prefix}*")
    assert len(hits) == expected
    assert len({hit["_id"] for hit in hits}) == expected
    assert len({hit["_index"] for hit in hits}) == 2

    again = run_to_end("run", "-c", config, "--once", directory=tmp_path, timeout_seconds=120, STATE="fresh")

    assert again.returncode == 0, again.stderr
    assert elasticsearch.count(f"{index_prefix}*") == expected
