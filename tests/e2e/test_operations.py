"""`status`, `audit` and `dead-letter` as they are installed, beside running daemons and real servers."""

from __future__ import annotations

import gzip
import json
import subprocess
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from command import SHIPPER, Running, documents_in, run_to_end
from harness.servers import Remote, Server
from harness.sink import Fault, Sink


def line(number: int, **fields: Any) -> str:
    request = {"timestamp": "2024-01-15T10:30:45.123Z", "method": "GET", "url": f"/api/patients/{number}"}
    return json.dumps({**request, "statusCode": 200, "duration": number, **fields}) + "\n"


def write(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.writelines(lines)


def configuration(
    directory: Path, server: Remote | Sink, prefix: str = "logs-", *, options: str = "", more: str = ""
) -> Path:
    """A configuration that ships logs/*.log* into a server."""
    config = directory / "shipper.yml"
    login = options
    if isinstance(server, Remote) and server.ca_file:
        login += f"username: {server.user}, password: {server.password}, ca_file: {server.ca_file}, "
    config.write_text(
        "state: state\nsources: [{name: app, paths: ['logs/*.log*']}]\n"
        f'output: {{elasticsearch: {{{login}hosts: ["{server.url}"], index: "{prefix}%Y.%m.%d"}}}}\n{more}'
    )
    return config


def shipper(*arguments: str | Path, directory: Path, expects: int) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, which must be with this code."""
    done = run_to_end(*arguments, directory=directory)
    assert expects == done.returncode, done.stdout + done.stderr
    return done


def audited(*arguments: str | Path, directory: Path, expects: int) -> dict[str, Any]:
    """The totals of an audit."""
    done = shipper("audit", *arguments, "--json", directory=directory, expects=expects)
    totals: dict[str, Any] = json.loads(done.stdout)["totals"]
    return {place: count for place, count in totals.items() if count}


def reindex(server: Remote, hits: Sequence[dict[str, Any]], index: str) -> None:
    """Write documents into another index, as an operator does who mends a mapping (no node here has _reindex)."""
    for hit in hits:
        server.ask("PUT", f"/{index}/_doc/{hit['_id']}", hit["_source"])


# Status


def test_status_of_a_running_daemon_and_of_its_state(tmp_path: Path) -> None:
    """A running one answers over its socket, 0; one that was killed left a state that is read, 1."""
    write(tmp_path / "logs/app.log", *map(line, range(50)))
    with Running("logs", directory=tmp_path) as running:
        running.wait_for(lambda: len(documents_in(tmp_path / "shipped")) == 50, "50 documents")
        running.wait_for(lambda: not _commit_waits(running), "a commit")

        alive = json.loads(shipper("status", "--json", directory=tmp_path, expects=0).stdout)
        text = shipper("status", "--state", "shipped/.shipper", directory=tmp_path, expects=0).stdout
        running.kill()

    assert (alive["is_running"], alive["totals"]["lines"], alive["output"]["is_up"]) == (True, 50, True)
    assert "is running" in text
    assert "50 created" in text
    dead = json.loads(shipper("status", "--json", directory=tmp_path, expects=1).stdout)
    assert (dead["is_running"], dead["sources"][0]["files"]) == (False, 1)
    assert dead["files"][0]["shipped"] == (tmp_path / "logs/app.log").stat().st_size
    assert "is not running" in shipper("status", directory=tmp_path, expects=1).stdout


def _commit_waits(running: Running) -> bool:
    status = running.status()
    file = status["files"][0]
    return (
        bool(status["commit_age_seconds"])
        or file["shipped"] != file["size"]
        or running.metric("shipper_state_commit_duration_seconds_count") < 2
    )


@pytest.mark.parametrize("is_archive", [False, True])
def test_status_tells_lost_bytes_by_reason(tmp_path: Path, sink: Sink, *, is_archive: bool) -> None:
    """What was deleted while nobody ran, and had not been delivered, is told to the byte, as the metrics tell it."""
    sink.fault(Fault("status", status=503))
    log = tmp_path / "logs/app.log"
    write(log, *map(line, range(50)))
    write(tmp_path / "logs/other.log", line(50))
    size = log.stat().st_size
    if is_archive:
        archive = log.with_name("app.log.1.gz")
        archive.write_bytes(gzip.compress(log.read_bytes()))
        log.unlink()
        log = archive
    arguments = ("logs", "--output", sink.url)
    with Running(*arguments, directory=tmp_path) as running:
        running.wait_for(lambda: not running.status()["commit_age_seconds"] and running.status()["files"], "a commit")
    log.unlink()
    with Running(*arguments, directory=tmp_path) as running:
        running.wait_for(lambda: running.status()["sources"][0]["lost_bytes"], "the first scan")
        reason = "deleted_while_down"
        assert running.status()["sources"][0]["lost_bytes"] == {reason: size}
        assert running.metric("shipper_unread_lost_bytes_total", source="default", reason=reason) == size
        running.wait_for(lambda: running.status()["output"]["error"], "an answer that is none")
        text = shipper("status", directory=tmp_path, expects=1).stdout
    assert f"before they were read, since its start: {size:,} deleted while down" in text


def test_status_says_when_the_output_is_down(tmp_path: Path, sink: Sink) -> None:
    """A daemon that runs and cannot deliver is not well."""
    sink.fault(Fault("status", status=503))
    write(tmp_path / "logs/app.log", line(1))
    config = configuration(tmp_path, sink)
    with Running("-c", config, directory=tmp_path) as running:
        running.wait_for(lambda: running.status()["output"]["error"], "an error")

        done = shipper("status", "-c", config, directory=tmp_path, expects=1)

    assert "is running" in done.stdout
    assert "down: " in done.stdout


def test_status_where_there_is_nothing(tmp_path: Path) -> None:
    """A directory without a state is a mistake of whoever asks."""
    assert "no state" in shipper("status", directory=tmp_path, expects=2).stderr
    assert "no state" in shipper("status", "--state", "nowhere", directory=tmp_path, expects=2).stderr


# Audit


def test_audit_finds_what_was_deleted_behind_our_back(any_server: Remote, index_prefix: str, tmp_path: Path) -> None:
    """All is there, from the file and from its archive; then one document, then a whole index is taken away."""
    write(tmp_path / "logs/app.log", *map(line, range(300)), line(300, timestamp="2024-01-16T00:00:00.000Z"))
    write(tmp_path / "logs/app.log", "no JSON\n", "\n")
    config = configuration(tmp_path, any_server, index_prefix, more="drop: [{when: duration < 10}]\n")
    shipper("run", "-c", config, "--once", directory=tmp_path, expects=0)
    everything = {"lines": 302, "present": 292, "dropped": 10}

    assert everything == audited("-c", config, directory=tmp_path, expects=0)
    (tmp_path / "logs/app.log.1.gz").write_bytes(gzip.compress((tmp_path / "logs/app.log").read_bytes()))
    (tmp_path / "logs/app.log").unlink()
    assert everything == audited("logs/app.log.1.gz", "-c", config, directory=tmp_path, expects=0)

    victim = any_server.search_all(f"{index_prefix}2024.01.15")[7]
    any_server.ask("DELETE", f"/{victim['_index']}/_doc/{victim['_id']}")
    assert {**everything, "present": 291, "missing": 1} == audited("-c", config, directory=tmp_path, expects=1)
    said = shipper("audit", "-c", config, directory=tmp_path, expects=1).stdout
    assert f"offset {int(victim['_id'].split('-')[1])} ({victim['_index']})" in said

    any_server.ask("DELETE", f"/{index_prefix}2024.01.16")
    assert {**everything, "present": 289, "missing": 3} == audited("-c", config, directory=tmp_path, expects=1)


def test_audit_looks_behind_an_alias(elasticsearch: Remote, index_prefix: str, tmp_path: Path) -> None:
    """After a reindex the name of the index may stand for two: both are searched."""
    write(tmp_path / "logs/app.log", *map(line, range(20)))
    config = configuration(tmp_path, elasticsearch, index_prefix)
    shipper("run", "-c", config, "--once", directory=tmp_path, expects=0)
    name = f"{index_prefix}2024.01.15"
    hits = elasticsearch.search_all(name)
    reindex(elasticsearch, hits[:9], f"{name}-new-1")
    reindex(elasticsearch, hits[9:], f"{name}-new-2")
    elasticsearch.ask("DELETE", f"/{name}")
    actions = [{"add": {"index": f"{name}-new-{number}", "alias": name}} for number in (1, 2)]
    elasticsearch.ask("POST", "/_aliases", {"actions": actions})

    assert {"lines": 20, "present": 20} == audited("-c", config, directory=tmp_path, expects=0)


def test_audit_of_a_closed_index_says_that_it_cannot_say(any_server: Remote, index_prefix: str, tmp_path: Path) -> None:
    """Neither there nor missing; opened again, all is there."""
    write(tmp_path / "logs/app.log", *map(line, range(5)))
    config = configuration(tmp_path, any_server, index_prefix)
    shipper("run", "-c", config, "--once", directory=tmp_path, expects=0)
    any_server.ask("POST", f"/{index_prefix}2024.01.15/_close")

    assert {"lines": 5, "unknown": 5} == audited("-c", config, directory=tmp_path, expects=1)

    any_server.ask("POST", f"/{index_prefix}2024.01.15/_open?wait_for_active_shards=1")
    assert {"lines": 5, "present": 5} == audited("-c", config, directory=tmp_path, expects=0)


def test_audit_beside_a_daemon_that_cannot_deliver(tmp_path: Path, sink: Sink) -> None:
    """What it has not shipped yet is no loss while it runs; once it was killed, nobody will ship it."""
    config = configuration(tmp_path, sink)
    write(tmp_path / "logs/app.log", *map(line, range(10)))
    (tmp_path / "logs/other.log").write_text(line(99))
    with Running("-c", config, directory=tmp_path) as running:
        running.wait_for(lambda: running.status()["totals"]["documents"]["created"] == 11, "11 documents")
        sink.fault(Fault("status", status=503, path="/_bulk"))
        write(tmp_path / "logs/app.log", *map(line, range(10, 15)))
        running.wait_for(lambda: running.status()["totals"]["lines"] == 16, "16 lines")

        files = json.loads(_files(tmp_path / "state"))["files"]

        assert {"app.log", "other.log"} == {Path(file["path"]).name for file in files}
        (mine,) = (file for file in files if file["path"].endswith("app.log"))
        assert mine["shipped"] < mine["observed"] == (tmp_path / "logs/app.log").stat().st_size
        assert mine["inode"] == (tmp_path / "logs/app.log").stat().st_ino
        running.kill()


def _files(state: Path) -> bytes:
    from shipper.control import ask

    answer = ask(state, "files")
    assert answer is not None
    return answer


@pytest.mark.parametrize("ends", ["stopped", "killed"])
def test_audit_knows_what_waits_for_a_daemon(
    elasticsearch: Remote, index_prefix: str, tmp_path: Path, ends: str
) -> None:
    """An index that is blocked: its lines wait, behind the cursor and on disk. Without a daemon that is a fault."""
    config = configuration(tmp_path, elasticsearch, index_prefix)
    index = f"{index_prefix}2024.01.15"
    write(tmp_path / "logs/app.log", *map(line, range(10)))
    with Running("-c", config, directory=tmp_path) as running:
        running.wait_for(lambda: running.status()["totals"]["documents"]["created"] == 10, "10 documents")
        elasticsearch.ask("PUT", f"/{index}/_settings", {"index.blocks.write": True})
        write(tmp_path / "logs/app.log", *map(line, range(10, 30)))
        running.wait_for(lambda: running.status()["output"]["pending"], "documents under way")

        behind = audited("-c", config, directory=tmp_path, expects=0)
        running.wait_for(lambda: running.status()["output"]["spooled"] == 20, "20 documents on disk")
        on_disk = audited("-c", config, directory=tmp_path, expects=0)
        if ends == "stopped":
            running.stop()
        else:
            running.kill()

    assert {"lines": 30, "present": 10, "waiting": 20} == behind == on_disk
    assert behind == audited("-c", config, directory=tmp_path, expects=1)
    elasticsearch.ask("PUT", f"/{index}/_settings", {"index.blocks.write": None})
    with Running("-c", config, directory=tmp_path) as running:
        running.wait_for(lambda: not running.status()["output"]["spooled"], "an empty spool")
        assert {"lines": 30, "present": 30} == audited("-c", config, directory=tmp_path, expects=0)


def test_audit_tells_every_place_apart(elasticsearch: Remote, index_prefix: str, tmp_path: Path) -> None:
    """Present, reduced, dropped, set aside, on disk, in a closed index, missing: each counted once; then all mended."""
    days = {day: f"{index_prefix}2024.01.{day}" for day in (15, 16, 17, 18)}
    settings = {"index.number_of_replicas": 0}
    conflict = {"properties": {"duration": {"type": "long"}}}
    elasticsearch.ask("PUT", f"/{days[15]}", {"settings": settings, "mappings": conflict})
    elasticsearch.ask("PUT", f"/{days[16]}", {"settings": settings, "mappings": {"dynamic": "strict"}})
    elasticsearch.ask("PUT", f"/{days[17]}", {"settings": {**settings, "index.blocks.write": True}})
    elasticsearch.ask("PUT", f"/{days[18]}", {"settings": settings})
    lines = [line(n, timestamp=f"2024-01-{day}T10:30:45.123Z") for n, day in enumerate([15] * 20 + [16] * 2 + [17] * 5)]
    lines += [line(90, duration="slow"), line(91, url="/health")]
    lines += [line(n, timestamp="2024-01-18T10:30:45.123Z") for n in range(100, 107)]
    write(tmp_path / "logs/app.log", *lines)
    drop = 'drop: [{when: url == "/health"}]\n'
    config = configuration(tmp_path, elasticsearch, index_prefix, more=drop)
    with Running("-c", config, directory=tmp_path) as running:
        running.wait_for(lambda: running.status()["output"]["spooled"] == 5, "5 documents on disk")
        running.wait_for(lambda: not running.status()["output"]["pending"], "nothing under way")
        victim = elasticsearch.search_all(days[15])[3]
        elasticsearch.ask("DELETE", f"/{days[15]}/_doc/{victim['_id']}")
        elasticsearch.ask("POST", f"/{days[18]}/_close")

        found = audited("-c", config, directory=tmp_path, expects=1)

        elasticsearch.ask("POST", f"/{days[18]}/_open?wait_for_active_shards=1")
        elasticsearch.ask("PUT", f"/{days[17]}/_settings", {"index.blocks.write": None})
        elasticsearch.ask("PUT", f"/{days[16]}/_mapping", {"dynamic": True})
        running.wait_for(lambda: not running.status()["output"]["spooled"], "an empty spool", timeout_seconds=90)
        shipper("dead-letter", "retry", "-c", config, directory=tmp_path, expects=3)  # one conflicts as before
        mended = audited("-c", config, directory=tmp_path, expects=1)
        assert running.stop() == 0
    everything = {"lines": 36, "dropped": 1, "reduced": 1, "missing": 1}
    assert {**everything, "present": 20, "set_aside": 2, "waiting": 5, "unknown": 7} == found
    assert {**everything, "present": 34} == mended


def test_audit_of_a_local_output(tmp_path: Path) -> None:
    """Beside the daemon and after it; a line that was taken out of a day file is missing, a doubled one is seen."""
    write(tmp_path / "logs/app.log", *map(line, range(100)))
    with Running("logs", directory=tmp_path) as running:
        running.wait_for(lambda: len(documents_in(tmp_path / "shipped")) == 100, "100 documents")
        assert {"lines": 100, "present": 100} == audited("logs", directory=tmp_path, expects=0)
        running.stop()
    day = tmp_path / "shipped/logs-2024.01.15.ndjson"
    documents = day.read_bytes().splitlines(keepends=True)

    day.write_bytes(b"".join(documents[:60] + documents[61:]))
    assert {"lines": 100, "present": 99, "missing": 1} == audited("logs", directory=tmp_path, expects=1)
    day.write_bytes(b"".join([*documents, documents[5]]))
    assert {"lines": 100, "present": 100, "repeated": 1} == audited("logs", directory=tmp_path, expects=1)


def test_audit_reads_day_files_that_were_compressed(tmp_path: Path) -> None:
    """As a cron job does to those of the days before; one that is damaged is said."""
    write(tmp_path / "logs/app.log", *map(line, range(10)))
    run_to_end("run", "logs", "--once", directory=tmp_path)
    day = tmp_path / "shipped/logs-2024.01.15.ndjson"
    packed = gzip.compress(day.read_bytes())
    archive = day.with_name(f"{day.name}.gz")
    archive.write_bytes(packed)
    assert {"lines": 10, "present": 10} == audited("logs", directory=tmp_path, expects=0)  # both are there for a moment
    day.unlink()
    assert {"lines": 10, "present": 10} == audited("logs", directory=tmp_path, expects=0)
    archive.write_bytes(packed[:-20])
    done = run_to_end("audit", "logs", directory=tmp_path)
    assert done.returncode == 1
    assert f"{archive.name}' cannot be read" in done.stderr


def test_day_files_that_were_compressed_are_known_without_a_ledger(tmp_path: Path) -> None:
    """The ledger is lost, or was never copied: what they hold is not written again."""
    write(tmp_path / "logs/app.log", *map(line, range(10)))
    run_to_end("run", "logs", "--once", directory=tmp_path)
    day = tmp_path / "shipped/logs-2024.01.15.ndjson"
    day.with_name(f"{day.name}.gz").write_bytes(gzip.compress(day.read_bytes()))
    day.unlink()
    (tmp_path / "shipped/.shipper/ledger.db").unlink()

    done = run_to_end("run", "logs", "--once", "--state", "fresh", directory=tmp_path)

    assert (done.returncode, day.exists()) == (0, False), done.stderr
    assert {"lines": 10, "present": 10} == audited("logs", directory=tmp_path, expects=0)


def test_audit_takes_a_link_to_a_day_file_for_no_second_one(tmp_path: Path) -> None:
    """People have a `latest` beside them."""
    write(tmp_path / "logs/app.log", *map(line, range(10)))
    run_to_end("run", "logs", "--once", directory=tmp_path)
    (tmp_path / "shipped/latest.ndjson").symlink_to("logs-2024.01.15.ndjson")

    assert {"lines": 10, "present": 10} == audited("logs", directory=tmp_path, expects=0)


def test_audit_of_a_server_that_does_not_answer(tmp_path: Path, sink: Sink) -> None:
    """Ends with 1 and says why; a mistake in the command with 2."""
    write(tmp_path / "logs/app.log", line(1))
    config = configuration(tmp_path, sink)
    sink.fault(Fault("status", status=403, path="*"))

    assert "not allowed" in shipper("audit", "-c", config, directory=tmp_path, expects=1).stderr
    assert "no file to audit" in shipper("audit", "nowhere/*", "-c", config, directory=tmp_path, expects=2).stderr
    write(tmp_path / "logs/old.zip", "x")
    assert "no file to audit" in shipper("audit", "logs/old.zip", "-c", config, directory=tmp_path, expects=2).stderr
    assert "no source" in shipper("audit", "--source", "x", "-c", config, directory=tmp_path, expects=2).stderr


def test_audit_of_a_server_that_is_down_says_what_it_waits_for(tmp_path: Path) -> None:
    """Every ten seconds, until its patience ends."""
    write(tmp_path / "logs/app.log", line(1))
    command = [*SHIPPER, "audit", "logs", "--output", "http://127.0.0.1:9"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        said = running.stderr.readline()
        running.kill()
    assert said.startswith("audit: the server does not answer: ")


def test_a_place_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    """Of an output in which lines could be missing, and of a state in which dead letters could lie; and what to audit
    is to be said.
    """
    write(tmp_path / "logs/app.log", line(1))

    assert "nothing to audit: give a PATH" in shipper("audit", directory=tmp_path, expects=2).stderr
    done = shipper("audit", "logs", "--output", "nowhere", directory=tmp_path, expects=2)
    assert f"there is no directory '{tmp_path}/nowhere'" in done.stderr
    for command in ("list", "show", "retry"):
        done = shipper("dead-letter", command, "--state", "nowhere", directory=tmp_path, expects=2)
        assert f"there is no state in '{tmp_path}/nowhere'" in done.stderr


def test_audit_of_an_archive_that_is_cut_is_not_good(tmp_path: Path) -> None:
    """Nobody can say of what is behind the cut."""
    write(tmp_path / "logs/app.log", *(line(n, text=str(hash(str(n)))) for n in range(1000)))
    shipper("run", "logs", "--once", directory=tmp_path, expects=0)
    (tmp_path / "logs/app.log.1.gz").write_bytes(gzip.compress((tmp_path / "logs/app.log").read_bytes())[:-2000])
    (tmp_path / "logs/app.log").unlink()

    done = shipper("audit", "logs", directory=tmp_path, expects=1)

    assert "ends too early" in done.stdout
    assert done.stdout.endswith("not every file could be read to its end\n")


# Dead letters

MENDED = {"mappings": {"properties": {"duration": {"type": "keyword"}}}}


def test_a_mended_mapping_gets_every_line_back(any_server: Remote, index_prefix: str, tmp_path: Path) -> None:
    """A number where texts come: reduced documents with dead letters; made anew with a mended type, whole again."""
    index = f"{index_prefix}2024.01.15"
    texts = [line(n, duration=f"slow {n}") for n in range(10, 14)]
    untimed = json.dumps({"duration": "slow too", "url": "/x"}) + "\n"
    any_server.ask("PUT", f"/{index}", {"mappings": {"properties": {"duration": {"type": "long"}}}})
    write(tmp_path / "logs/app.log", *map(line, range(10)), *texts, untimed)
    config = configuration(tmp_path, any_server, index_prefix)
    shipper("run", "-c", config, "--once", directory=tmp_path, expects=3)
    assert {"lines": 15, "present": 15, "reduced": 5} == audited("-c", config, directory=tmp_path, expects=0)
    listed = json.loads(shipper("dead-letter", "list", "-c", config, "--json", directory=tmp_path, expects=0).stdout)
    assert (listed["records"], listed["reduced"], listed["by_index"]) == (5, 5, {index: 5})

    refused = shipper("dead-letter", "retry", "-c", config, "--json", directory=tmp_path, expects=3)
    assert (json.loads(refused.stdout)["refused"], json.loads(refused.stdout)["stay"]) == (5, 5)
    assert any("shipper" in hit["_source"] for hit in any_server.search_all(index))

    any_server.ask("PUT", f"/{index}-mended", MENDED)
    reindex(any_server, any_server.search_all(index), f"{index}-mended")
    any_server.ask("DELETE", f"/{index}")
    any_server.ask("POST", "/_aliases", {"actions": [{"add": {"index": f"{index}-mended", "alias": index}}]})
    done = shipper("dead-letter", "retry", "-c", config, "--json", directory=tmp_path, expects=0)

    assert (json.loads(done.stdout)["replaced"], json.loads(done.stdout)["stay"]) == (5, 0)
    found = {hit["_id"]: hit["_source"] for hit in any_server.search_all(index)}
    assert len(found) == 15
    assert not any("shipper" in source or "mapping_conflict" in source.get("tags", ()) for source in found.values())
    last = found[max(found)]
    assert (last["duration"], last["@timestamp"], last["tags"]) == (
        "slow too",
        "2024-01-15T10:30:45.123Z",
        ["time_failure"],
    )
    assert {"lines": 15, "present": 15} == audited("-c", config, directory=tmp_path, expects=0)
    assert "no dead letters" in shipper("dead-letter", "list", "-c", config, directory=tmp_path, expects=0).stdout
    (path,) = tmp_path.glob("state/dead-letter/retried-*")
    retried = [json.loads(text) for text in path.read_text().splitlines()]
    assert {"replaced"} == {letter["result"] for letter in retried}
    assert (
        "no dead letters to retry"
        in shipper("dead-letter", "retry", "-c", config, directory=tmp_path, expects=0).stdout
    )


def test_a_data_stream(start_server: Callable[..., Server], tmp_path: Path) -> None:
    """Its documents are found, and a reduced one is replaced where it stands."""
    server = start_server("elasticsearch-8")
    mapping = {"mappings": {"properties": {"duration": {"type": "long"}}}}
    template = {"index_patterns": ["app-*"], "priority": 500, "data_stream": {}, "template": mapping}
    server.ask("PUT", "/_index_template/app", template)
    write(tmp_path / "logs/app.log", line(1), line(2, duration="slow"))
    config = configuration(tmp_path, server, "app-", options="allow_data_stream: true, ")
    shipper("run", "-c", config, "--once", directory=tmp_path, expects=3)
    assert {"lines": 2, "present": 2, "reduced": 1} == audited("-c", config, directory=tmp_path, expects=0)

    refused = shipper("dead-letter", "retry", "-c", config, "--json", directory=tmp_path, expects=3)
    (hit,) = (hit for hit in server.search_all("app-*") if "tags" in hit["_source"])
    properties = {"duration": {"type": "long", "ignore_malformed": True}}
    server.ask("PUT", f"/{hit['_index']}/_mapping", {"properties": properties})
    done = shipper("dead-letter", "retry", "-c", config, "--json", directory=tmp_path, expects=0)

    assert json.loads(refused.stdout)["refused_reasons"] == {"document_parsing_exception": 1}
    assert json.loads(done.stdout)["replaced"] == 1
    assert {"lines": 2, "present": 2} == audited("-c", config, directory=tmp_path, expects=0)
    assert {"slow", 1} == {hit["_source"]["duration"] for hit in server.search_all("app-*")}


def test_a_retry_into_a_directory_keeps_inherited_times(tmp_path: Path) -> None:
    """A line that inherits a time of the future is due when that is, and has it then."""
    future = (datetime.now(UTC) + timedelta(days=30)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    write(tmp_path / "logs/app.log", line(1, timestamp=future), '{"id":2}\n')
    shipper("run", "logs", "--once", directory=tmp_path, expects=3)

    waiting = json.loads(shipper("dead-letter", "retry", "--json", directory=tmp_path, expects=3).stdout)
    assert (0, 2, []) == (waiting["created"], waiting["not_due"], documents_in(tmp_path / "shipped"))

    shipper("dead-letter", "retry", "--force", directory=tmp_path, expects=0)
    assert [future, future] == [found["_source"]["@timestamp"] for found in documents_in(tmp_path / "shipped")]


def test_a_retry_into_a_server_keeps_inherited_times(tmp_path: Path, sink: Sink) -> None:
    """Also where nothing of the line was delivered, so that no document could tell its time."""
    write(tmp_path / "logs/app.log", line(1), '{"id":2}\n')
    config = configuration(tmp_path, sink)
    sink.fault(Fault("items", status=400, type="strict_dynamic_mapping_exception", contains='"id"'))
    shipper("run", "-c", config, "--once", directory=tmp_path, expects=3)
    sink.fault()

    shipper("dead-letter", "retry", "-c", config, directory=tmp_path, expects=0)

    (found,) = (hit["_source"] for hit in sink.docs() if "id" in hit["_source"])
    assert ("2024-01-15T10:30:45.123Z", ["time_failure"]) == (found["@timestamp"], found["tags"])


def test_what_was_never_delivered_is_created(any_server: Remote, index_prefix: str, tmp_path: Path) -> None:
    """An index that takes no new field refuses every form; without that rule all lines come, beside the daemon."""
    index = f"{index_prefix}2024.01.15"
    any_server.ask("PUT", f"/{index}", {"mappings": {"dynamic": "strict", "properties": {"n": {"type": "long"}}}})
    config = configuration(tmp_path, any_server, index_prefix)
    write(tmp_path / "logs/app.log", *map(line, range(5)))
    with Running("-c", config, directory=tmp_path) as running:
        running.wait_for(lambda: running.status()["totals"]["documents"]["dead_letter"] == 5, "5 dead letters")
        running.wait_for(lambda: not running.status()["output"]["pending"], "nothing under way")
        assert {"lines": 5, "set_aside": 5} == audited("-c", config, directory=tmp_path, expects=0)
        any_server.ask("PUT", f"/{index}/_mapping", {"dynamic": True})

        shipper("dead-letter", "retry", "-c", config, directory=tmp_path, expects=0)
        assert {"lines": 5, "present": 5} == audited("-c", config, directory=tmp_path, expects=0)

        write(tmp_path / "logs/app.log", line(5))
        running.wait_for(lambda: running.status()["totals"]["documents"]["created"] == 1, "the next line")
        assert running.stop() == 0
    assert any_server.count(index) == 6


def test_an_index_that_is_blocked_is_not_finished(elasticsearch: Remote, index_prefix: str, tmp_path: Path) -> None:
    """Its records stay as they were, and the next retry sends them."""
    index = f"{index_prefix}2024.01.15"
    elasticsearch.ask("PUT", f"/{index}", {"mappings": {"dynamic": "strict"}})
    config = configuration(tmp_path, elasticsearch, index_prefix)
    write(tmp_path / "logs/app.log", line(1))
    shipper("run", "-c", config, "--once", directory=tmp_path, expects=3)
    elasticsearch.ask("PUT", f"/{index}/_mapping", {"dynamic": True})
    elasticsearch.ask("PUT", f"/{index}/_settings", {"index.blocks.write": True})

    blocked = shipper("dead-letter", "retry", "-c", config, "--json", directory=tmp_path, expects=1)
    elasticsearch.ask("PUT", f"/{index}/_settings", {"index.blocks.write": None})

    assert json.loads(blocked.stdout)["not_delivered"] == 1
    shown = json.loads(shipper("dead-letter", "show", "-c", config, "--json", directory=tmp_path, expects=0).stdout)
    assert (shown["reason"], shown["retried"]) == ("strict_dynamic_mapping_exception", "")
    shipper("dead-letter", "retry", "-c", config, directory=tmp_path, expects=0)


def test_lines_of_the_future_into_a_local_output(tmp_path: Path) -> None:
    """They wait for their time; forced, they stand in their day file once, however often it is tried."""
    future = (datetime.now(UTC) + timedelta(days=30)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    write(tmp_path / "logs/app.log", line(1), line(2, timestamp=future), line(3, timestamp=future))
    shipper("run", "logs", "--once", directory=tmp_path, expects=3)
    assert {"lines": 3, "present": 1, "set_aside": 2} == audited("logs", directory=tmp_path, expects=0)
    letters = tmp_path / "shipped/.shipper/dead-letter"
    before = {path.name: path.read_bytes() for path in letters.glob("2*")}

    waiting = shipper("dead-letter", "retry", directory=tmp_path, expects=3)
    forced = shipper("dead-letter", "retry", "--force", directory=tmp_path, expects=0)

    assert "not due yet" in waiting.stdout
    assert "created" in forced.stdout
    assert {"lines": 3, "present": 3} == audited("logs", directory=tmp_path, expects=0)
    for name, content in before.items():  # as after a crash between delivering and moving
        (letters / name).write_bytes(content)
    assert "already there" in shipper("dead-letter", "retry", "--force", directory=tmp_path, expects=0).stdout
    ids = [document["_id"] for document in documents_in(tmp_path / "shipped")]
    assert len(ids) == len(set(ids)) == 3
    shipper("run", "logs", "--once", directory=tmp_path, expects=0)
    assert len(documents_in(tmp_path / "shipped")) == 3


def test_a_local_output_that_is_in_use_is_left_alone(tmp_path: Path) -> None:
    """A directory has one writer: the retry names it, and changes nothing."""
    write(tmp_path / "logs/app.log", line(1, timestamp="2098-01-01T00:00:00.000Z"))
    with Running("logs", directory=tmp_path) as running:
        running.wait_for(lambda: running.status()["totals"]["documents"]["dead_letter"] == 1, "a dead letter")
        running.wait_for(lambda: list(tmp_path.glob("shipped/.shipper/dead-letter/2*")), "a record")

        done = shipper("dead-letter", "retry", "--force", directory=tmp_path, expects=2)

        assert f"process {running.pid}" in done.stderr
        running.stop()
    assert "1 dead letter" in shipper("dead-letter", "list", directory=tmp_path, expects=0).stdout


def test_show_selects_and_limits(tmp_path: Path) -> None:
    """By reason and id; what is not there is exit code 1."""
    write(tmp_path / "logs/app.log", *(line(n, timestamp="2098-01-01T00:00:00.000Z") for n in range(30)))
    shipper("run", "logs", "--once", directory=tmp_path, expects=3)

    some = shipper("dead-letter", "show", "--limit", "2", "--json", directory=tmp_path, expects=0).stdout.splitlines()
    one = json.loads(some[1])
    by_id = shipper("dead-letter", "show", "--id", one["_id"], directory=tmp_path, expects=0).stdout

    assert len(some) == 2
    assert json.loads(one["line"])["duration"] == 1
    assert one["_id"] in by_id
    assert "time_in_future" in by_id
    shipper("dead-letter", "show", "--reason", "other", directory=tmp_path, expects=1)


def test_each_command_has_help_with_an_example(tmp_path: Path) -> None:
    """And says its exit codes."""
    for command in (
        ("status",),
        ("audit",),
        ("dead-letter",),
        *(("dead-letter", c) for c in ("list", "show", "retry")),
    ):
        text = shipper(*command, "--help", directory=tmp_path, expects=0).stdout

        assert f"shipper {' '.join(command)} " in text.split("Example", 1)[1], command
        assert command == ("dead-letter",) or "Exit codes" in text, command
