"""The local output: what lands in day files, when it is done, what errors and strangers' hands do to it."""

from __future__ import annotations

import errno
import gzip
import json
import logging
import os
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from disks import files_at_most
from harness.process import wait_until
from local_support import (
    INDEX,
    Clock,
    FakeContent,
    KeptDeadLetters,
    deliver,
    documents_of,
    fail,
    ids,
    new_output,
    not_every_third,
    offset_lines,
    rows,
    ship,
    text,
)
from prometheus_client import CollectorRegistry

from shipper.batch import DeadLetter, Documents
from shipper.errors import InUseError, OutputError
from shipper.local import LocalOutput
from shipper.local import output as local
from shipper.local.dayfiles import check_pattern, index_problem
from shipper.local.ledger import LostError
from shipper.local.retention import Aged, day_of, expired
from shipper.local.standing import Standing, standing
from shipper.telemetry import Telemetry

DAY_FILE = f"{INDEX}.ndjson"
MIDNIGHT = text(20) + text(20, first=20, index_name="logs-2024.01.16") + text(5, first=40)


@pytest.fixture
def output(tmp_path: Path) -> Iterator[LocalOutput]:
    """An open output without a thread: the test delivers."""
    opened = new_output(tmp_path / "out")
    opened.open()
    yield opened
    opened.release()


def reopened(directory: Path) -> LocalOutput:
    again = new_output(directory)
    again.open()
    return again


def ledger_names(directory: Path) -> dict[str, int]:
    """Lengths by file name, as the closed ledger has them."""
    connection = sqlite3.connect(directory / ".shipper" / "ledger.db")
    try:
        return dict(connection.execute("SELECT name, length FROM file").fetchall())
    finally:
        connection.close()


# Decisions ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("logs-2024.01.15", ""),
        ("logs-undated", ""),
        ("protokolle-ä", ""),
        ("", "empty"),
        (".hidden", "begin"),
        ("-rf", "begin"),
        ("_index", "begin"),
        ("a/b", "slashes"),
        ("a\\b", "slashes"),
        ('a"b', "quotes"),
        ("a\0b", "control"),
        ("a\nb", "control"),
        ("a\udcffb", "control"),
        ("x" * 241, "longer"),
    ],
)
def test_index_names_must_be_file_names(name: str, word: str) -> None:
    """A name that could leave the directory, hide, or break a line is refused with the reason."""
    problem = index_problem(name)
    assert (word in problem, bool(word)) == (True, bool(problem))


@pytest.mark.parametrize("pattern", ["logs/%Y", ".logs-%Y", "", "logs-%Y\0", "x" * 300])
def test_a_bad_pattern_is_refused_at_once(tmp_path: Path, pattern: str) -> None:
    """The constructor raises and names the pattern; nothing is made on disk."""
    with pytest.raises(OutputError, match="index pattern"):
        new_output(tmp_path / "out", index=pattern)
    assert not (tmp_path / "out").exists()
    check_pattern("logs-%Y.%m.%d")


@pytest.mark.parametrize(
    ("length", "size", "early", "last", "expected"),
    [
        (10, 10, True, True, Standing.OURS),
        (10, 10, True, False, Standing.OTHER),
        (10, 12, True, True, Standing.LONGER),
        (10, 12, True, False, Standing.OTHER),
        (10, 7, True, False, Standing.SHORTER),
        (10, 7, False, False, Standing.OTHER),
        (10, 0, False, False, Standing.SHORTER),
        (0, 0, False, True, Standing.OURS),
        (0, 5, False, True, Standing.LONGER),
        (0, 5, False, False, Standing.OTHER),
    ],
)
def test_what_a_file_is_to_its_row(length: int, size: int, early: bool, last: bool, expected: Standing) -> None:
    """Only a file whose marks agree is ever cut or appended to."""
    assert expected is standing(length=length, size=size, has_early_mark=early, has_last_mark=last)


DAY = 86400.0
FILES = [
    Aged("2024-01-01", 9 * DAY, "a", 100),
    Aged("2024-01-02", 5 * DAY, "b", 100),
    Aged("2024-01-03", 10 * DAY, "c", 100),
]


@pytest.mark.parametrize(
    ("keep_days", "max_bytes", "expected"),
    [
        (0, 0, []),
        (3, 0, ["b"]),
        (20, 0, []),
        (0, 300, []),
        (0, 299, ["a"]),
        (0, 150, ["a", "b"]),
        (0, 1, ["a", "b"]),
        (3, 150, ["b", "a"]),
        (3, 200, ["b"]),
    ],
)
def test_what_retention_deletes(keep_days: int, max_bytes: int, expected: list[str]) -> None:
    """keep_days goes by the last write, max_bytes by the day; the newest day is kept whatever its size."""
    assert expected == expired(FILES, now=10 * DAY, keep_days=keep_days, max_bytes=max_bytes)


def test_the_day_of_an_index_that_has_none() -> None:
    """`undated` sorts by its last write."""
    assert day_of(INDEX, pattern="logs-%Y.%m.%d", last_write=0) == "2024-01-15T00:00:00+00:00"
    assert day_of("logs-undated", pattern="logs-%Y.%m.%d", last_write=DAY) == "1970-01-02T00:00:00+00:00"


# What is written ----------------------------------------------------------------------------------------


