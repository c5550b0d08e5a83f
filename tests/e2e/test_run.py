"""`shipper run` as it is installed: files in, documents and metrics out."""

from __future__ import annotations

import gzip
import json
import os
import signal
import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest
from command import Running, documents_in, run_to_end
from harness.sink import Fault, Sink


def line(number: int, *, day: int = 15, **fields: object) -> str:
    request = {"timestamp": f"2024-01-{day:02d}T10:30:45.123Z", "method": "GET", "url": f"/api/patients/{number}"}
    return json.dumps({**request, "statusCode": 200, "duration": number, **fields}) + "\n"


def write(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.writelines(lines)


def test_once_without_configuration(tmp_path: Path) -> None:
    """A directory's lines land in ./shipped, one file a day, and the command ends with 0."""
    write(tmp_path / "logs/app.log", line(1), line(2, day=16))

    done = run_to_end("run", "logs", "--once", directory=tmp_path)

    assert done.returncode == 0, done.stderr
    assert ["logs-2024.01.15.ndjson", "logs-2024.01.16.ndjson"] == sorted(
        path.name for path in (tmp_path / "shipped").glob("*.ndjson")
    )
    first = documents_in(tmp_path / "shipped")[0]["_source"]
    assert first["@timestamp"] == "2024-01-15T10:30:45.123Z"
    assert first["log"] == {"file": {"path": str(tmp_path / "logs/app.log")}, "offset": 0}


def test_once_again_with_a_fresh_state_adds_nothing(tmp_path: Path) -> None:
    """The local output's own ledger says what is there, whatever the state directory; so do plain file and .gz."""
    write(tmp_path / "logs/app.log", *map(line, range(500)))
    run_to_end("run", "logs", "--once", directory=tmp_path)
    before = documents_in(tmp_path / "shipped")
    text = (tmp_path / "logs/app.log").read_bytes()
    (tmp_path / "logs/app.log").unlink()
    (tmp_path / "logs/app.log.1.gz").write_bytes(gzip.compress(text))

    done = run_to_end("run", "logs", "--once", "--state", "fresh", directory=tmp_path)

    assert done.returncode == 0, done.stderr
    assert len(before) == 500
    assert before == documents_in(tmp_path / "shipped")


def test_day_files_without_their_ledger(tmp_path: Path) -> None:
    """They were copied without what is hidden: what they hold is not written again, and they stay as they are."""
    write(tmp_path / "logs/app.log", *map(line, range(500)))
    run_to_end("run", "logs", "--once", directory=tmp_path)
    day = tmp_path / "shipped/logs-2024.01.15.ndjson"
    (tmp_path / "copied").mkdir()
    copy = tmp_path / "copied" / day.name
    copy.write_bytes(day.read_bytes())
    write(tmp_path / "logs/app.log", line(500))

    done = run_to_end("run", "logs", "--once", "--output", "copied", "--state", "fresh", directory=tmp_path)

    assert done.returncode == 0, done.stderr
    assert "has day files and no ledger" in done.stderr
    assert day.read_bytes() == copy.read_bytes()
    assert [500] == [
        hit["_source"]["duration"] for hit in documents_in(tmp_path / "copied") if hit["_source"]["duration"] == 500
    ]
    assert len(documents_in(tmp_path / "copied")) == 501
    again = run_to_end("run", "logs", "--once", "--output", "copied", "--state", "fresher", directory=tmp_path)
    assert again.returncode == 0, again.stderr
    assert len(documents_in(tmp_path / "copied")) == 501


def test_a_server_that_is_away_at_the_start_is_seen_as_lag(tmp_path: Path) -> None:
    """Of what was there before the daemon as well: in bytes and in seconds, of a plain file and of an archive."""
    text = "".join(map(line, range(500)))
    write(tmp_path / "plain.log", text)
    (tmp_path / "packed.log.gz").write_bytes(gzip.compress(text.encode()))
    for name in ("plain.log", "packed.log.gz"):
        with Running(name, "--output", "http://127.0.0.1:1", "--state", name[:-4], directory=tmp_path) as shipper:
            shipper.wait_for(lambda: shipper.metric("shipper_lag_seconds", cursor="shipped") > 1, "a lag in seconds")
            assert shipper.metric("shipper_lag_bytes", cursor="shipped") == len(text)
            assert shipper.metric("shipper_lag_seconds", cursor="observed") == 0


def test_once_sends_full_requests(tmp_path: Path, sink: Sink) -> None:
    """What is read waits for company until everything was read: not a request for each piece of a file."""
    write(tmp_path / "logs/app.log", *(line(number, padding="x" * 400) for number in range(8_000)))

    output = f"{{elasticsearch: {{hosts: [{sink.url}], bulk_seconds: 60}}}}"
    (tmp_path / "shipper.yml").write_text(f"sources: [{{name: app, paths: [logs/*.log]}}]\noutput: {output}\n")

    done = run_to_end("run", "-c", "shipper.yml", "--once", directory=tmp_path)

    assert done.returncode == 0, done.stderr
    stats = sink.stats()
    assert stats["documents"] == 8_000
    assert stats["bulk_requests"] <= stats["body_bytes"] // (1 << 20) + 1  # of 2 MiB each, as far as batches fit


def test_once_says_what_it_did(tmp_path: Path) -> None:
    """Whoever started it sees how many lines were read, and what became of them."""
    write(tmp_path / "logs/app.log", *map(line, range(3)))

    done = run_to_end("run", "logs", "--once", directory=tmp_path)

    assert "read 3 lines; documents: 3 created, 0 duplicate" in done.stderr


def test_once_is_not_finished_while_something_cannot_be_read(tmp_path: Path) -> None:
    """A name without a wildcard of which there is no file, and a file that is none: the rest is shipped, then 1."""
    write(tmp_path / "logs/app.log", line(1))
    os.mkfifo(tmp_path / "pipe.log")

    done = run_to_end("run", "logs", "absent.log", "pipe.log", "--once", directory=tmp_path)

    assert done.returncode == 1, done.stderr
    assert len(documents_in(tmp_path / "shipped")) == 1
    assert f"not finished: cannot read {tmp_path}/absent.log: No such file or directory; " in done.stderr
    assert f"{tmp_path}/pipe.log: not a regular file" in done.stderr


def test_a_pattern_that_matches_nothing_is_no_failure(tmp_path: Path) -> None:
    """A glob asks for what there is, and there may be nothing yet."""
    done = run_to_end("run", "logs-*.log", "--once", directory=tmp_path)

    assert done.returncode == 0, done.stderr


def test_status_and_page_show_what_the_log_said_last(tmp_path: Path) -> None:
    """Warnings are where somebody looks; the time of the start is one that can be read."""
    write(tmp_path / "logs/app.log", line(1))
    with Running("logs", "absent.log", directory=tmp_path) as shipper:
        status = shipper.status()
        page = shipper.get("/")[1]

    assert ["WARNING"] == [error["level"] for error in status["errors"]]
    assert "absent.log': No such file or directory" in status["errors"][0]["message"]
    assert "absent.log" in page
    assert datetime.fromisoformat(status["started"]) <= datetime.now(UTC)


def test_follows_counts_and_serves(tmp_path: Path) -> None:
    """Lines that come later are shipped and counted; what lay there at the very first start is shipped, not counted."""
    write(tmp_path / "logs/app.log", *map(line, range(100)))
    with Running("logs", directory=tmp_path) as shipper:
        write(tmp_path / "logs/app.log", *map(line, range(100, 130)))
        write(tmp_path / "logs/other.log", *map(line, range(200, 210)))

        shipper.wait_for(lambda: shipper.metric("http_requests_total") == 40, "40 requests counted")
        shipper.wait_for(lambda: len(documents_in(tmp_path / "shipped")) == 140, "140 documents")

        assert shipper.get("/healthz")[0] == 200
        assert "<html" in shipper.get("/")[1]
        assert shipper.status()["totals"]["documents"]["created"] == 140
        assert shipper.metric("shipper_documents_total", source="default", result="created") == 140
        assert shipper.metric("http_request_duration_seconds_count", path="/api/patients/:id", status="200") == 40
        assert shipper.stop() == 0
    ids = [document["_id"] for document in documents_in(tmp_path / "shipped")]
    assert len(set(ids)) == 140


def test_a_kill_doubles_and_loses_nothing(tmp_path: Path) -> None:
    """After kill -9 in the middle the next process goes on where the committed one was; counters do not go back."""
    write(tmp_path / "logs/app.log", line(0))
    with Running("logs", directory=tmp_path) as shipper:
        for start in range(1, 3001, 300):
            write(tmp_path / "logs/app.log", *map(line, range(start, start + 300)))
        shipper.wait_for(lambda: shipper.metric("http_requests_total") > 0, "something counted")
        shipper.kill()
    write(tmp_path / "logs/app.log", *map(line, range(3001, 3101)))

    with Running("logs", directory=tmp_path) as shipper:
        shipper.wait_for(lambda: shipper.metric("http_requests_total") >= 3100, "all counted")
        shipper.wait_for(lambda: len(documents_in(tmp_path / "shipped")) >= 3101, "all shipped")
        assert shipper.metric("http_requests_total") == 3100
        shipper.stop()
    ids = [document["_id"] for document in documents_in(tmp_path / "shipped")]
    assert len(ids) == len(set(ids)) == 3101


def test_reload_takes_the_new_configuration(tmp_path: Path) -> None:
    """SIGHUP swaps the configuration in; a bad one leaves the old running and says so in a gauge."""
    config = tmp_path / "shipper.yml"
    text = "state: state\nsources: [{name: a, paths: [logs/*.log]}]\noutput: {local: {directory: out}}\n"
    config.write_text(text)
    write(tmp_path / "logs/app.log", line(1))
    with Running("-c", config, directory=tmp_path) as shipper:
        config.write_text(text + "tags: {found: 'duration == 7'}\n")
        shipper.signal(signal.SIGHUP)
        shipper.wait_for(lambda: "configuration reloaded" in shipper.log, "the reload")
        write(tmp_path / "logs/app.log", line(7))
        shipper.wait_for(lambda: len(documents_in(tmp_path / "out")) == 2, "the new line")
        assert [None, ["found"]] == [document["_source"].get("tags") for document in documents_in(tmp_path / "out")]

        config.write_text(text + "tagz: {}\nhosst: x\n")
        shipper.signal(signal.SIGHUP)
        shipper.wait_for(lambda: shipper.metric("shipper_config_last_reload_successful") == 0, "the refusal")
        write(tmp_path / "logs/app.log", line(7, method="PUT"))
        shipper.wait_for(lambda: len(documents_in(tmp_path / "out")) == 3, "the old one at work")
        for mistake in ("4: tagz: ", "5: hosst: "):
            assert f"ERROR the configuration was not reloaded: {config}:{mistake}" in shipper.log
        shipper.wait_for(lambda: shipper.metric("http_requests_total") == 2, "both that came after the first start")
        assert shipper.stop() == 0


def test_reload_while_the_output_cannot_be_opened(tmp_path: Path) -> None:
    """Neither configuration can run then: the former one is tried again until it can, and the process does not end."""
    config = tmp_path / "shipper.yml"
    text = "state: state\nsources: [{name: a, paths: [logs/*.log]}]\noutput: {local: {directory: out}}\n"
    config.write_text(text)
    write(tmp_path / "logs/app.log", line(1))
    with Running("-c", config, directory=tmp_path) as shipper:
        shipper.wait_for(lambda: len(documents_in(tmp_path / "out")) == 1, "the first line")
        away = (tmp_path / "out").rename(tmp_path / "away")
        (tmp_path / "out").write_text("a disk that is not mounted")
        shipper.signal(signal.SIGHUP)
        shipper.wait_for(lambda: "the former configuration cannot go on yet" in shipper.log, "the trouble")
        write(tmp_path / "logs/app.log", line(2))
        assert shipper.get("/healthz")[0] == 200
        assert shipper.get("/metrics")[0] == 200
        (tmp_path / "out").unlink()
        away.rename(tmp_path / "out")
        shipper.wait_for(lambda: len(documents_in(tmp_path / "out")) == 2, "the second line")
        shipper.wait_for(lambda: shipper.metric("http_requests_total") == 1, "what came after the first start")

        away = (tmp_path / "out").rename(tmp_path / "away")
        (tmp_path / "out").write_text("a disk that is not mounted")
        shipper.signal(signal.SIGHUP)
        shipper.wait_for(lambda: shipper.log.count("the former configuration cannot go on yet") == 2, "it once more")
        config.write_text(text.replace("directory: out", "directory: away"))
        write(tmp_path / "logs/app.log", line(3))
        shipper.signal(signal.SIGHUP)
        shipper.wait_for(lambda: len(documents_in(away)) == 3, "the third line, where another configuration has it")
        assert shipper.stop() == 0


def test_a_stop_while_the_output_cannot_be_opened(tmp_path: Path) -> None:
    """What waits for its output ends when it is told to."""
    config = tmp_path / "shipper.yml"
    config.write_text("state: state\nsources: [{name: a, paths: [logs/*.log]}]\noutput: {local: {directory: out}}\n")
    write(tmp_path / "logs/app.log", line(1))
    with Running("-c", config, directory=tmp_path) as shipper:
        shipper.wait_for(lambda: len(documents_in(tmp_path / "out")) == 1, "the first line")
        (tmp_path / "out").rename(tmp_path / "away")
        (tmp_path / "out").write_text("a disk that is not mounted")
        shipper.signal(signal.SIGHUP)
        shipper.wait_for(lambda: "the former configuration cannot go on yet" in shipper.log, "the trouble")
        assert shipper.stop() == 0


def test_reload_to_another_server_leaves_no_gap(tmp_path: Path) -> None:
    """What the first server has stays there; what it has not taken goes to the second one, like all that comes."""
    config, log = tmp_path / "shipper.yml", tmp_path / "logs/app.log"

    def configure(sink: Sink) -> None:
        output = f"{{elasticsearch: {{hosts: ['{sink.url}'], request_seconds: 2}}}}"
        config.write_text(
            "state: state\nsources: [{name: a, paths: [logs/*.log]}]\n"
            f"output: {output}\nmetrics: {{start: beginning}}\n"
        )

    with Sink() as first, Sink() as second:
        configure(first)
        write(log, line(1))
        with Running("-c", config, directory=tmp_path) as shipper:
            shipper.wait_for(lambda: shipper.metric("shipper_documents_total", result="created") == 1, "the first line")
            first.fault(Fault("status", status=503))
            write(log, line(2))
            shipper.wait_for(lambda: first.fired()[0] >= 1, "a refusal")
            configure(second)
            shipper.signal(signal.SIGHUP)
            write(log, line(3))
            shipper.wait_for(lambda: len(second.docs()) == 2, "what is left and what came")
            shipper.wait_for(lambda: shipper.metric("http_requests_total") == 3, "each counted once")
            assert shipper.stop() == 0
        assert f"{second.url} gets what comes from now on" in shipper.log
        durations = [sorted(hit["_source"]["duration"] for hit in sink.docs()) for sink in (first, second)]
    assert durations == [[1], [2, 3]]


@pytest.mark.parametrize("name", ["renamed", "removed"])
def test_reload_without_the_source_of_a_deleted_file(tmp_path: Path, name: str) -> None:
    """Its lines wait for the server. They arrive where its source has another name; where it has none, it is said."""
    config, log = tmp_path / "shipper.yml", tmp_path / "logs/app.log"

    def configure(source: str, pattern: str) -> None:
        output = f"{{elasticsearch: {{hosts: ['{sink.url}'], request_seconds: 1}}}}"
        config.write_text(f"state: state\nsources: [{{name: {source}, paths: [{pattern}]}}]\noutput: {output}\n")

    with Sink() as sink:
        configure("a", "logs/*.log")
        write(log, line(1))
        with Running("-c", config, directory=tmp_path) as shipper:
            shipper.wait_for(lambda: shipper.metric("shipper_documents_total", result="created") == 1, "the first line")
            sink.down()
            write(log, *map(line, range(2, 12)))
            shipper.wait_for(lambda: shipper.metric("shipper_lines_total") == 11, "all are read")
            log.unlink()
            configure("b", "logs/*.log" if name == "renamed" else "elsewhere/*.log")
            shipper.signal(signal.SIGHUP)
            shipper.wait_for(lambda: "configuration reloaded" in shipper.log, "the reload")
            sink.up()
            if name == "renamed":
                shipper.wait_for(lambda: len(sink.docs()) == 11, "all lines")
            else:
                shipper.wait_for(lambda: f"{str(log)!r} was deleted, and no source" in shipper.log, "a word")
            assert shipper.stop() == 0


def test_reload_to_another_directory_says_what_it_gets(tmp_path: Path) -> None:
    """A directory has what its own ledger says: it gets all that the files still hold, and nothing is counted again."""
    config, log = tmp_path / "shipper.yml", tmp_path / "logs/app.log"

    def configure(directory: str) -> None:
        config.write_text(
            "state: state\nsources: [{name: a, paths: [logs/*.log]}]\n"
            f"output: {{local: {{directory: {directory}}}}}\nmetrics: {{start: beginning}}\n"
        )

    def durations(directory: str) -> list[int]:
        return sorted(document["_source"]["duration"] for document in documents_in(tmp_path / directory))

    configure("first")
    write(log, line(1))
    for number in range(30):
        write(tmp_path / f"logs/more-{number}x.log", line(10 + number))
    with Running("-c", config, directory=tmp_path) as shipper:
        shipper.wait_for(lambda: len(documents_in(tmp_path / "first")) == 31, "the first lines")
        configure("second")
        shipper.signal(signal.SIGHUP)
        write(log, line(2))
        shipper.wait_for(lambda: len(documents_in(tmp_path / "second")) == 32, "all that the files hold")
        shipper.wait_for(lambda: shipper.metric("http_requests_total") == 32, "each counted once")
        assert shipper.stop() == 0
    assert [1, *range(10, 40)] == durations("first")
    assert [1, 2, *range(10, 40)] == durations("second")
    told = [text for text in shipper.log.splitlines() if "WARNING" in text]
    assert 2 == len(told)
    assert f"gets all that the files still hold, also what {str(tmp_path / 'first')!r} has" in told[0]
    assert "31 files: the output lacks a part of what was shipped of them; it is shipped again" in told[1]


def test_what_cannot_be_read_is_seen_and_tried_again(tmp_path: Path) -> None:
    """A directory that is not there: a warning once, a gauge, and its files as soon as it is."""
    with Running("logs/*.log", directory=tmp_path) as shipper:
        assert shipper.metric("shipper_files", state="unreadable") == 1
        assert [f"{tmp_path}/logs"] == [one["path"] for one in shipper.status()["unreadable"]]
        write(tmp_path / "logs/app.log", line(1))
        shipper.wait_for(lambda: shipper.metric("http_requests_total") == 1, "the line")
        assert shipper.metric("shipper_files", state="unreadable") == 0
        assert shipper.status()["unreadable"] == []
        assert shipper.metric("shipper_files", state="followed") == 1
        assert shipper.stop() == 0
    assert shipper.log.count("cannot look at") == 1


def test_drop_and_dead_letter(tmp_path: Path) -> None:
    """A dropped line is not shipped, a line from the future is set aside and makes --once end with 3."""
    config = tmp_path / "shipper.yml"
    config.write_text(
        "state: state\nsources: [{name: a, paths: [app.log]}]\noutput: {local: {directory: out}}\n"
        'drop: [{when: url == "/health"}]\n'
    )
    write(tmp_path / "app.log", line(1), line(2, url="/health"), line(3, timestamp="2091-01-01T00:00:00Z"))

    done = run_to_end("run", "-c", config, "--once", directory=tmp_path)

    assert done.returncode == 3, done.stderr
    why = f"shipper: 1 dead letter; to see why: shipper dead-letter list --state {tmp_path}/state"
    assert why == done.stderr.splitlines()[-1]
    assert len(documents_in(tmp_path / "out")) == 1
    folder = tmp_path / "state/dead-letter"
    letters = [json.loads(text) for path in folder.iterdir() for text in path.read_text().splitlines()]
    assert [("time_in_future", "a")] == [(letter["reason"], letter["source"]) for letter in letters]


def test_credentials_leave_by_no_door(tmp_path: Path) -> None:
    """By default they are masked in documents, labels, tags and dead letters; ids tell nothing of them."""
    config = tmp_path / "shipper.yml"
    (tmp_path / "rules.yml").write_text(
        "rules: [{name: seen_total, type: counter, help: Seen., labels: {secret: password, path: route(url)}}]\n"
    )
    config.write_text(
        "state: state\nsources: [{name: a, paths: [app.log]}]\noutput: {local: {directory: out}}\n"
        "metrics: {rules: [rules.yml]}\n"
    )
    write(tmp_path / "app.log", line(1))
    with Running("-c", config, directory=tmp_path) as shipper:
        write(tmp_path / "app.log", line(2, password="hunter2"), line(3, url="/x?token=hunter2"))
        write(tmp_path / "app.log", "login failed: password=hunter2\n")
        write(tmp_path / "app.log", line(4, timestamp="2091-01-01T00:00:00Z", headers={"Authorization": "hunter2"}))
        shipper.wait_for(lambda: shipper.metric("shipper_redactions_total") == 4, "four redactions")
        shipper.wait_for(lambda: len(documents_in(tmp_path / "out")) == 4, "four documents")
        pages = [shipper.get(path)[1] for path in ("/", "/metrics", "/status.json")]
        assert shipper.stop() == 0

    texts = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.name != "app.log"]
    assert not any(b"hunter2" in text for text in texts)
    assert "hunter2" not in "".join(pages) + shipper.log


