"""The main proof: Winston's archives and a real Elasticsearch; whatever was sent before, each line is there once."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from command import Running, run_to_end
from harness.servers import Remote
from harness.sink import Fault, Sink
from harness.winston import WinstonWriter, lines
from replays import replay

FAMILIES = ("combined", "exceptions", "rejections")
OPTIONS = {
    "lines": 12_000,
    "max_size": "128k",
    "zipped_archive": True,
    "exceptions": 5,
    "rejections": 5,
    "utc": True,
    "clock_start": "2024-01-15T23:59:00Z",
    "clock_step_ms": 10,
}


def configure(directory: Path, server: Remote, prefix: str) -> Path:
    config = directory / "shipper.yml"
    config.write_text(
        "state: ${STATE:-state}\n"
        "sources: [{name: caredroid, paths: [logs/]}]\n"
        f'output: {{elasticsearch: {{hosts: ["{server.url}"], index: "{prefix}%Y.%m.%d", bulk_bytes: 256kB}}}}\n'
    )
    return config


def written(directory: Path) -> Counter[bytes]:
    return Counter(line for family in FAMILIES for line in lines(directory, family))


def test_archives_are_there_once_whatever_was_sent_before(
    tmp_path: Path, winston: Callable[..., WinstonWriter], elasticsearch: Remote, index_prefix: str
) -> None:
    """A live run that missed the end, a replay by four workers that is killed five times, in shards, and once more."""
    config = configure(tmp_path, elasticsearch, index_prefix)
    index = f"{index_prefix}*"
    with Running("-c", config, directory=tmp_path) as daemon:
        ledger = winston(**{**OPTIONS, "lines": 4_000, "run": "live"}).wait(timeout_seconds=120)
        live = sum(ledger.lines[family] for family in FAMILIES)
        daemon.wait_for(lambda: elasticsearch.count(index) >= live, f"{live} documents", timeout_seconds=60)
        assert daemon.stop() == 0
    shipped = {hit["_id"] for hit in elasticsearch.search_all(index)}
    winston(**{**OPTIONS, "clock_start": "2024-01-16T12:00:00Z", "run": "missed"}).wait(timeout_seconds=120)
    shutil.copytree(tmp_path / "logs", tmp_path / "archive")
    expected = sum(written(tmp_path / "archive").values())

    killed = [
        replay(
            *("archive", "-c", config, "--workers", "4"),
            directory=tmp_path,
            SHIPPER_FAILPOINT=f"elastic.after_answer:{number}",
        )
        for number in (1, 2, 2, 2, 2)
    ]
    done = replay("archive", "-c", config, "--workers", "4", directory=tmp_path)

    assert all(one.code == 1 for one in killed)
    assert done.code == 0, done.errors
    hits = elasticsearch.search_all(index)
    assert len(hits) == len({hit["_id"] for hit in hits}) == expected
    assert shipped < {hit["_id"] for hit in hits}
    assert done.totals["lines"] == done.totals["created"] + done.totals["duplicate"] == expected

    again = replay("archive", "-c", config, directory=tmp_path)
    shards = [
        replay("archive", "-c", config, "--shard", f"{number}/3", directory=tmp_path, STATE="shards")
        for number in range(3)
    ]

    assert [(one.code, one.totals["created"]) for one in (again, *shards)] == [(0, 0)] * 4
    assert again.totals["duplicate"] == expected
    assert sum(one.totals["duplicate"] for one in shards) == expected
    assert elasticsearch.count(index) == expected
    audit = run_to_end("audit", "archive/", "-c", config, "--source", "caredroid", directory=tmp_path)
    assert audit.returncode == 0, audit.stdout + audit.stderr


def reduced_by(server: Remote, index: str) -> int:
    server.refresh(index)
    return sum("unmapped" in hit["_source"].get("shipper", {}) for hit in server.search_all(index))


def test_repair_replaces_reduced_documents(tmp_path: Path, elasticsearch: Remote, index_prefix: str) -> None:
    """Once the mapping is mended the whole documents stand in their places; without --repair they do not."""
    config = configure(tmp_path, elasticsearch, index_prefix)
    index = f"{index_prefix}2024.01.15"
    elasticsearch.ask("PUT", f"/{index}", {"mappings": {"properties": {"userId": {"type": "long"}}}})
    (tmp_path / "logs").mkdir()
    text = [
        f'{{"timestamp":"2024-01-15T10:30:4{n}.123Z","userId":{f"{n}" if n % 2 else f"{chr(34)}user-{n}{chr(34)}"}}}'
        for n in range(6)
    ]
    (tmp_path / "logs/app.log").write_text("".join(f"{line}\n" for line in text))
    first = replay("logs", "-c", config, directory=tmp_path)
    assert (first.code, first.totals["reduced"], reduced_by(elasticsearch, index)) == (3, 3, 3)
    early = replay("logs", "-c", config, "--repair", directory=tmp_path, STATE="early")
    assert (early.code, early.totals["duplicate"], early.totals["reduced_before"]) == (3, 6, 3), early.errors
    mend(elasticsearch, index)

    plain = replay("logs", "-c", config, directory=tmp_path)
    before = reduced_by(elasticsearch, index)
    repaired = replay("logs", "-c", config, "--repair", directory=tmp_path)

    assert (plain.code, plain.totals["duplicate"], before) == (0, 6, 3)
    assert (repaired.code, repaired.totals["repaired"], repaired.totals["duplicate"]) == (0, 3, 3), repaired.errors
    assert reduced_by(elasticsearch, index) == 0
    hits = elasticsearch.search_all(index)
    assert sorted(str(hit["_source"]["userId"]) for hit in hits) == ["1", "3", "5", "user-0", "user-2", "user-4"]


def test_repair_replaces_documents_that_were_too_large(
    tmp_path: Path, elasticsearch: Remote, index_prefix: str, sink: Sink
) -> None:
    """What kept its beginning because of a server's limit is whole once there is more room; what is too long for
    the configuration is as it was, and is not sent again.
    """
    config = configure(tmp_path, elasticsearch, index_prefix)
    config.write_text(config.read_text().replace("paths: [logs/]", "paths: [logs/], max_line_bytes: 150kB"))
    index = f"{index_prefix}2024.01.15"
    (tmp_path / "logs").mkdir()
    lines = [
        f'{{"timestamp":"2024-01-15T10:30:4{n}.123Z","n":{n},"text":"{"x" * size}"}}' for n, size in enumerate(SIZES)
    ]
    (tmp_path / "logs/app.log").write_text("".join(f"{line}\n" for line in lines))
    narrow = tmp_path / "narrow.yml"
    narrow.write_text(config.read_text().replace(elasticsearch.url, sink.url))
    sink.fault(Fault("too_large", bytes=100_000, contains='"n":1,'))
    first = replay("logs", "-c", narrow, directory=tmp_path, STATE="first")
    assert first.totals["reduced"] == 1, first.errors
    for hit in sink.docs():
        elasticsearch.ask("PUT", f"/{index}/_create/{hit['_id']}", hit["_source"])
    elasticsearch.refresh(index)

    repaired = replay("logs", "-c", config, "--repair", directory=tmp_path)
    again = replay("logs", "-c", config, "--repair", directory=tmp_path)

    assert (repaired.code, repaired.totals.get("repaired"), repaired.totals["duplicate"]) == (0, 1, 2), repaired.errors
    assert (again.code, again.totals.get("repaired", 0), again.totals["duplicate"]) == (0, 0, 3)
    elasticsearch.refresh(index)
    found = {hit["_source"].get("n"): hit["_source"] for hit in elasticsearch.search_all(index)}
    assert len(found[1]["text"]) == SIZES[1]
    assert "tags" not in found[1]
    assert found[None]["tags"] == ["line_too_long", "time_failure"]


SIZES = (10, 140_000, 200_000)
"""Of the texts in three lines: small; beyond a server's limit with its document; beyond `max_line_bytes`."""


def mend(server: Remote, index: str) -> None:
    """The same documents in an index whose mapping takes them, as an operator reindexes."""
    hits = server.search_all(index)
    server.ask("DELETE", f"/{index}")
    server.ask("PUT", f"/{index}", {"mappings": {"properties": {"userId": {"type": "keyword"}}}})
    for hit in hits:
        server.ask("PUT", f"/{index}/_create/{hit['_id']}", hit["_source"])
    server.refresh(index)
