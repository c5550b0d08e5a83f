"""`shipper replay` as it is typed: every kind of archive, choice, interruption, shards, and what it tells."""

from __future__ import annotations

import bz2
import fcntl
import gzip
import io
import json
import lzma
import os
import re
import signal
import subprocess
import tarfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import zstandard
from command import SHIPPER, Running, documents_in, run_to_end
from harness.process import wait_until
from harness.sink import Fault, Sink
from replays import BEGIN, done_of, ids, line_of, lines_of, numbers, replay, write_days

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda text: text,
    ".gz": gzip.compress,
    ".zst": zstandard.ZstdCompressor().compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}


def tar_of(members: dict[str, bytes], *, compression: str = "") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=f"w:{compression}") as archive:  # type: ignore[call-overload]
        for name, text in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text))
    return stream.getvalue()


@pytest.mark.parametrize("suffix", COMPRESS)
def test_an_archive_has_the_ids_of_the_live_file(tmp_path: Path, sink: Sink, suffix: str) -> None:
    """What the daemon shipped from the plain file is there already when its archive is replayed elsewhere."""
    write_days(tmp_path / "logs", days=1, lines=500)
    run_to_end("run", "logs/", "--once", "--output", sink.url, directory=tmp_path)
    before = ids(sink)
    plain = next((tmp_path / "logs").iterdir())
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / f"{plain.name}{suffix}").write_bytes(COMPRESS[suffix](plain.read_bytes()))

    done = replay("elsewhere", "--output", sink.url, "--state", "other", directory=tmp_path)

    assert done.code == 0, done.errors
    assert len(before) == 500
    assert ids(sink) == before
    assert (done.totals["created"], done.totals["duplicate"], done.totals["lines"]) == (0, 500, 500)


@pytest.mark.parametrize("compression", ["", "gz", "xz"])
def test_a_tar_archive_is_the_logs_in_it(tmp_path: Path, sink: Sink, compression: str) -> None:
    """Members that are compressed too are read; what is no log, or repeats another, is named."""
    lines = write_days(tmp_path / "logs", days=3, lines=300)
    run_to_end("run", "logs/", "--once", "--output", sink.url, directory=tmp_path)
    before = ids(sink)
    members = {f"var/log/{path.name}": path.read_bytes() for path in sorted((tmp_path / "logs").iterdir())}
    zipped = next(iter(members))
    members[f"{zipped}.gz"] = gzip.compress(members.pop(zipped))
    members |= {"var/log/errors-2024-01-15.log": b'{"level":"error"}\n', "notes.txt": b"text"}
    (tmp_path / "backup.tar").write_bytes(tar_of(members, compression=compression))

    done = replay("backup.tar", "--output", sink.url, "--state", "other", "--workers", "2", directory=tmp_path)

    assert done.code == 0, done.errors
    assert ids(sink) == before
    assert done.totals["duplicate"] == len(lines)
    assert sorted(Path(path).name for path in done.ledger["left_out"]) == ["errors-2024-01-15.log", "notes.txt"]


def test_standard_input(tmp_path: Path, sink: Sink) -> None:
    """`-` with the log's name has the ids of that log; without it nobody knows whose lines they are."""
    write_days(tmp_path / "logs", days=1, lines=400)
    run_to_end("run", "logs/", "--once", "--output", sink.url, directory=tmp_path)
    before = ids(sink)
    text = next((tmp_path / "logs").iterdir()).read_text()

    refused = run_to_end("replay", "-", "--output", sink.url, directory=tmp_path, standard_input=text)
    piped = run_to_end(
        *("replay", "-", "--stem", "combined.log", "--output", sink.url, "--json"),
        directory=tmp_path,
        standard_input=text,
    )

    assert refused.returncode == 2
    assert "--stem" in refused.stderr
    assert piped.returncode == 0, piped.stderr
    assert done_of(piped).totals["duplicate"] == 400
    assert ids(sink) == before


def test_what_was_missed_is_added_and_nothing_else(tmp_path: Path, sink: Sink) -> None:
    """Lines that the server lost are the ones that are new."""
    write_days(tmp_path / "logs", days=2, lines=300)
    sink.fault(Fault("items", status=400, rate=0.2))
    run_to_end("run", "logs/", "--once", "--output", sink.url, directory=tmp_path)
    sink.fault()
    there = len(ids(sink))

    done = replay("logs", "--output", sink.url, directory=tmp_path)

    assert done.code == 0, done.errors
    assert 0 < there <= 600
    assert done.totals["created"] == 600 - there
    assert len(ids(sink)) == 600