def test_usage_errors_end_with_2(tmp_path: Path) -> None:
    """What cannot be used is named, and what to do."""
    write(tmp_path / "app.log", line(1))
    (tmp_path / "bad.yml").write_text("sources: [{name: a, pathz: [x]}]\noutputt: {}\n")
    for arguments, words in {
        ("run",): "nothing to follow",
        ("run", "-c", "none.yml"): "none.yml",
        ("run", "-c", "bad.yml"): "pathz",
        ("run", "app.log", "--output", "ftp://x"): "http",
        ("run", "app.log", "--listen", "nowhere"): "listen",
        ("nonsense",): "No such command",
    }.items():
        done = run_to_end(*arguments, directory=tmp_path)

        assert done.returncode == 2, (arguments, done)
        assert words in done.stderr
        assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    """Exit code 2, with the address."""
    write(tmp_path / "app.log", line(1))
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"

        done = run_to_end("run", "app.log", "--listen", address, directory=tmp_path)

    assert done.returncode == 2
    assert address in done.stderr


def test_a_second_daemon_is_refused(tmp_path: Path) -> None:
    """One state, one process: exit code 2 naming the other's pid; so for one output directory."""
    write(tmp_path / "app.log", line(1))
    with Running("app.log", directory=tmp_path) as shipper:
        for more in ((), ("--state", "another")):
            done = run_to_end("run", "app.log", "--once", *more, directory=tmp_path)

            assert done.returncode == 2
            assert str(shipper.pid) in done.stderr


