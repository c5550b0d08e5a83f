"""One worker, step by step: what counts as done, files that change, where it goes on; and how files are shared out."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from harness.receiver import MemoryReceiver
from harness.sink import Sink
from replays import BEGIN, lines_of

from shipper.batch import Batch, Documents
from shipper.elastic.gather import Queue
from shipper.elastic.items import Pending
from shipper.replay.crew import shared_out
from shipper.replay.entries import Entry
from shipper.replay.ledger import Ledger, as_text, summaries
from shipper.replay.messages import Closed, Message, NoMore, Report, Stop, Task, Wish
from shipper.replay.outputs import make_output
from shipper.replay.pacing import Pace
from shipper.replay.parts import split
from shipper.replay.plan import Plan, Planned, Shard, shard_of, tasks_of
from shipper.replay.records import FileRecord
from shipper.replay.worker import CHANGED, Worker
from shipper.settings import ElasticsearchSettings, OutputSettings, Settings, SourceSettings

SOURCE = SourceSettings(name="app", paths=("/logs/*.log*",))


class Bench:
    """A worker over an output in memory that answers when it is told to."""

    def __init__(self, directory: Path, **wish: str) -> None:
        self.directory = directory
        self.receiver = MemoryReceiver()
        self.messages: list[Message] = []
        self.worker = self._worker(**wish)

    def _worker(self, **wish: str) -> Worker:
        return Worker(
            settings=Settings(sources=(SOURCE,), host="here"),
            wish=Wish(**wish),  # type: ignore[arg-type]
            output=self.receiver.output,
            pace=Pace(lines_per_second=0, clock=None),
            send=self.messages.append,
        )

    def restart(self, *, keeps_submitted: bool) -> None:
        """The process ended."""
        self.receiver.restart(keeps_submitted=keeps_submitted)
        self.messages = []
        self.worker = self._worker()

    def entry(self, path: Path) -> Entry:
        facts = path.stat()
        return Entry(SOURCE, str(path), str(path), path.name, facts.st_size, facts.st_mtime)

    def give(self, path: Path, *known: FileRecord, number: int = 0) -> None:
        self.worker.take(Task(number, self.entry(path), known))

    def steps(self, count: int) -> None:
        for _ in range(count):
            self.worker.step()

    def finish(self) -> FileRecord:
        """Everything is read and answered; the record of the only file."""
        self.worker.take(NoMore())
        while not self.worker.is_closed:
            self.worker.step()
            self.receiver.answer()
        return self.record()

    def record(self) -> FileRecord:
        return [message for message in self.messages if isinstance(message, Report)][-1].record

    def numbers(self) -> list[int]:
        return sorted(document["n"] for document in self.receiver.documents().values())


def write(path: Path, count: int, *, first: int = 0) -> Path:
    text = b"".join(line + b"\n" for line in lines_of(count, first=first))
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def test_a_record_moves_over_what_is_acknowledged(tmp_path: Path) -> None:
    """A later batch that is answered first says nothing; then both count."""
    bench = Bench(tmp_path)
    bench.give(write(tmp_path / "app.log", 1_500))
    bench.steps(4)
    assert len(bench.receiver.under_way) >= 2

    bench.receiver.answer_one(1)
    bench.worker.take(Stop(time.monotonic()))
    bench.steps(1)

    assert (bench.record().position, bench.record().lines) == (0, 0)
    assert isinstance(bench.messages[-1], Closed)
    assert not bench.messages[-1].is_delivered


@pytest.mark.parametrize("name", ["app.log", "app.log.gz"])
@pytest.mark.parametrize("keeps_submitted", [True, False])
def test_it_goes_on_where_it_was(tmp_path: Path, name: str, *, keeps_submitted: bool) -> None:
    """From the record alone; each line is there once, and the record says of all lines what became of them."""
    bench = Bench(tmp_path)
    path = write(tmp_path / name, 3_000)
    bench.give(path)
    bench.steps(3)
    bench.receiver.answer()
    bench.steps(2)
    bench.worker.take(Stop(time.monotonic()))
    bench.steps(1)
    record = bench.record()
    assert 0 < record.lines < 3_000

    bench.restart(keeps_submitted=keeps_submitted)
    before = len(bench.receiver.documents())
    bench.give(path, record)
    done = bench.finish()

    assert bench.numbers() == list(range(3_000))
    assert (done.is_done, done.problem, done.lines) == (True, "", 3_000)
    assert before >= record.lines


def test_a_record_of_another_content_is_not_gone_on_from(tmp_path: Path) -> None:
    """The same name and first line, but other lines before the place: from the beginning."""
    bench = Bench(tmp_path)
    path = write(tmp_path / "app.log", 1_000)
    bench.give(path)
    record = bench.finish()
    text = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(text[0] + b"".join(line.replace(b'"GET"', b'"PUT"') for line in text[1:]))

    bench.restart(keeps_submitted=True)
    bench.give(path, replace_position(record, len(b"".join(text[:500]))))
    done = bench.finish()

    assert done.lines == 1_000
    assert len(bench.receiver.documents()) == 1_999


def replace_position(record: FileRecord, position: int) -> FileRecord:
    record.position = position
    return record


def test_a_file_that_is_written_anew_is_left_there(tmp_path: Path) -> None:
    """What was read is delivered, what stands there now is not taken for the rest, and the record says so."""
    bench = Bench(tmp_path)
    path = write(tmp_path / "app.log", 8_000)
    bench.give(path)
    bench.steps(3)
    passed = bench.receiver.submitted
    path.write_bytes(b"".join(line + b"\n" for line in lines_of(20_000, first=10_000)))

    record = bench.finish()

    assert passed > 0
    assert record.problem == CHANGED
    assert not record.is_done
    assert 0 < record.lines < 8_000
    assert bench.numbers() == list(range(record.lines))


def test_an_output_that_notes_late_what_is_delivered_has_delivered_it(
    tmp_path: Path, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between what a worker is told and what the output's own thread notes it may be that the worker closes."""
    closing = threading.Event()
    forget, close = Queue.forget, Queue.close

    def forget_late(queue: Queue, pendings: Iterable[Pending]) -> None:
        closing.wait(10)
        forget(queue, pendings)

    def close_first(queue: Queue) -> None:
        close(queue)
        closing.set()

    monkeypatch.setattr(Queue, "forget", forget_late)
    monkeypatch.setattr(Queue, "close", close_first)
    server = ElasticsearchSettings(hosts=(sink.url,))
    settings = Settings(sources=(SOURCE,), output=OutputSettings(elasticsearch=server))
    output = make_output(settings, directory=tmp_path / "state", number=0, on_crash=lambda: None)
    output.start()
    bench = Bench(tmp_path)
    bench.worker = Worker(
        settings=settings,
        wish=Wish(),
        output=output,
        pace=Pace(lines_per_second=0, clock=None),
        send=bench.messages.append,
    )
    bench.give(write(tmp_path / "app.log", 10))
    bench.worker.take(NoMore())
    until = time.monotonic() + 30
    while not bench.worker.is_closed and time.monotonic() < until:
        if pause := bench.worker.step():
            bench.worker.wait(pause)

    assert isinstance(bench.messages[-1], Closed)
    assert bench.messages[-1].is_delivered
    assert (bench.record().is_done, bench.record().lines) == (True, 10)