CHOICES = {
    "since": (["--since", "2024-01-16"], range(200, 600)),
    "until": (["--until", "2024-01-16"], range(400)),
    "until a time": (["--until", "2024-01-16T10:01:40Z"], range(300)),
    "a day": (["--since", "2024-01-16", "--until", "2024-01-16"], range(200, 400)),
    "where": (["--where", "n >= 150 and n < 250"], range(150, 250)),
    "all together": (["--since", "2024-01-16", "--where", "n < 210"], range(200, 210)),
}


@pytest.mark.parametrize("choice", CHOICES)
def test_only_what_is_chosen_is_sent(tmp_path: Path, sink: Sink, choice: str) -> None:
    """By event time and by expression; the rest is counted as not chosen, or its file is named."""
    write_days(tmp_path / "logs", days=3, lines=200)
    arguments, expected = CHOICES[choice]

    done = replay("logs", "--output", sink.url, *arguments, directory=tmp_path)

    assert done.code == 0, done.errors
    assert numbers(sink.docs()) == list(expected)
    skipped = 200 * len(done.ledger["left_out"])
    assert done.totals["unwanted"] == 600 - len(expected) - skipped


def test_whole_files_are_left_out_only_where_that_is_certain(tmp_path: Path, sink: Sink) -> None:
    """A file that begins more than a day behind the range is not read; one that begins within that day is."""
    write_days(tmp_path / "logs", days=4, lines=100)

    done = replay("logs", "--output", sink.url, "--until", "2024-01-15", directory=tmp_path)

    assert [Path(path).name for path in done.ledger["left_out"]] == [
        "combined-2024-01-17.log",
        "combined-2024-01-18.log",
    ]
    assert done.totals["unwanted"] == 100


def test_into_another_index_with_a_tag(tmp_path: Path, sink: Sink) -> None:
    """The same ids in other indices, and each document says that it was replayed."""
    write_days(tmp_path / "logs", days=1, lines=50)
    run_to_end("run", "logs/", "--once", "--output", sink.url, directory=tmp_path)

    done = replay("logs", "--output", sink.url, "--index", "old-%Y.%m", "--tag", "replayed", directory=tmp_path)

    assert done.code == 0, done.errors
    live, old = sink.docs("logs-*"), sink.docs("old-2024.01")
    assert {hit["_id"] for hit in live} == {hit["_id"] for hit in old}
    assert all(hit["_source"]["tags"] == ["replayed"] for hit in old)
    assert all("tags" not in hit["_source"] for hit in live)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_killed_five_times_it_goes_on_where_it_was(tmp_path: Path, sink: Sink, suffix: str) -> None:
    """Each run ends like `kill -9` after an answer; nothing is missing, and little was sent twice."""
    lines = write_days(tmp_path / "logs", days=2, lines=20_000)
    for path in (tmp_path / "logs").iterdir():
        text = path.read_bytes()
        path.unlink()
        path.with_name(path.name + suffix).write_bytes(COMPRESS[suffix](text))
    config = tmp_path / "shipper.yml"
    config.write_text(
        "sources: [{name: a, paths: [logs/]}]\n"
        f"output: {{elasticsearch: {{hosts: ['{sink.url}'], bulk_bytes: 512kB, concurrency: 1}}}}\n"
    )
    arguments = ("logs", "-c", config, "--workers", "1", "--rate", "12000")

    codes = [replay(*arguments, directory=tmp_path, SHIPPER_FAILPOINT="elastic.after_answer:5").code for _ in range(5)]
    done = replay(*arguments, directory=tmp_path)

    assert codes == [-signal.SIGKILL] * 5
    assert done.code == 0, done.errors
    assert numbers(sink.docs()) == list(range(len(lines)))
    assert done.totals["lines"] == len(lines)
    assert done.totals["created"] + done.totals["duplicate"] == len(lines)
    assert "going on with a replay" in done.errors
    again = sink.stats()["duplicates"]
    assert again < len(lines)