def test_a_server_that_is_down_stops_no_metrics(tmp_path: Path, sink: Sink) -> None:
    """It is waited for and said once; lines are counted meanwhile, and shipped when it is there."""
    sink.down()
    write(tmp_path / "app.log", line(0))
    with Running("app.log", "--output", sink.url, directory=tmp_path) as shipper:
        write(tmp_path / "app.log", *map(line, range(1, 101)))
        shipper.wait_for(lambda: shipper.metric("http_requests_total") == 100, "100 requests counted")
        assert shipper.get("/readyz")[0] == 200
        assert shipper.metric("shipper_output_up") == 0
        sink.up()
        shipper.wait_for(lambda: len(sink.docs()) == 101, "101 documents")
        shipper.wait_for(lambda: shipper.metric("shipper_output_up") == 1, "the output's return")
        assert shipper.stop() == 0
    assert shipper.log.count("WARNING") == 1, shipper.log


def test_once_gives_up_on_a_server_that_refuses(tmp_path: Path, sink: Sink) -> None:
    """Nothing but 401 for 15 seconds ends --once with 1 and the command to go on."""
    sink.fault(Fault("status", status=401))
    write(tmp_path / "app.log", line(1))

    done = run_to_end("run", "app.log", "--once", "--output", sink.url, directory=tmp_path)

    assert done.returncode == 1
    assert "to go on where it stopped: shipper run app.log --once" in done.stderr
    assert "401" in done.stderr