@pytest.mark.parametrize("share", [0, 0.97], ids=["emptied", "cut behind what was read"])
def test_a_file_that_is_cut_is_not_taken_for_whole(tmp_path: Path, share: float) -> None:
    """Its end comes earlier than when it was opened: what is missing may have been lines."""
    bench = Bench(tmp_path)
    path = write(tmp_path / "app.log", 8_000)
    bench.give(path)
    bench.steps(3)
    with path.open("r+b") as file:
        file.truncate(int(path.stat().st_size * share))

    record = bench.finish()

    assert record.problem == CHANGED
    assert not record.is_done
    assert 0 < record.lines < 8_000


def test_a_file_that_grows_is_read_to_where_it_ended(tmp_path: Path) -> None:
    """A live file: what is appended meanwhile is the daemon's, and a last line that is not whole is left."""
    bench = Bench(tmp_path)
    path = write(tmp_path / "app.log", 1_000)
    with path.open("ab") as file:
        file.write(b'{"n":"torn')
        file.flush()
        bench.give(path)
        bench.steps(2)
        file.write(b' no more"}\n' + lines_of(1, first=9_999)[0] + b"\n")

    record = bench.finish()

    assert record.problem == ""
    assert set(range(1_000)) <= {n for n in [d["n"] for d in bench.receiver.documents().values()] if isinstance(n, int)}
    assert record.lines >= 1_000