def test_interrupted_it_says_how_to_go_on(tmp_path: Path, sink: Sink) -> None:
    """SIGINT: what is under way is delivered, exit 1, the command; with it the rest is sent, and only that."""
    lines = write_days(tmp_path / "logs", days=3, lines=3_000)
    arguments = ["replay", "logs", "--output", sink.url, "--rate", "3000", "--json", "--workers", "2"]
    process = subprocess.Popen(
        [*SHIPPER, *arguments], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_until(lambda: sink.stats()["documents"] > 500, what="500 documents", timeout_seconds=120)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=30)

    assert process.returncode == 1, errors
    assert "not finished: interrupted" in errors
    assert "to go on where it stopped: shipper replay logs" in errors
    ledger = json.loads(output)
    sent = len(ids(sink))
    assert 500 < sent < len(lines)
    assert ledger["totals"]["created"] == sent

    done = replay("logs", "--output", sink.url, "--rate", "3000", "--workers", "2", directory=tmp_path)

    assert done.code == 0, done.errors
    assert numbers(sink.docs()) == list(range(len(lines)))
    assert (done.totals["created"], done.totals["duplicate"]) == (len(lines), 0)


def test_interrupted_twice_the_same_command_may_begin_at_once(tmp_path: Path, sink: Sink) -> None:
    """A second SIGINT ends the parent; what its workers still wait for keeps nobody out."""
    write_days(tmp_path / "logs", days=2, lines=2_000)
    sink.fault(Fault("silent"))
    arguments = ["replay", "logs", "--output", sink.url, "--workers", "2"]
    process = subprocess.Popen(
        [*SHIPPER, *arguments], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_until(lambda: sink.stats()["requests"] > 0, what="a request", timeout_seconds=120)
    workers = children_of(process.pid)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    process.wait(timeout=30)
    assert len(workers) == 2
    (lock,) = (tmp_path / ".shipper" / "replay").rglob("lock")
    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises BlockingIOError while anybody has it


def test_workers_end_with_their_parent(tmp_path: Path, sink: Sink) -> None:
    """After `kill -9` nobody goes on sending, and the same command may begin at once."""
    lines = write_days(tmp_path / "logs", days=4, lines=2_000)
    arguments = ["replay", "logs", "--output", sink.url, "--workers", "2", "--rate", "1500"]
    process = subprocess.Popen([*SHIPPER, *arguments], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_until(lambda: sink.stats()["documents"] > 300, what="300 documents", timeout_seconds=120)
    workers = children_of(process.pid)
    assert len(workers) == 2

    process.kill()
    process.communicate(timeout=30)

    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), what="no worker", timeout_seconds=120)
    done = replay(*arguments[1:-2], directory=tmp_path)
    assert done.code == 0, done.errors
    assert numbers(sink.docs()) == list(range(len(lines)))