def test_a_daemon_without_tls_has_no_openssl_in_memory(tmp_path: Path) -> None:
    """Neither starting, nor shipping into files, nor a scrape loads it; it is 6 MB of a sidecar."""
    write(tmp_path / "logs/app.log", line(1))
    with Running("logs", directory=tmp_path) as running:
        running.wait_for(lambda: documents_in(tmp_path / "shipped"), "the document")
        assert running.get("/metrics")[0] == 200
        loaded = Path(f"/proc/{running.pid}/maps").read_text()
    assert "libcrypto" not in loaded
    assert "_ssl." not in loaded


def test_nothing_is_served_without_an_address(tmp_path: Path) -> None:
    """`listen: ""`: it ships, and ends in order; the other commands ask it over its socket."""
    write(tmp_path / "logs/app.log", line(1))
    (tmp_path / "shipper.yml").write_text(
        'state: state\nsources: [{name: a, paths: [logs/]}]\noutput: {local: {directory: out}}\nmetrics: {listen: ""}\n'
    )
    with Running("-c", "shipper.yml", "--listen", "", directory=tmp_path, is_ready=False) as shipper:
        shipper.wait_for(lambda: documents_in(tmp_path / "out"), "the document")
        status = run_to_end("status", "--state", "state", directory=tmp_path)
        assert "serving" not in shipper.log
        assert 0 == shipper.stop()
    assert 0 == status.returncode, status.stderr