def test_documents_land_in_the_file_of_their_day(output: LocalOutput, tmp_path: Path) -> None:
    """One batch over a midnight goes to two files, in order, each line as documented; and it is done once."""
    done: list[Documents] = []
    content = FakeContent(MIDNIGHT)
    documents = documents_of(content, done=done.append)
    assert deliver(output, documents)
    found = rows(tmp_path / "out", DAY_FILE)
    assert [row["_source"]["n"] for row in found] == [*range(20), *range(40, 45)]
    assert {"_index", "_id", "_source"} == set(found[0])
    assert {row["_index"] for row in rows(tmp_path / "out", "logs-2024.01.16.ndjson")} == {"logs-2024.01.16"}
    assert sorted(content.ids()) == sorted(ids(tmp_path / "out"))
    assert [documents] == done


def test_what_is_there_is_covered(output: LocalOutput, tmp_path: Path) -> None:
    """A line delivered once is covered in this run and in the next; another content of that identity is not."""
    content = FakeContent(text(200))
    assert output.covered(content) == ()
    assert deliver(output, documents_of(content))
    everything = ((0, len(content.data)),)
    assert everything == output.covered(content)
    output.release()
    again = reopened(tmp_path / "out")
    assert everything == again.covered(content)
    assert again.covered(FakeContent(text(1) + text(200, first=9))) == ((0, 1),)
    again.release()


def test_a_range_without_documents_is_kept(output: LocalOutput, tmp_path: Path) -> None:
    """Lines that were all dropped are known as seen, and make no file."""
    content = FakeContent(text(50))
    assert deliver(output, documents_of(content, covered=[(0, len(content.data))]))
    assert output.covered(content) == ((0, len(content.data)),)
    assert list((tmp_path / "out").glob("*.ndjson")) == []


def test_what_a_choice_left_out_is_not_covered(output: LocalOutput, tmp_path: Path) -> None:
    """Also not the first line; all of it is written by whoever sends all, in the next run too, and each line once."""
    content = FakeContent(text(300))
    half = content.data.index(b"\n", 4000) + 1
    chosen = [documents_of(content, end=half, unwanted=not_every_third)]
    chosen.append(documents_of(content, start=half, unwanted=not_every_third))
    assert deliver(output, *chosen)
    output.release()
    again = reopened(tmp_path / "out")
    covered = again.covered(content)
    assert [(at, at + len(line) + 1) for at, line in offset_lines(content.data)][2::3] == list(covered)
    ship(again, content)
    assert sorted(content.ids()) == sorted(ids(tmp_path / "out"))
    assert again.covered(content) == ((0, len(content.data)),)
    again.release()


def test_batches_of_which_nothing_was_chosen_leave_no_trace(output: LocalOutput) -> None:
    """Before a batch with chosen lines, and behind it; the first line may be there by another content alone."""
    content, other = FakeContent(text(300)), FakeContent(text(1) + text(300, first=700))
    third = len(content.data) // 3
    first, second = content.data.index(b"\n", third) + 1, content.data.index(b"\n", 2 * third) + 1
    assert deliver(output, documents_of(content, end=first, unwanted=lambda _: True))
    assert deliver(output, documents_of(content, start=first, end=second))
    assert deliver(output, documents_of(content, start=second, unwanted=lambda _: True))
    assert (output.covered(content), output.covered(other)) == (((first, second),), ())
    ship(output, other)
    assert output.covered(content) == ((0, 1), (first, second))


def test_a_content_is_told_by_what_was_left_out_of_it(output: LocalOutput) -> None:
    """One that differs behind the last chosen line is another: its own lines are not taken for those that are there."""
    content = FakeContent(text(300))
    assert deliver(output, documents_of(content, unwanted=lambda line: json.loads(line)["n"] > 40))
    ((_, stop),) = output.covered(content)
    assert 1024 < stop < 2048
    other = FakeContent(content.data[:1100] + text(300, first=500))
    assert output.covered(other) == ((0, 1024),)


def test_of_batches_that_wait_for_one_commit_the_last_says_what_is_covered(output: LocalOutput, tmp_path: Path) -> None:
    """Of each content; what the others would say again is not kept meanwhile."""
    contents = [FakeContent(text(90), f"{number:012x}") for number in range(2)]
    for content in contents:
        for end in batch_ends(content, 10):
            output.submit(documents_of(content, start=end[0], end=end[1]))
    waiting = output.take()
    assert [each.coverage is None for each in waiting] == 2 * [*[True] * 8, False]
    assert output.deliver(waiting)
    output.release()
    again = reopened(tmp_path / "out")
    assert [again.covered(content) for content in contents] == [((0, len(content.data)),) for content in contents]
    again.release()


def batch_ends(content: FakeContent, lines: int) -> list[tuple[int, int]]:
    """Where batches of so many lines begin and end."""
    starts = [at for at, _ in offset_lines(content.data)][::lines]
    return list(zip(starts, [*starts[1:], len(content.data)], strict=True))


def test_documents_of_nothing_known_are_written(output: LocalOutput, tmp_path: Path) -> None:
    """Without a content (standard input) lines are written, and no offsets kept."""
    content = FakeContent(text(5))
    documents = documents_of(content)
    documents.batch.handle = None
    assert deliver(output, documents)
    assert (len(ids(tmp_path / "out")), output.covered(content)) == (5, ())