@pytest.mark.parametrize(
    ("name", "tail", "expected"),
    [
        ("app.log", b'{"n":50}', 51),
        ("app.log", b'{"n":', 50),
        ("app.log", b"no JSON", 50),
        ("app.log.gz", b"no JSON", 51),
    ],
)
def test_an_unterminated_last_line(tmp_path: Path, name: str, tail: bytes, expected: int) -> None:
    """Of a file it is taken if it is whole JSON; of a complete archive whatever it is."""
    bench = Bench(tmp_path)
    text = b"".join(line + b"\n" for line in lines_of(50)) + tail
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    bench.give(tmp_path / name)

    record = bench.finish()

    assert record.lines == expected
    assert record.is_done


def test_a_missing_file_holds_nobody_up(tmp_path: Path) -> None:
    """It has a problem; the next one is replayed."""
    bench = Bench(tmp_path)
    gone, there = write(tmp_path / "gone.log", 10), write(tmp_path / "there.log", 10, first=10)
    bench.give(gone, number=0)
    bench.give(there, number=1)
    gone.unlink()

    bench.finish()

    records = {message.number: message.record for message in bench.messages if isinstance(message, Report)}
    assert "No such file" in records[0].problem
    assert (records[1].is_done, records[1].lines) == (True, 10)
    assert bench.numbers() == list(range(10, 20))


def test_only_what_is_wanted_is_sent(tmp_path: Path) -> None:
    """The rest counts as read and not chosen; the span is that of the lines that were wanted."""
    bench = Bench(tmp_path, since="2024-01-15T10:00:10.000Z", until="2024-01-15T10:00:20.000Z")
    bench.give(write(tmp_path / "app.log", 100))

    record = bench.finish()

    assert bench.numbers() == list(range(10, 20))
    assert (record.lines, record.unwanted) == (100, 90)
    assert (record.first_time, record.end_time) == ("2024-01-15T10:00:10.000Z", "2024-01-15T10:00:19.000Z")


def test_documents_of_several_days_are_counted_by_index() -> None:
    """One part an index, in file order, each with its own lines; what is set aside goes with the first."""
    rows = [b'{"_index":"%s","_id":"%d"}\n' % (day, n) for n, day in enumerate([b"a", b"a", b"b", b"a", b"b"])]
    ends = [sum(map(len, rows[: n + 1])) for n in range(5)]
    segments = [("a", 0, ends[1]), ("b", ends[1], ends[2]), ("a", ends[2], ends[3]), ("b", ends[3], ends[4])]
    batch = Batch("app", "a.log", "0" * 12, 0, 9, [b""] * 6, range(6))
    documents = Documents(batch, b"".join(rows), 5, segments, [0, 1, 2, 4, 5], [], lambda _: None)

    parts = split(documents, 1)

    assert [(part.count, list(part.line_numbers)) for part in parts] == [(3, [0, 1, 4]), (2, [2, 5])]
    assert [part.body for part in parts] == [rows[0] + rows[1] + rows[3], rows[2] + rows[4]]
    assert [part.segments for part in parts] == [[("a", 0, len(parts[0].body))], [("b", 0, len(parts[1].body))]]
    assert split(replace(documents, segments=[("a", 0, 9)]), 1)[0].segments == [("a", 0, 9)]


# Sharing out --------------------------------------------------------------------------------------------------------


def entry_of(name: str, size: int, *, archive: str = "", start: int | None = None) -> Entry:
    return Entry(SOURCE, name, archive or name, name, size, 0.0, start=start, is_folded=bool(archive))


def test_the_largest_go_first_and_archives_stay_together() -> None:
    """One worker goes by time; several by size; members of a compressed archive in their order."""
    tasks = [
        Task(0, entry_of("old.log", 10)),
        Task(1, entry_of("b.log", 30, archive="x.tar.gz", start=5_000)),
        Task(2, entry_of("large.log", 50)),
        Task(3, entry_of("a.log", 30, archive="x.tar.gz", start=512)),
    ]

    assert [[task.number for task in bundle] for bundle in shared_out(tasks, is_alone=True)] == [[0], [3, 1], [2]]
    assert [[task.number for task in bundle] for bundle in shared_out(tasks, is_alone=False)] == [[3, 1], [2], [0]]


def planned(name: str, identity: str, *, size: int = 10) -> Planned:
    return Planned(entry_of(name, size), identity, "")