@pytest.mark.parametrize("suffix", [".bz2", ".xz", ".tar", ".zip", ".swp"])
def test_a_named_file_that_is_no_log_is_not_read_as_text(tmp_path: Path, suffix: str) -> None:
    """As a shell names it for an unquoted pattern: what it holds is no text, and that it was left out is said."""
    write(tmp_path / "app.log", line(1))
    (tmp_path / f"app.log{suffix}").write_bytes(b"BZh91AY&SY\n\x00\n" * 9)

    done = run_to_end("run", "app.log", f"app.log{suffix}", "--once", directory=tmp_path)

    assert (1, 1) == (done.returncode, len(documents_in(tmp_path / "shipped"))), done.stderr
    assert f"app.log{suffix}: an archive or a temporary file" in done.stderr
    assert ("shipper replay" in done.stderr.partition("not finished")[2]) == (suffix in {".bz2", ".xz", ".tar"})


def test_what_becomes_of_a_line_is_counted_once_it_has_become_so(tmp_path: Path) -> None:
    """With the output down nothing was dropped or set aside yet; a reload begins anew, and does not count again."""
    write(tmp_path / "logs/app.log", line(1), line(2, url="/health"), line(3).replace("2024", "2099"))
    configuration = tmp_path / "shipper.yml"
    text = (
        "state: state\nsources: [{name: a, paths: [logs/]}]\ndrop: [{when: url == '/health'}]\ndrain_seconds: 0\n"
        "output: {elasticsearch: {hosts: ['http://127.0.0.1:1']}}\n"
    )
    configuration.write_text(text)
    with Running("-c", configuration, directory=tmp_path) as shipper:
        for reloads in range(1, 3):
            shipper.wait_for(lambda: shipper.metric("shipper_lines_total") == 3, "all lines")
            assert 0 == shipper.metric("shipper_documents_total")
            configuration.write_text(f"{text}\n# {reloads}\n")
            shipper.signal(signal.SIGHUP)
            shipper.wait_for(lambda n=reloads: shipper.log.count("configuration reloaded") == n, "the reload")
        with Sink() as sink:
            configuration.write_text(text.replace("http://127.0.0.1:1", sink.url))
            shipper.signal(signal.SIGHUP)
            shipper.wait_for(lambda: shipper.metric("shipper_documents_total") == 3, "all lines")
            results = ("created", "dropped", "dead_letter")
            counts = [shipper.metric("shipper_documents_total", result=result) for result in results]
            assert [1, 1, 1] == counts