def test_what_was_created_is_counted_by_source(tmp_path: Path) -> None:
    """`documents{result="created"}` grows by what was written, after the commit; `output_up` is 1."""
    registry = CollectorRegistry()
    output = new_output(tmp_path, telemetry=Telemetry(registry=registry))
    output.open()
    output.submit(documents_of(FakeContent(text(7))))
    labels = {"source": "app", "result": "created"}
    assert registry.get_sample_value("shipper_documents_total", labels) is None
    output.deliver(output.take())
    assert registry.get_sample_value("shipper_documents_total", labels) == 7
    assert registry.get_sample_value("shipper_output_up") == 1
    output.release()


def test_dead_letters_are_durable_before_anything_is_done(tmp_path: Path) -> None:
    """They are written before the commit, once, also when the first attempt fails and when there are no documents."""
    kept = KeptDeadLetters(failures=2)
    output = new_output(tmp_path, dead_letters=kept)
    output.open()
    letter = DeadLetter("id", INDEX, "app", "/f", 0, "time_in_future", b"{}")
    seen: list[list[DeadLetter]] = []
    documents = documents_of(
        FakeContent(text(1)), covered=[(0, 99)], dead_letters=[letter], done=lambda _: seen.append(list(kept.records))
    )
    assert deliver(output, documents)
    assert [[letter]] == seen
    output.release()


def test_many_parts_are_written_whole(output: LocalOutput, tmp_path: Path) -> None:
    """More segments than one system call takes arrive in order."""
    data = b"".join(text(1, first=n, index_name=f"logs-2024.01.{15 + n % 2}") for n in range(3000))
    assert deliver(output, documents_of(FakeContent(data)))
    assert [row["_source"]["n"] for row in rows(tmp_path / "out", DAY_FILE)] == list(range(0, 3000, 2))


def test_short_writes_are_continued(output: LocalOutput, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that takes a few bytes at a time makes no difference."""

    def few(descriptor: int, parts: list[memoryview]) -> int:
        return os.write(descriptor, bytes(parts[0])[:7])

    monkeypatch.setattr(os, "writev", few)
    content = FakeContent(MIDNIGHT)
    assert deliver(output, documents_of(content))
    assert sorted(content.ids()) == sorted(ids(tmp_path / "out"))


def test_day_files_follow_the_umask(output: LocalOutput, tmp_path: Path) -> None:
    """Day files are ordinary files for other programs to read; the ledger's directory is private."""
    old = os.umask(0o027)
    try:
        assert deliver(output, documents_of(FakeContent(text(1))))
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "out" / DAY_FILE).stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "out" / ".shipper").stat().st_mode) == 0o700


# Starting ---------------------------------------------------------------------------------------------


def test_a_file_is_no_output_directory(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"")

    with pytest.raises(OutputError, match="out': it is a file; name a directory"):
        new_output(tmp_path / "out").open()


def test_a_second_writer_is_refused(output: LocalOutput, tmp_path: Path) -> None:
    """The message names the process."""
    with pytest.raises(InUseError, match=str(os.getpid())):
        new_output(tmp_path / "out").start()


def test_a_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    """It can never work, so it is said at start."""
    (tmp_path / "out").write_text("x")
    with pytest.raises(OutputError, match="out"):
        new_output(tmp_path / "out").start()