def record_of(name: str, identity: str, **fields: object) -> FileRecord:
    return FileRecord(path=name, source="app", identity=identity, size_bytes=10, **fields)  # type: ignore[arg-type]


def test_what_is_done_is_no_task_and_what_was_renamed_is_found() -> None:
    """By path first; a record that no path claims goes to a file of its identity; a file that grew is read on."""
    plan = Plan(
        files=[
            planned("done.log", "a" * 12),
            planned("moved.log.1", "b" * 12),
            planned("grown.log", "c" * 12, size=20),
            planned("new.log", "d" * 12),
            planned("empty.log", ""),
        ]
    )
    earlier = [
        record_of("done.log", "a" * 12, is_done=True, lines=7),
        record_of("moved.log", "b" * 12, position=5),
        record_of("grown.log", "c" * 12, is_done=True, position=10),
    ]

    tasks, records = tasks_of(plan, earlier)

    assert [(task.number, [known.path for known in task.known]) for task in tasks] == [
        (1, ["moved.log"]),
        (2, ["grown.log"]),
        (3, []),
    ]
    assert (records[0].lines, records[0].is_done, records[4].is_done) == (7, True, True)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_every_file_is_in_one_shard(count: int) -> None:
    """By a hash of its content, evenly enough."""
    identities = [f"{n * 0x9E3779B97F4A7C15 % (1 << 48):012x}" for n in range(700)]
    shards = [Shard(number, count) for number in range(count)]

    assert [sum(shard.has(one) for shard in shards) for one in identities] == [1] * 700
    assert all(sum(shard.has(one) for one in identities) > 700 / count * 0.7 for shard in shards)
    assert shard_of(f"0/{count}") == shards[0]


def test_workers_share_one_rate(tmp_path: Path) -> None:
    """Two clocks over one file: what one takes, the other has not; time that passed unused is gone."""
    one, other = (Pace(lines_per_second=100, clock=tmp_path / "clock") for _ in range(2))

    assert [one.take(50, now=1000.0), other.take(50, now=1000.0), one.take(100, now=1000.2)] == [1000.5, 1001.0, 1002.0]
    assert other.take(10, now=2000.0) == pytest.approx(2000.1)
    assert Pace(lines_per_second=0, clock=tmp_path / "clock").take(10, now=5.0) == 0.0
    one.close()
    other.close()
    assert [path.name for path in tmp_path.iterdir()] == ["clock"]


# The ledger ---------------------------------------------------------------------------------------------------------


def test_the_ledger_adds_up() -> None:
    """By file, by index and in all; as text and as JSON the same numbers."""
    files = [
        record_of("a.log", "a" * 12, is_done=True, lines=5, indices={"x": {"created": 3, "duplicate": 1}}, dropped=1),
        record_of("b.log", "b" * 12, lines=4, problem="broken", indices={"x": {"created": 1}, "y": {"reduced": 2}}),
    ]
    ledger = Ledger(job="j", files=files, left_out={"c.log": "why"}, command="shipper replay x")

    data = json.loads(json.dumps(ledger.as_data()))

    assert data["totals"] == {
        "files": 2,
        "lines": 9,
        "unwanted": 0,
        "dropped": 1,
        "unfinished": 1,
        "created": 4,
        "duplicate": 1,
        "reduced": 2,
        "dead_letter": 0,
        "repaired": 0,
        "reduced_before": 0,
    }
    assert data["indices"] == {"x": {"created": 4, "duplicate": 1}, "y": {"reduced": 2}}
    text = as_text(ledger)
    assert "b.log" in text
    assert "broken" in text
    assert "not read: c.log: why" in text
    assert [line.split() for line in text.splitlines() if line.startswith("2 files")] == [
        ["2", "files", "9", "4", "1", "2", "0", "1", "0"]
    ]


def test_a_summary_names_what_is_missing() -> None:
    """Shards that have not run, and those that did not finish."""
    parts = [Ledger(job="j", shard="0/3", is_finished=True), Ledger(job="j", shard="2/3", why="interrupted")]

    (summary,) = summaries(parts)

    assert (summary.shards, summary.missing, summary.unfinished) == (3, [1], {"2/3": "interrupted"})
    assert not summary.is_finished
    assert "shard 1 has no ledger here" in summary.as_text()


def test_begin_is_what_the_tests_count_from() -> None:
    """The times above rest on it."""
    assert f"{BEGIN:%Y-%m-%dT%H:%M}" == "2024-01-15T10:00"