def children_of(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_several_workers_send_the_same(tmp_path: Path, sink: Sink) -> None:
    """Four processes, files shared out: each line once."""
    lines = write_days(tmp_path / "logs", days=9, lines=500)

    done = replay("logs", "--output", sink.url, "--workers", "4", directory=tmp_path)

    assert done.code == 0, done.errors
    assert numbers(sink.docs()) == list(range(len(lines)))
    assert sink.stats()["duplicates"] == 0
    assert done.ledger["indices"] == {f"logs-2024.01.{15 + day}": {"created": 500} for day in range(9)}


def test_a_busy_server_is_not_drowned(tmp_path: Path, sink: Sink) -> None:
    """429 for whole requests and for single documents: less, later, and all of it in the end."""
    lines = write_days(tmp_path / "logs", days=2, lines=1_000)
    sink.fault(Fault("status", status=429, times=3), Fault("items", status=429, rate=0.3, times=500))

    done = replay("logs", "--output", sink.url, "--workers", "2", directory=tmp_path)

    assert done.code == 0, done.errors
    assert numbers(sink.docs()) == list(range(len(lines)))
    assert done.totals["created"] == len(lines)


def test_shards_are_disjoint_and_complete(tmp_path: Path, sink: Sink) -> None:
    """Three parts on machines that know nothing of each other; the summary adds them up, and misses none."""
    lines = write_days(tmp_path / "logs", days=9, lines=100)
    sent = []
    for number in range(3):
        if number == 2:
            missing = run_to_end("replay", "--summary", "state", directory=tmp_path)
            assert missing.returncode == 1
            assert "shard 2 has no ledger" in missing.stdout
        arguments = ("logs", "--output", sink.url, "--state", "state", "--shard", f"{number}/3")
        done = replay(*arguments, directory=tmp_path)
        assert done.code == 0, done.errors
        sent.append(done.totals["created"])

    summary = run_to_end("replay", "--summary", "state", "--json", directory=tmp_path)

    assert summary.returncode == 0, summary.stdout
    assert sum(sent) == len(lines)
    assert numbers(sink.docs()) == list(range(len(lines)))
    assert sink.stats()["duplicates"] == 0
    (one,) = json.loads(summary.stdout)
    assert (one["shards"], one["totals"]["created"], one["totals"]["files"]) == (3, len(lines), 9)


def test_a_dry_run_says_what_would_be_sent_and_sends_nothing(tmp_path: Path, sink: Sink) -> None:
    """Files, lines, indices and the range of event times; no state either."""
    write_days(tmp_path / "logs", days=2, lines=100)

    done = replay("logs", "--output", sink.url, "--dry-run", directory=tmp_path)

    assert done.code == 0, done.errors
    assert done.ledger["indices"] == {"logs-2024.01.15": {"created": 100}, "logs-2024.01.16": {"created": 100}}
    assert [file["first_time"] for file in done.ledger["files"]] == [
        "2024-01-15T10:00:00.000Z",
        "2024-01-16T10:00:00.000Z",
    ]
    assert sink.stats()["bulk_requests"] == 0
    assert not (tmp_path / ".shipper").exists()
    table = run_to_end("replay", "logs", "--output", sink.url, "--dry-run", directory=tmp_path).stdout.splitlines()
    titles = ["file", "lines", "would send", "would be set aside", "dropped", "not chosen"]
    assert re.split(r" {2,}", table[0]) == titles
    assert table[3].split() == ["2", "files", "200", "200", "0", "0", "0"]


def test_a_directory_has_each_line_once(tmp_path: Path) -> None:
    """Replayed after a live run, twice, from other copies: the day files stay as they are."""
    lines = write_days(tmp_path / "logs", days=2, lines=300)
    run_to_end("run", "logs/combined-2024-01-15.log", "--once", "--output", "out", directory=tmp_path)
    first = replay("logs", "--output", "out", directory=tmp_path)
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.ndjson")}
    (tmp_path / "zipped").mkdir()
    for path in (tmp_path / "logs").iterdir():
        (tmp_path / "zipped" / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    (tmp_path / "all.tar.gz").write_bytes(
        tar_of({path.name: path.read_bytes() for path in (tmp_path / "logs").iterdir()}, compression="gz")
    )

    others = [replay(path, "--output", "out", directory=tmp_path) for path in ("logs", "zipped", "all.tar.gz")]

    assert (first.totals["created"], first.totals["duplicate"]) == (300, 300)
    assert [(done.code, done.totals["created"], done.totals["duplicate"]) for done in others] == [(0, 0, 600)] * 3
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.ndjson")} == before
    assert sorted(document["_source"]["n"] for document in documents_in(tmp_path / "out")) == list(range(len(lines)))


def test_a_directory_that_a_daemon_holds_is_refused(tmp_path: Path) -> None:
    """Exit 2, naming the process; beside a daemon that ships to a server a replay may run."""
    write_days(tmp_path / "logs", days=1, lines=10)
    with Running("logs/", "--output", "out", directory=tmp_path) as daemon:
        done = replay("logs", "--output", "out", directory=tmp_path)
        assert daemon.stop() == 0

    assert done.code == 2
    assert f"process {daemon.pid}" in done.errors


def test_beside_a_daemon_on_the_same_files_and_server(tmp_path: Path, sink: Sink) -> None:
    """Both ship the same lines at the same time; each is there once, and the daemon's state is its own."""
    lines = write_days(tmp_path / "logs", days=2, lines=2_000)
    with Running("logs/", "--output", sink.url, directory=tmp_path) as daemon:
        done = replay("logs", "--output", sink.url, directory=tmp_path)
        daemon.wait_for(lambda: len(sink.docs()) >= len(lines), "all documents")
        assert daemon.stop() == 0

    assert done.code == 0, done.errors
    assert numbers(sink.docs()) == list(range(len(lines)))
    assert done.totals["created"] + done.totals["duplicate"] == len(lines)


@pytest.mark.parametrize("kind", ["archive", "rotated", "may go on"])
def test_container_lines_behind_one_that_has_no_end(tmp_path: Path, sink: Sink, kind: str) -> None:
    """Whole lines of the other stream stand behind it: they come where the file is final, under the daemon's ids."""
    text = "".join(
        f"2024-01-15T10:00:00Z {stream} {flag} {text}\n"
        for stream, flag, text in [("stdout", "F", '{"n":1}'), ("stdout", "P", '{"n":2,'), ("stderr", "F", '{"n":3}')]
    )
    (tmp_path / "logs").mkdir()
    name = {"archive": "0.log.20240115-100000.gz", "rotated": "0.log.20240115-100000", "may go on": "0.log"}[kind]
    (tmp_path / "logs" / name).write_bytes(gzip.compress(text.encode()) if kind == "archive" else text.encode())
    if kind == "rotated":
        (tmp_path / "logs/0.log").write_text('2024-01-15T10:00:00Z stdout F {"n":99}\n')
    for path in (tmp_path / "logs").iterdir():
        os.utime(path, (1_705_312_800, 1_705_312_800))
    config = tmp_path / "shipper.yml"
    config.write_text(
        f"sources: [{{name: pods, format: cri, paths: ['logs/*.log*']}}]\n"
        f"output: {{elasticsearch: {{hosts: ['{sink.url}']}}}}\n"
    )

    done = replay("logs", "-c", str(config), directory=tmp_path)
    found = sorted(str(hit["_source"].get("n", hit["_source"].get("message"))) for hit in sink.docs("*"))
    again = run_to_end("run", "--once", "-c", config, directory=tmp_path)

    assert (0, 0) == (done.code, again.returncode), done.errors + again.stderr
    assert {"archive": ["1", "3", '{"n":2,'], "rotated": ["1", "3", "99", '{"n":2,'], "may go on": ["1"]}[kind] == found
    assert len(found) == len(sink.docs("*"))


def test_damaged_archives_give_what_can_be_read(tmp_path: Path, sink: Sink) -> None:
    """A truncated one, one with a broken middle, and one that is none: exit 1, each named, the good one complete."""
    lines = [line + b"\n" for line in lines_of(4_000)]
    (tmp_path / "logs").mkdir()
    quarter = [b"".join(lines[i * 1000 : (i + 1) * 1000]) for i in range(4)]
    whole, truncated, corrupt = (
        gzip.compress(quarter[0]),
        gzip.compress(quarter[1]),
        bytearray(gzip.compress(quarter[2])),
    )
    corrupt[len(corrupt) // 2 : len(corrupt) // 2 + 64] = bytes(64)
    (tmp_path / "logs/a-whole.log.gz").write_bytes(whole)
    (tmp_path / "logs/b-truncated.log.gz").write_bytes(truncated[: len(truncated) * 3 // 4])
    (tmp_path / "logs/c-corrupt.log.gz").write_bytes(corrupt)
    (tmp_path / "logs/d-mixed.log.gz").write_bytes(quarter[3])

    done = replay("logs", "--output", sink.url, directory=tmp_path)

    assert done.code == 1
    problems = {Path(file["path"]).name: file["problem"] for file in done.ledger["files"] if file["problem"]}
    assert set(problems) == {"b-truncated.log.gz", "c-corrupt.log.gz"}
    assert "2 files not read to the end" in done.errors
    found = numbers([hit for hit in sink.docs() if "n" in hit["_source"]])  # a broken block gives anything
    assert set(range(1000)) | set(range(3000, 4000)) <= set(found)
    assert 400 < len(set(range(1000, 2000)) & set(found)) < 1000


def test_archives_that_break_off_before_their_first_line_are_named(tmp_path: Path) -> None:
    """Also one within a tar archive: exit 1 and a row each; those that are whole and have nothing in them are none."""
    text = b"".join(line + b"\n" for line in lines_of(1_000))
    (tmp_path / "logs").mkdir()
    suffixes = [suffix for suffix in COMPRESS if suffix]
    for suffix in suffixes:
        (tmp_path / f"logs/cut.log{suffix}").write_bytes(COMPRESS[suffix](text)[:30])
        (tmp_path / f"logs/empty.log{suffix}").write_bytes(COMPRESS[suffix](b""))
    (tmp_path / "logs/nothing.log.gz").touch()
    (tmp_path / "logs/whole.log").write_bytes(text)
    (tmp_path / "logs/all.tar").write_bytes(tar_of({"member.log.gz": gzip.compress(text)[:30]}))

    done = replay("logs", "--output", "out", directory=tmp_path)
    again = run_to_end("replay", "logs", "--output", "out", directory=tmp_path)

    cut = {*(f"cut.log{suffix}" for suffix in suffixes), "member.log.gz"}
    problems = {Path(file["path"]).name: file["problem"] for file in done.ledger["files"] if file["problem"]}
    assert dict.fromkeys(cut, "cannot be read: ends too early") == problems
    assert (done.code, again.returncode, done.totals["created"]) == (1, 1, 1_000)
    assert "5 files not read to the end" in done.errors
    rows = [row for row in again.stdout.splitlines() if row.endswith("ends too early")]
    assert cut == {Path(row.split()[0]).name for row in rows}


def test_a_bomb_is_not_unfolded(tmp_path: Path, sink: Sink) -> None:
    """A gigabyte in a megabyte: reading stops at the ratio, the limit is named, other files are not held up."""
    write_days(tmp_path / "logs", days=1, lines=10)
    compressor = zstandard.ZstdCompressor(level=3).compressobj()
    bomb = compressor.compress(b'{"n":0}\n') + b"".join(compressor.compress(b" " * (1 << 20)) for _ in range(1024))
    (tmp_path / "logs/bomb.log.zst").write_bytes(bomb + compressor.flush())

    done = replay("logs", "--output", sink.url, directory=tmp_path)

    assert done.code == 1
    (problem,) = [file["problem"] for file in done.ledger["files"] if file["problem"]]
    assert "--max-ratio" in problem
    assert done.totals["created"] == 11


def test_a_line_of_the_future_is_set_aside(tmp_path: Path, sink: Sink) -> None:
    """Exit 3, a dead letter in the replay's own state, and none in the daemon's."""
    (tmp_path / "logs").mkdir()
    future = datetime.now(UTC) + timedelta(days=30)
    text = [line_of(0, BEGIN), line_of(1, future), line_of(2, BEGIN)]
    (tmp_path / "logs/app.log").write_bytes(b"".join(line + b"\n" for line in text))

    done = replay("logs", "--output", sink.url, "--state", "state", directory=tmp_path)

    assert done.code == 3, done.errors
    assert (done.totals["created"], done.totals["dead_letter"]) == (2, 1)
    assert not (tmp_path / "state/dead-letter").exists()
    (letters,) = tmp_path.glob("state/replay/*/dead-letter/*.ndjson")
    assert json.loads(letters.read_text())["reason"] == "time_in_future"


def test_audit_knows_what_a_replay_has_set_aside(tmp_path: Path) -> None:
    """Every line of an archive is accounted for: present, or in the dead letters of the replay."""
    (tmp_path / "logs").mkdir()
    text = [line_of(0, BEGIN), line_of(1, datetime.now(UTC) + timedelta(days=30))]
    (tmp_path / "logs/app.log").write_bytes(b"".join(line + b"\n" for line in text))
    done = replay("logs", "--output", "out", directory=tmp_path)

    audit = run_to_end("audit", "logs", "--output", "out", "--json", directory=tmp_path)

    assert done.code == 3
    assert audit.returncode == 0, audit.stdout
    (file,) = json.loads(audit.stdout)["files"]
    assert (file["present"], file["set_aside"]) == (1, 1)


@pytest.mark.parametrize(
    "name", ["backup.tar", "backup.tar.gz", "backup.tar.xz", "app.log.bz2", "app.log.xz", "app.log.zst"]
)
def test_audit_proves_what_replay_has_sent(tmp_path: Path, name: str) -> None:
    """Of every kind of archive: all lines are there; then one more of its log is not, and is named."""
    lines = lines_of(300)
    make_archive(tmp_path / name, lines)
    audit = ("audit", name, "--output", "out", "--json")
    assert replay(name, "--output", "out", directory=tmp_path).code == 0

    whole = run_to_end(*audit, directory=tmp_path)
    make_archive(tmp_path / name, [*lines, line_of(300, BEGIN)])
    other = run_to_end(*audit, directory=tmp_path)

    assert (0, 1) == (whole.returncode, other.returncode), whole.stdout + whole.stderr
    (file,) = json.loads(whole.stdout)["files"]
    assert (300, 300, "") == (file["lines"], file["present"], file["problem"])
    (file,) = json.loads(other.stdout)["files"]
    assert file["path"].endswith(
        "backup.tar/var/app.log" if name == "backup.tar" else "app.log" if "tar" in name else name
    )
    assert (300, 1) == (file["present"], file["missing"])
    assert [sum(len(line) + 1 for line in lines)] == [line["offset"] for line in file["first_missing"]]


def make_archive(path: Path, lines: Sequence[bytes]) -> None:
    """A log, compressed or in a tar archive, as the name says."""
    text = b"".join(line + b"\n" for line in lines)
    if ".tar" in path.name:
        path.write_bytes(
            tar_of({"var/app.log": text, "notes.txt": b"text"}, compression=path.suffix[1:].replace("tar", ""))
        )
    else:
        path.write_bytes(COMPRESS[path.suffix](text))


@pytest.mark.parametrize("state", [(), ("--state", "new/state")])
def test_a_state_is_for_its_owner_alone(tmp_path: Path, state: tuple[str, ...]) -> None:
    """All directories and files of it, as the daemon makes them."""
    (tmp_path / "app.log").write_bytes(b'{"timestamp":"2024-01-15T10:30:45Z"}\n')

    assert replay("app.log", "--output", "out", "--metrics", "history", *state, directory=tmp_path).code == 0

    found = tmp_path / (state[1] if state else "out/.shipper")
    assert {} == {path: mode for path in (found, *found.rglob("*")) if (mode := path.stat().st_mode & 0o77)}


def test_audit_of_a_damaged_archive(tmp_path: Path) -> None:
    """What can be read of it is looked for; that it is not whole is said, and is exit code 1."""
    text = tar_of({"a.log": b"".join(line + b"\n" for line in lines_of(100)), "b.log": b"{}\n" * 2000})
    (tmp_path / "cut.tar").write_bytes(text[: len(text) - 8000])
    assert replay("cut.tar", "--output", "out", directory=tmp_path).code == 1

    done = run_to_end("audit", "cut.tar", "--output", "out", "--json", directory=tmp_path)

    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert 100 == report["files"][0]["present"]
    assert 0 == report["totals"]["missing"]
    assert any("cut.tar" in path for path in report["problems"]) or report["files"][1]["problem"]


def test_audit_of_what_was_replayed_under_another_name(tmp_path: Path, sink: Sink) -> None:
    """With `--stem` and `--index` as the replay had them all is found; without them nothing."""
    (tmp_path / "renamed.txt").write_bytes(b"".join(line + b"\n" for line in lines_of(50)))
    options = ("renamed.txt", "--output", "out", "--stem", "app.log", "--index", "old-%Y")
    assert replay(*options, directory=tmp_path).code == 0

    assert run_to_end("audit", *options, directory=tmp_path).returncode == 0
    assert run_to_end("audit", *options[:-4], directory=tmp_path).returncode == 1


def test_audit_of_what_was_chosen(tmp_path: Path) -> None:
    """By the replay's own options: what was chosen is there, the rest is not asked about; else it is missing."""
    write_days(tmp_path / "logs", days=3, lines=50)
    options = ("logs", "--output", "out", "--since", "2024-01-16", "--until", "2024-01-16", "--where", "n != 60")
    assert replay(*options, directory=tmp_path).totals["created"] == 49

    chosen = run_to_end("audit", *options, "--json", directory=tmp_path)
    whole = run_to_end("audit", *options[:3], "--json", directory=tmp_path)
    wrong = run_to_end("audit", *options[:3], "--since", "soon", directory=tmp_path)

    assert (0, 1, 2) == (chosen.returncode, whole.returncode, wrong.returncode), chosen.stdout
    totals = json.loads(chosen.stdout)["totals"]
    assert (49, 101, 0) == (totals["present"], totals["unchosen"], totals["missing"])
    assert 101 == json.loads(whole.stdout)["totals"]["missing"]
    assert "--since: 'soon' is no time" in wrong.stderr


@pytest.mark.parametrize("place", ["", "local.after_sync:2"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_what_was_not_chosen_is_there_after_a_replay_of_all(tmp_path: Path, place: str, suffix: str) -> None:
    """Into a directory; killed in between or not, from the file or its archive: each line is there, and once."""
    lines = write_days(tmp_path / "logs", days=2, lines=4_000)
    if suffix:
        for path in list((tmp_path / "logs").iterdir()):
            path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()
    options = ("logs", "--output", "out")
    choice = (*options, "--where", 'url matches "[258]$" and n != 2')
    chosen = [number for number in range(len(lines)) if number % 10 in (2, 5, 8) and number != 2]
    if place:
        assert replay(*choice, directory=tmp_path, SHIPPER_FAILPOINT=place).code != 0
    assert replay(*choice, directory=tmp_path).code == 0
    assert sorted(document["_source"]["n"] for document in documents_in(tmp_path / "out")) == chosen
    if place:
        assert replay(*options, directory=tmp_path, SHIPPER_FAILPOINT=place).code != 0

    whole = replay(*options, directory=tmp_path)
    again = replay(*options, directory=tmp_path)

    assert sorted(document["_source"]["n"] for document in documents_in(tmp_path / "out")) == list(range(len(lines)))
    assert (whole.code, again.code, again.totals["created"]) == (0, 0, 0), whole.errors
    assert run_to_end("audit", *options, directory=tmp_path).returncode == 0


def test_what_was_not_chosen_is_there_after_a_run(tmp_path: Path) -> None:
    """A choice by time leaves out the beginning of a file, and what a daemon finds there it ships."""
    write_days(tmp_path / "logs", days=1, lines=500)
    options = ("logs", "--output", "out")
    assert replay(*options, "--since", "2024-01-15T10:05", directory=tmp_path).totals["created"] == 200

    assert run_to_end("run", *options, "--once", directory=tmp_path).returncode == 0

    assert sorted(document["_source"]["n"] for document in documents_in(tmp_path / "out")) == list(range(500))
    assert run_to_end("audit", *options, directory=tmp_path).returncode == 0


def test_many_small_files_go_together(tmp_path: Path, sink: Sink) -> None:
    """A request is not made for each file: their lines wait for company as those of one file do."""
    for number in range(200):
        (tmp_path / f"app-{number}.log").write_bytes(line_of(number, BEGIN) + b"\n")

    done = replay("app-*.log", "--output", sink.url, "--workers", "2", directory=tmp_path)

    assert (0, 200) == (done.code, done.totals["created"])
    assert sink.stats()["bulk_requests"] < 50


def test_a_wrong_password_stops_it_before_much_is_read(tmp_path: Path, sink: Sink) -> None:
    """Nothing but 401 for 15 seconds: exit 1, and of endless input only what fits into memory was taken."""
    sink.fault(Fault("status", status=401))
    command = [*SHIPPER, "replay", "-", "--stem", "app.log", "--output", sink.url]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    text = b"".join(line + b"\n" for line in lines_of(1_000))
    assert process.stdin is not None
    written = 0
    with suppress(BrokenPipeError):
        while written < 1 << 30:
            written += process.stdin.write(text)
    with suppress(BrokenPipeError):
        process.stdin.close()
    process.stdin = None
    _, errors = process.communicate(timeout=30)

    assert process.returncode == 1
    assert b"refuses" in errors
    assert written < 64 << 20


USAGE = {
    "no path": ([], "give a PATH"),
    "no such file": (["nothing.log"], "nothing.log"),
    "a bad time": (["logs", "--since", "yesteryear"], "--since"),
    "an empty range": (
        ["logs", "--since", "2024-02-01", "--until", "2024-01-01"],
        "--since 2024-02-01 is not before --until 2024-01-01\n",
    ),
    "a bad expression": (["logs", "--where", "n >"], "--where"),
    "a bad shard": (["logs", "--shard", "4/4"], "--shard"),
    "a bad index": (["logs", "--index", "UPPER"], "--index"),
    "a taken tag": (["logs", "--tag", "slow_request"], "--tag"),
    "no source": (["logs", "--source", "other"], "--source"),
    "nothing to do": (["logs", "--no-ship"], "--no-ship"),
    "steps of no metrics": (["logs", "--step", "60"], "--step"),
    "labels of no metrics": (["logs", "--label", "job=a"], "--label"),
    "no ledger": (["--summary", "logs"], "no ledger"),
}


@pytest.mark.parametrize("case", USAGE)
def test_what_cannot_be_used_is_said(tmp_path: Path, case: str) -> None:
    """Exit 2, naming the option; nothing is written."""
    write_days(tmp_path / "logs", days=1, lines=1)
    arguments, named = USAGE[case]

    done = run_to_end("replay", *arguments, "--output", "out", directory=tmp_path)

    assert done.returncode == (1 if case == "no such file" else 2), done.stderr
    assert named in done.stderr + done.stdout
    assert not list(tmp_path.glob("out/*.ndjson"))