def test_a_failed_start_lets_go_of_the_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an error at start the directory is free for the next attempt."""
    output = new_output(tmp_path)

    def broken() -> None:
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(output._files, "start", broken)
    with pytest.raises(OutputError, match="input/output error"):
        output.start()
    reopened(tmp_path).release()


def test_uncommitted_tails_are_cut_at_start(output: LocalOutput, tmp_path: Path) -> None:
    """Bytes behind the committed length go, whole lines too; nothing before them is touched."""
    assert deliver(output, documents_of(FakeContent(text(5))))
    output.release()
    path = tmp_path / "out" / DAY_FILE
    before = path.read_bytes()
    path.write_bytes(before + before[:100] + b"\n{torn")
    reopened(tmp_path / "out").release()
    assert before == path.read_bytes()


def test_a_copied_directory_goes_on(output: LocalOutput, tmp_path: Path) -> None:
    """Other inodes do not matter: what was copied with its ledger is cut, covered and continued."""
    content = FakeContent(text(5))
    ship(output, content)
    output.release()
    (tmp_path / "copy" / ".shipper").mkdir(parents=True)
    for path in (tmp_path / "out").rglob("*"):
        if path.is_file():
            (tmp_path / "copy" / path.relative_to(tmp_path / "out")).write_bytes(path.read_bytes())
    with (tmp_path / "copy" / DAY_FILE).open("ab") as file:
        file.write(b"tail")
    content.data += text(3, first=5)
    again = reopened(tmp_path / "copy")
    ship(again, content)
    again.release()
    assert content.ids() == ids(tmp_path / "copy")


# Files that others touch ---------------------------------------------------------------------------------


@pytest.mark.parametrize("stranger", [b"theirs\n", b"", b'{"_index":"logs-2024.01.15","_id":"1","_source":{}}\n'])
def test_files_that_the_ledger_does_not_know_are_left_alone(tmp_path: Path, stranger: bytes) -> None:
    """An index whose name is taken goes to a numbered file; the stranger keeps its bytes, also at the next start."""
    (tmp_path / DAY_FILE).write_bytes(stranger)
    content = FakeContent(text(5))
    for count in (3, 2):
        output = reopened(tmp_path)
        ship(output, content)
        output.release()
        content.data += text(count, first=5)
    assert stranger == (tmp_path / DAY_FILE).read_bytes()
    assert ids(tmp_path, f"{INDEX}-2.ndjson") == FakeContent(text(8)).ids()


@pytest.mark.parametrize("kind", ["symlink", "dangling", "directory", "fifo"])
def test_what_is_no_file_is_left_alone(tmp_path: Path, kind: str) -> None:
    """A link is not followed, a pipe does not block."""
    path, target = tmp_path / "out" / DAY_FILE, tmp_path / "target"
    path.parent.mkdir()
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to(target)
        if kind == "symlink":
            target.write_bytes(b"theirs")
    output = reopened(tmp_path / "out")
    ship(output, FakeContent(text(5)))
    output.release()
    assert len(ids(tmp_path / "out", f"{INDEX}-2.ndjson")) == 5
    assert (target.read_bytes() if target.exists() else b"theirs") == b"theirs"


def swap_for_symlink(path: Path) -> None:
    path.rename(path.with_name("away"))
    path.symlink_to("away")


def replace_longer(path: Path) -> None:
    path.rename(path.with_name("away"))
    path.write_bytes(b"another file\n" * 1000)


def replace_shorter(path: Path) -> None:
    path.rename(path.with_name("away"))
    path.write_bytes(b"short\n" * 200)


def edit(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-20] + b"x" + data[-19:])


@pytest.mark.parametrize("harm", [swap_for_symlink, replace_longer, replace_shorter, edit])
@pytest.mark.parametrize("is_running", [True, False])
def test_a_file_that_is_no_longer_ours_is_left_alone(
    tmp_path: Path, harm: Callable[[Path], None], is_running: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Replaced or edited, while we run or not: its bytes stay, it is said once at ERROR, a sibling follows."""
    output = reopened(tmp_path)
    content = FakeContent(text(30))
    ship(output, content)
    if not is_running:
        output.release()
    harm(tmp_path / DAY_FILE)
    theirs = (tmp_path / DAY_FILE).read_bytes()
    if not is_running:
        output = reopened(tmp_path)
    for first in (30, 35):
        content.data += text(5, first=first)
        ship(output, content)
    output.release()
    assert theirs == (tmp_path / DAY_FILE).read_bytes()
    assert ids(tmp_path, f"{INDEX}-2.ndjson") == content.ids()[30:]
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert list(ledger_names(tmp_path)) == [f"{INDEX}-2.ndjson"]


@pytest.mark.parametrize("left", [0, 1100, 1300])
def test_a_shortened_file_is_continued_at_its_end(tmp_path: Path, left: int, caplog: pytest.LogCaptureFixture) -> None:
    """What is gone is said once with its bytes and not written again; a torn line goes with it."""
    output = reopened(tmp_path)
    content = FakeContent(text(40))
    ship(output, content)
    os.truncate(tmp_path / DAY_FILE, left)
    for first in (40, 45):
        content.data += text(5, first=first)
        ship(output, content)
    output.release()
    found = ids(tmp_path)
    assert content.ids()[40:] == found[-10:]
    assert content.ids()[: len(found) - 10] == found[:-10]
    assert [(record.levelno, "are gone" in record.message) for record in caplog.records] == [(logging.ERROR, True)]
    assert ledger_names(tmp_path) == {DAY_FILE: (tmp_path / DAY_FILE).stat().st_size}