def test_counters_of_a_source_begin_at_zero(tmp_path: Path) -> None:
    """Else the first event is a series' first sample, and no increase for whoever watches it."""
    write(tmp_path / "logs/app.log", line(1))
    with Running("logs", directory=tmp_path) as shipper:
        text = shipper.get("/metrics")[1]
    for name in (
        'shipper_parse_failures_total{source="default",reason="not_json"} 0',
        'shipper_unread_lost_bytes_total{source="default",reason="deleted"} 0',
        'shipper_documents_total{source="default",result="dead_letter"} 0',
    ):
        assert name in text, text


def test_a_pattern_that_matches_nothing_is_told(tmp_path: Path) -> None:
    """Once, for it may be a mistake; a file that appears later is followed all the same."""
    (tmp_path / "logs").mkdir()
    with Running("logs/*.log", directory=tmp_path) as shipper:
        shipper.wait_for(lambda: "logs/*.log' now; what appears later is followed" in shipper.log, "the warning")
        write(tmp_path / "logs/app.log", line(1))
        shipper.wait_for(lambda: documents_in(tmp_path / "shipped"), "the document")
    assert 1 == shipper.log.count("no file matches")


def test_once_names_the_files_whose_last_line_it_left_alone(tmp_path: Path) -> None:
    """A complete object without a newline is read, what may go on is not, and that is no failure."""
    write(tmp_path / "logs/whole.log", line(1), line(2)[:-1])
    write(tmp_path / "logs/open.log", line(3), "plain text")
    write(tmp_path / "logs/only.log", "plain text")

    done = run_to_end("run", "logs", "--once", directory=tmp_path)

    assert (0, 3) == (done.returncode, len(documents_in(tmp_path / "shipped"))), done.stderr
    left_alone = done.stderr.partition("left alone")[2].splitlines()[0]
    assert [True, True, False] == [f"{name}.log" in left_alone for name in ("open", "only", "whole")]