def test_a_removed_file_is_made_anew(output: LocalOutput, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its old lines stay away, new ones come; one warning."""
    content = FakeContent(text(30))
    ship(output, content)
    (tmp_path / "out" / DAY_FILE).unlink()
    content.data += text(5, first=30)
    ship(output, content)
    assert content.ids()[30:] == ids(tmp_path / "out")
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_bytes_that_somebody_appended_are_cut(
    output: LocalOutput, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The day files are ours alone: what no commit covers goes at the next write, with a warning."""
    content = FakeContent(text(5))
    ship(output, content)
    with (tmp_path / "out" / DAY_FILE).open("ab") as file:
        file.write(b"half a li")
    content.data += text(1, first=5)
    ship(output, content)
    assert content.ids() == ids(tmp_path / "out")
    assert ["9 bytes" in record.message for record in caplog.records] == [True]


def test_a_file_that_may_not_be_written_is_passed_by(
    output: LocalOutput, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One read-only day file does not hold up delivery: a numbered one takes its lines, and it is used again later."""
    content = FakeContent(text(5))
    ship(output, content)
    real, is_locked = os.open, True

    def refusing(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if path == DAY_FILE and is_locked:
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", refusing)
    for first in (5, 6):
        content.data += text(1, first=first)
        ship(output, content)
    is_locked = False
    content.data += text(1, first=7)
    ship(output, content)
    assert ids(tmp_path / "out", f"{INDEX}-2.ndjson") == content.ids()[5:7]
    assert ids(tmp_path / "out", DAY_FILE) == [*content.ids()[:5], content.ids()[7]]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_removed_ledger_directory_is_put_back(output: LocalOutput, tmp_path: Path) -> None:
    """What was known stays known, in this run and the next."""
    content = FakeContent(text(30))
    ship(output, content)
    for path in (tmp_path / "out" / ".shipper").iterdir():
        path.unlink()
    (tmp_path / "out" / ".shipper").rmdir()
    content.data += text(5, first=30)
    ship(output, content)
    output.release()
    again = reopened(tmp_path / "out")
    ship(again, content)
    again.release()
    assert content.ids() == ids(tmp_path / "out")


def test_another_ledger_in_the_directory_ends_the_writer(output: LocalOutput, tmp_path: Path) -> None:
    """A directory that was exchanged is not ours to write to."""
    (tmp_path / "out").rename(tmp_path / "old")
    other = reopened(tmp_path / "out")
    with pytest.raises(LostError):
        ship(output, FakeContent(text(1)))
    other.release()
    assert list((tmp_path / "out").glob("*.ndjson")) == []


# A lost ledger ------------------------------------------------------------------------------------------


def lose(directory: Path) -> None:
    (directory / ".shipper" / "ledger.db").unlink()


def corrupt(directory: Path) -> None:
    (directory / ".shipper" / "ledger.db").write_bytes(b"no database" * 500)


@pytest.mark.parametrize("harm", [lose, corrupt])
def test_a_lost_ledger_is_made_anew_from_the_day_files(
    tmp_path: Path, harm: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    """Every line is there once after all: ids of the day files are compared, a torn line is written again whole."""
    registry = CollectorRegistry()
    output = reopened(tmp_path)
    content = FakeContent(MIDNIGHT)
    ship(output, content)
    output.release()
    os.truncate(tmp_path / DAY_FILE, (tmp_path / DAY_FILE).stat().st_size - 5)
    (tmp_path / "theirs.ndjson").write_bytes(b"{}\n")
    (tmp_path / f"copy-{DAY_FILE}").write_bytes((tmp_path / DAY_FILE).read_bytes())
    copy = (tmp_path / f"copy-{DAY_FILE}").read_bytes()
    harm(tmp_path)
    content.data += text(3, first=45)
    again = new_output(tmp_path, telemetry=Telemetry(registry=registry))
    again.open()
    assert again.covered(content) == ()
    ship(again, content)
    assert again.covered(content) == ((0, len(content.data)),)
    again.release()
    assert (tmp_path / f"copy-{DAY_FILE}").read_bytes() == copy
    assert sorted(content.ids()) == sorted(ids(tmp_path, "logs-*"))
    assert registry.get_sample_value("shipper_documents_total", {"source": "app", "result": "created"}) == 4
    assert registry.get_sample_value("shipper_documents_total", {"source": "app", "result": "duplicate"}) == 44
    assert logging.ERROR in {record.levelno for record in caplog.records}


def pack(path: Path) -> bytes:
    """Compresses a day file where it lies; returns what it is then."""
    packed = path.with_name(f"{path.name}.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    return packed.read_bytes()


def forget_all(directory: Path) -> None:
    for path in (directory / ".shipper").iterdir():
        path.unlink()


@pytest.mark.parametrize("harm", [lose, corrupt, forget_all])
def test_a_lost_ledger_is_made_anew_from_day_files_that_were_compressed_too(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    """Their lines are not written again, and what comes of their day goes to a new file; they stay as they are."""
    output = reopened(tmp_path)
    content = FakeContent(MIDNIGHT)
    ship(output, content)
    output.release()
    packed = pack(tmp_path / DAY_FILE)
    harm(tmp_path)
    content.data += text(3, first=45)
    for _ in range(2):
        again = reopened(tmp_path)
        ship(again, content)
        again.release()
    assert packed == (tmp_path / f"{DAY_FILE}.gz").read_bytes()
    assert [*content.ids()[20:40], *content.ids()[-3:]] == sorted(ids(tmp_path))
    assert ids(tmp_path, DAY_FILE) == content.ids()[-3:]


@pytest.mark.parametrize("kept", [9, 15, -5000])
def test_of_a_damaged_compressed_day_file_what_can_be_read_counts(
    tmp_path: Path, kept: int, caplog: pytest.LogCaptureFixture
) -> None:
    """What cannot is written again, for it is nowhere else; said once at WARNING, and no start is held up."""
    output = reopened(tmp_path)
    content = FakeContent(b"".join(text(1, first=n * n * n * 7919 % 1_000_003) for n in range(1, 3000)))
    ship(output, content)
    output.release()
    packed = pack(tmp_path / DAY_FILE)
    (tmp_path / f"{DAY_FILE}.gz").write_bytes(packed[:kept])
    lose(tmp_path)
    again = reopened(tmp_path)
    ship(again, content)
    again.release()
    written = ids(tmp_path)
    assert content.ids()[-len(written) :] == written
    assert 100 < len(written) < 2900 if kept < 0 else len(written) == 2999
    assert ["is damaged" in one.message for one in caplog.records if one.levelno == logging.WARNING] == [True]


def test_what_comes_again_of_a_cut_content_is_looked_for_in_compressed_day_files(tmp_path: Path) -> None:
    """As in those that are not; the ledger is there."""
    output = reopened(tmp_path)
    content = FakeContent(MIDNIGHT)
    ship(output, content)
    pack(tmp_path / DAY_FILE)
    output.forget(content, 0)
    ship(output, content)
    output.release()
    assert ids(tmp_path) == content.ids()[20:40]


def test_a_recovered_ledger_knows_contents_apart(tmp_path: Path) -> None:
    """Another line at an equal offset of an equal identity has another checksum, so it is written."""
    output = reopened(tmp_path)
    ship(output, FakeContent(text(20)))
    output.release()
    lose(tmp_path)
    other = FakeContent(text(1) + text(19, first=91))
    again = reopened(tmp_path)
    ship(again, other)
    again.release()
    assert sorted({*FakeContent(text(20)).ids(), *other.ids()}) == sorted(ids(tmp_path))


def test_day_files_without_any_trace_of_a_ledger_are_left_alone(tmp_path: Path) -> None:
    """With the whole `.shipper` gone nothing says that the files are ours; but what they hold is not written again."""
    output = reopened(tmp_path)
    content = FakeContent(text(5))
    ship(output, content)
    output.release()
    for path in (tmp_path / ".shipper").iterdir():
        path.unlink()
    again = reopened(tmp_path)
    ship(again, content)
    assert (content.ids(), []) == (ids(tmp_path, DAY_FILE), ids(tmp_path, f"{INDEX}-2.ndjson"))
    other = FakeContent(text(3), identity="ba9876543210")
    ship(again, other)
    again.release()
    assert (content.ids(), other.ids()) == (ids(tmp_path, DAY_FILE), ids(tmp_path, f"{INDEX}-2.ndjson"))


# Errors ------------------------------------------------------------------------------------------------


def started(directory: Path, **given: object) -> LocalOutput:
    output = new_output(directory, **given)
    output.start()
    return output


def close(output: LocalOutput, *, within_seconds: float = 10.0) -> bool:
    return output.close(deadline=time.monotonic() + within_seconds)


def until(condition: Callable[[], bool], what: str) -> None:
    wait_until(condition, what=what, timeout_seconds=20)


def test_a_failing_disk_is_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is done while it fails, partial writes are cut, it is said once, and all arrives once it works again."""
    caplog.set_level(logging.INFO)
    registry = CollectorRegistry()
    done: list[Documents] = []
    output = started(tmp_path, telemetry=Telemetry(registry=registry))
    content = FakeContent(text(4000))
    with files_at_most(200_000):
        output.submit(documents_of(content, done=done.append))
        until(lambda: not output.status().is_up, "the output is down")
        error = output.status().error
        assert (str(tmp_path) in error, "File too large" in error) == (True, True)
        assert registry.get_sample_value("shipper_output_up") == 0
        assert (done, output.status().pending) == ([], 4000)
    until(lambda: bool(done), "the documents are done")
    assert close(output)
    assert content.ids() == ids(tmp_path)
    assert registry.get_sample_value("shipper_output_up") == 1
    assert output.status().error == ""
    assert [record.levelno for record in caplog.records] == [logging.ERROR, logging.INFO]


@pytest.mark.parametrize("place", ["before_write", "after_write", "after_sync", "before_commit", "after_commit"])
def test_an_error_at_any_step_repeats_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """Whatever step fails three times, each line is there once and each batch is done once."""
    failures = 3

    def failing(here: str) -> None:
        nonlocal failures
        if here == f"local.{place}" and failures:
            failures -= 1
            raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr("shipper.local.groupcommit.failpoint", failing)
    monkeypatch.setattr("shipper.local.dayfiles.failpoint", failing)
    letter = DeadLetter("id", INDEX, "app", "/f", 0, "time_in_future", b"{}")
    kept = KeptDeadLetters()
    done: list[Documents] = []
    output = new_output(tmp_path, dead_letters=kept)
    output.open()
    content = FakeContent(MIDNIGHT)
    half = len(text(30))
    assert deliver(
        output,
        documents_of(content, end=half, done=done.append, dead_letters=[letter]),
        documents_of(content, start=half, done=done.append),
    )
    output.release()
    assert sorted(content.ids()) == sorted(ids(tmp_path))
    assert (failures, len(done), kept.records) == (0, 2, [letter])


def test_a_failing_commit_is_waited_for(output: LocalOutput, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite's own errors count like the disk's; the files that were synced for it are not written again."""
    failures = 3
    real = output._ledger.commit

    def failing(**given: object) -> None:
        nonlocal failures
        if "contents" in given and failures:
            failures -= 1
            raise sqlite3.OperationalError("database or disk is full")
        real(**given)  # type: ignore[arg-type]

    monkeypatch.setattr(output._ledger, "commit", failing)
    content = FakeContent(text(5))
    assert deliver(output, documents_of(content))
    assert content.ids() == ids(tmp_path / "out")


def test_a_directory_that_went_away_is_waited_for(tmp_path: Path) -> None:
    """Lines that come meanwhile are kept, and written when it is back at its place."""
    output = started(tmp_path / "out")
    content = FakeContent(text(5))
    output.submit(documents_of(content))
    until(lambda: output.status().pending == 0, "the first are done")
    (tmp_path / "out").rename(tmp_path / "away")
    content.data += text(5, first=5)
    output.submit(documents_of(content, start=len(text(5))))
    until(lambda: not output.status().is_up, "the output is down")
    (tmp_path / "away").rename(tmp_path / "out")
    until(lambda: output.status().is_up, "the output is up")
    assert close(output)
    assert content.ids() == ids(tmp_path / "out")


def test_an_emptied_place_is_used_again(tmp_path: Path) -> None:
    """Where the directory was removed and made again, empty, writing goes on with everything that is still to come."""
    output = started(tmp_path / "out")
    content = FakeContent(text(5))
    output.submit(documents_of(content))
    until(lambda: output.status().pending == 0, "the first are done")
    (tmp_path / "out").rename(tmp_path / "away")
    content.data += text(5, first=5)
    output.submit(documents_of(content, start=len(text(5))))
    until(lambda: not output.status().is_up, "the output is down")
    (tmp_path / "out").mkdir()
    assert close(output)
    assert content.ids()[5:] == ids(tmp_path / "out")


# The writer's thread --------------------------------------------------------------------------------------


def test_close_delivers_what_waits(tmp_path: Path) -> None:
    """All that was submitted is committed at once, and the directory is free."""
    output = started(tmp_path)
    content = FakeContent(text(100))
    for start, end in ((0, len(text(40))), (len(text(40)), len(content.data))):
        output.submit(documents_of(content, start=start, end=end))
    assert close(output)
    assert content.ids() == ids(tmp_path)
    reopened(tmp_path).release()


def test_close_gives_up_at_its_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing can be written it returns False in time and lets go; the next run has the lines."""
    output = started(tmp_path)
    content = FakeContent(text(5))

    def full(_index: str, _parts: object) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(output._files, "write", full)
    output.submit(documents_of(content))
    began = time.monotonic()
    assert not close(output, within_seconds=0.2)
    assert time.monotonic() - began < 5
    assert output.status().pending == 5
    again = reopened(tmp_path)
    ship(again, content)
    again.release()
    assert content.ids() == ids(tmp_path)


def test_a_pipeline_that_has_not_ended_yet_is_no_harm(tmp_path: Path) -> None:
    """It may be in a scan while a stop closes the output: what it asks and hands over then has no effect."""
    output = started(tmp_path)
    ship_to, content = text(5), FakeContent(text(10))
    output.submit(documents_of(content, end=len(ship_to)))
    assert close(output)
    late = FakeContent(text(3), identity="ba9876543210")
    assert () == output.covered(late)
    output.submit(documents_of(late))
    output.submit(documents_of(content, start=len(ship_to)))
    again = reopened(tmp_path)
    ship(again, content)
    ship(again, late)
    again.release()
    assert content.ids() + late.ids() == ids(tmp_path)


def test_close_ends_a_long_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A back-off of minutes is interrupted: what was waited for is tried at once."""
    output = started(tmp_path, longest_wait_seconds=600)
    output._retrying.wait = lambda _state: 600.0
    real, failures = output._files.write, 1

    def once_full(index_name: str, parts: list[bytes]) -> object:
        nonlocal failures
        if failures:
            failures -= 1
            raise OSError(errno.ENOSPC, "no space left on device")
        return real(index_name, parts)

    monkeypatch.setattr(output._files, "write", once_full)
    output.submit(documents_of(FakeContent(text(5))))
    until(lambda: not output.status().is_up, "the output is down")
    assert close(output)
    assert len(ids(tmp_path)) == 5


def test_a_writer_that_ends_by_a_bug_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`on_crash` is called, the directory is free, and close does not claim success."""
    crashed = threading.Event()
    output = started(tmp_path, on_crash=crashed.set)

    def broken(_index: str, _parts: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(output._files, "write", broken)
    output.submit(documents_of(FakeContent(text(5))))
    assert crashed.wait(20)
    assert not close(output)
    reopened(tmp_path).release()


def test_documents_under_way_are_bounded(tmp_path: Path) -> None:
    """There is no room while much waits, documents without a body count too, and room again when it is done."""
    output = new_output(tmp_path)
    output.open()
    content = FakeContent(text(2000))
    assert output.has_room()
    while output.has_room():
        output.submit(documents_of(content))
    assert output.status().pending > 2000
    output.deliver(output.take())
    assert output.has_room()
    empty = documents_of(content, covered=[(0, len(content.data))])
    while output.has_room():
        output.submit(empty)
    output.deliver(output.take())
    output.release()


def test_commits_are_grouped(tmp_path: Path) -> None:
    """After a commit the next waits for its time, unless much waits or somebody is in a hurry."""
    clock = Clock()
    output = new_output(tmp_path, monotonic=clock)
    output.open()
    content = FakeContent(text(4))
    assert not output._is_due()
    output.submit(documents_of(content))
    assert output._is_due()
    output.deliver(output.take())
    output.submit(documents_of(content))
    assert (output._is_due(), output._idle_seconds()) == (False, local.COMMIT_SECONDS)
    clock.now += local.COMMIT_SECONDS
    assert output._is_due()
    output.deliver(output.take())
    output.submit(documents_of(content))
    output.flush()
    assert output._is_due()
    output.deliver(output.take())
    output._queued_bytes = local.COMMIT_BYTES
    output.submit(documents_of(content))
    assert output._is_due()
    output.deliver(output.take())
    assert (output._is_due(), output._idle_seconds()) == (False, None)
    output.release()


# Retention ------------------------------------------------------------------------------------------------


def test_old_day_files_are_deleted(tmp_path: Path) -> None:
    """keep_days counts from the last write; deleted lines stay known, strangers stay, a deleted day may come back."""
    clock = Clock(now=time.time())
    output = new_output(tmp_path, keep_days=3, clock=clock)
    output.open()
    content = FakeContent(MIDNIGHT)
    ship(output, content)
    stranger = tmp_path / "logs-2020.01.01.ndjson"
    stranger.write_bytes(b"theirs\n")
    for path in (tmp_path / DAY_FILE, stranger):
        os.utime(path, (clock.now - 4 * DAY, clock.now - 4 * DAY))
    output._tidy()
    assert sorted(path.name for path in tmp_path.glob("*.ndjson")) == [stranger.name, "logs-2024.01.16.ndjson"]
    content.data += text(2, first=45)
    ship(output, content)
    output.release()
    assert ids(tmp_path, DAY_FILE) == content.ids()[45:]
    assert sorted(ledger_names(tmp_path)) == [DAY_FILE, "logs-2024.01.16.ndjson"]


def test_the_oldest_days_go_beyond_max_bytes(tmp_path: Path) -> None:
    """The size is looked at after each commit; the newest day stays."""
    output = new_output(tmp_path, max_bytes=3000)
    output.open()
    for day in (17, 15, 16):
        ship(output, FakeContent(text(20, index_name=f"logs-2024.01.{day}"), identity=f"{day:012d}"))
        output._tidy()
    assert [path.name for path in tmp_path.glob("*.ndjson")] == ["logs-2024.01.17.ndjson"]
    output.release()


@pytest.mark.parametrize("is_unlinked", [True, False])
def test_a_crash_while_deleting_confuses_nobody(tmp_path: Path, is_unlinked: bool) -> None:
    """A file that was doomed and perhaps gone when the process died is gone after the next start, without a warning."""
    output = reopened(tmp_path)
    content = FakeContent(text(5))
    ship(output, content)
    doomed = [row._replace(is_doomed=True) for row in output._ledger.files()]
    output._ledger.commit(files=doomed)
    if is_unlinked:
        (tmp_path / DAY_FILE).unlink()
    output.release()
    again = reopened(tmp_path)
    again._tidy()
    content.data += text(1, first=5)
    ship(again, content)
    again.release()
    assert content.ids()[5:] == ids(tmp_path)
    assert ledger_names(tmp_path) == {DAY_FILE: (tmp_path / DAY_FILE).stat().st_size}


def test_a_deletion_that_fails_is_no_outage(
    output: LocalOutput, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said once and tried again; the output stays up."""

    def refused(**_given: object) -> None:
        raise PermissionError(errno.EPERM, "not permitted")

    monkeypatch.setattr(output._files, "expire", refused)
    for _ in range(2):
        output._tidy_at = 0.0
        output._tidy()
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert output.status().is_up


def test_the_frame_makes_valid_json() -> None:
    """What stands around the parts of a document is JSON and names what elasticdump, jq and DuckDB expect."""
    before_index, before_id, before_source, end = local.FRAME
    line = b"".join((before_index, b"i", before_id, b"d", before_source, b"{}", end))
    assert json.loads(line) == {"_index": "i", "_id": "d", "_source": {}}
    assert line.endswith(b"}\n")


def test_the_writer_takes_nobody_down_when_idle(tmp_path: Path) -> None:
    """An output that never got anything closes at once, with success."""
    output = started(tmp_path, on_crash=fail)
    assert close(output)
    assert output.status().name == str(tmp_path)


@pytest.mark.parametrize("target", [f"{INDEX}.ndjson", "expired.ndjson"], ids=["link", "dangling"])
def test_links_to_day_files_are_passed_by(output: LocalOutput, tmp_path: Path, target: str) -> None:
    """Where ids are looked up: one that leads nowhere any more stops nothing."""
    content = FakeContent(text(100))
    assert deliver(output, documents_of(content))
    (tmp_path / "out/latest.ndjson").symlink_to(target)
    output.forget(FakeContent(text(40)), 1024)
    more = FakeContent(text(5), identity="ba9876543210")
    assert deliver(output, documents_of(more))
    output.release()

    (tmp_path / "out/latest.ndjson").unlink()
    assert sorted([*content.ids(), *more.ids()]) == sorted(ids(tmp_path / "out"))


def test_what_comes_again_of_a_cut_content_is_not_written_again(output: LocalOutput, tmp_path: Path) -> None:
    """Its lines are sent from the beginning; the day files know which of them are there, over a restart as well."""
    content = FakeContent(text(100))
    assert deliver(output, documents_of(content))
    before = ids(tmp_path / "out")
    cut = FakeContent(text(40) + text(10, first=500))
    output.forget(cut, 1024)
    output.release()

    again = reopened(tmp_path / "out")
    assert deliver(again, documents_of(cut))
    again.release()

    assert sorted({*before, *cut.ids()}) == sorted(ids(tmp_path / "out"))


def test_what_waits_of_a_content_that_is_cut_is_written_once(output: LocalOutput, tmp_path: Path) -> None:
    """Its lines are sent again, and those that were sent before the cut are not written yet."""
    content = FakeContent(text(100))
    output.submit(documents_of(content))
    output.forget(content, 1024)
    output.submit(documents_of(content))
    output.deliver(output.take())
    output.release()

    assert sorted(content.ids()) == sorted(ids(tmp_path / "out"))


def test_what_is_just_being_written_when_its_content_is_cut_is_written_once(
    output: LocalOutput, tmp_path: Path
) -> None:
    """What the day files have is looked up after that, not before."""
    content = FakeContent(text(100))
    output.submit(documents_of(content))
    taken = output.take()
    output.forget(content, 1024)
    output.submit(documents_of(content))
    output.deliver(taken)
    output.deliver(output.take())
    output.release()

    assert sorted(content.ids()) == sorted(ids(tmp_path / "out"))
