"""The ledger: coverage, which contents agree, the lock, commits, a corrupt or removed file."""

from __future__ import annotations

import os
import sqlite3
from array import array
from pathlib import Path

import pytest
from local_support import FakeContent, text

from shipper.batch import Mark
from shipper.errors import InUseError, OutputError
from shipper.local.coverage import (
    REMEMBERED_IDENTITIES,
    Contents,
    Coverage,
    Record,
    agreeing,
    clipped,
    equal_until,
    merged,
)
from shipper.local.ledger import FileRow, Ledger, LostError, Recovered


def opened(tmp_path: Path) -> Ledger:
    ledger = Ledger(directory=tmp_path / ".shipper")
    ledger.open()
    if ledger.is_new:
        ledger.create(())
    return ledger


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [
        ([], ()),
        ([(0, 5)], ((0, 5),)),
        ([(0, 5), (5, 9)], ((0, 9),)),
        ([(5, 9), (0, 5)], ((0, 9),)),
        ([(0, 5), (6, 9)], ((0, 5), (6, 9))),
        ([(0, 9), (2, 3)], ((0, 9),)),
        ([(0, 4), (2, 7), (8, 9), (7, 8)], ((0, 9),)),
        ([(3, 5), (0, 1), (3, 5)], ((0, 1), (3, 5))),
    ],
)
def test_ranges_merge(ranges: list[tuple[int, int]], expected: tuple[tuple[int, int], ...]) -> None:
    """Ranges that overlap or touch become one, in ascending order."""
    assert expected == merged(ranges)


def test_marks_stay_few() -> None:
    """Of a growing range only its last end, the powers of two, and the first below 1 KiB keep their marks."""
    content = FakeContent(text(1000))
    coverage = Coverage()
    for end in (*range(10, 700, 10), 1500, 2900, 3000):
        coverage = coverage.plus(coverage.ranges[-1][1] if coverage.ranges else 0, end, content.marks_at(end))
    assert coverage.ranges == ((0, 3000),)
    assert [mark.position for mark in coverage.marks] == [*range(10, 250, 10), 1024, 2048, 3000]


def test_an_empty_range_changes_nothing() -> None:
    """A range without bytes is no range."""
    coverage = Coverage(((0, 5),), (Mark(5, 1),))
    assert coverage is coverage.plus(7, 7, [Mark(7, 2)])


def test_each_range_keeps_its_end_mark() -> None:
    """Two ranges apart keep a mark at both ends; filling the gap drops the inner one."""
    content = FakeContent(text(300))
    apart = Coverage().plus(0, 1300, content.marks_at(1300)).plus(1600, 1900, content.marks_at(1900))
    assert [mark.position for mark in apart.marks] == [1024, 1300, 1900]
    joined = apart.plus(1300, 1600, content.marks_at(1600))
    assert (joined.ranges, [mark.position for mark in joined.marks]) == (((0, 1900),), [1024, 1900])


def record_of(content: FakeContent, end: int, *, key: int = 1) -> Record:
    coverage = Coverage().plus(0, end, content.marks_at(end))
    return Record(key=key, identity=content.identity, coverage=coverage, committed=coverage)


LONG = text(500)
OTHER = LONG[:30] + text(500, first=7000)


@pytest.mark.parametrize(
    ("known", "end", "now", "expected"),
    [
        pytest.param(LONG, 5000, LONG, True, id="the same"),
        pytest.param(LONG, 5000, LONG + text(9), True, id="grown"),
        pytest.param(LONG, 5000, OTHER, False, id="written anew behind an equal first line"),
        pytest.param(LONG, 5000, LONG[:3000], True, id="shorter, equal as far as marks reach"),
        pytest.param(LONG, 5000, OTHER[:3000], False, id="shorter and another"),
        pytest.param(LONG, 5000, LONG[:500], False, id="too short for any mark"),
        pytest.param(LONG, 5000, b"", False, id="empty"),
        pytest.param(LONG, 400, LONG[:400], True, id="short, but marked at its end"),
    ],
)
def test_which_content_agrees(known: bytes, end: int, now: bytes, expected: bool) -> None:
    """A content is the one of a record if it has all of the record's marks that lie within it, and one at least."""
    assert expected == bool(agreeing([record_of(FakeContent(known), end)], FakeContent(now)))


def test_the_farthest_agreeing_record_stands_last() -> None:
    """Of several records that agree, new ranges go to the one that knows most."""
    content = FakeContent(LONG)
    far, near = record_of(content, 5000, key=1), record_of(content, 2500, key=2)
    assert [near, far] == agreeing([far, near], content)


def test_without_marks_nothing_agrees() -> None:
    """A record that has no marks says nothing of any content."""
    record = Record(key=1, identity="x", coverage=Coverage(((0, 5),), ()), committed=None)
    assert agreeing([record], FakeContent(LONG)) == []


class Loaded:
    """Counts how often an identity was loaded."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.keys = 0

    def load(self, identity: str) -> list[Record]:
        self.asked.append(identity)
        return []

    def new(self, identity: str) -> Record:
        self.keys += 1
        return Record(key=self.keys, identity=identity, coverage=Coverage(), committed=None)


def test_a_second_content_of_one_identity_is_not_covered() -> None:
    """After a truncation the equal first line gives an equal identity; only that line counts as there."""
    contents = Contents(load=Loaded().load, new=Loaded().new)
    before, after = FakeContent(LONG), FakeContent(OTHER)
    contents.extend(before, 0, 5000)
    assert (contents.covered(before), contents.covered(after)) == (((0, 5000),), ((0, 1),))
    assert contents.extend(before, 5000, 6000) is not contents.extend(after, 0, 3000)
    assert (contents.covered(before), contents.covered(after)) == (((0, 6000),), ((0, 3000),))


@pytest.mark.parametrize(
    ("known", "now", "expected"),
    [
        pytest.param(LONG, OTHER, 1, id="only the first line"),
        pytest.param(LONG, LONG[:2500] + OTHER[2500:], 2048, id="equal for a while"),
        pytest.param(LONG, LONG[:50], 1, id="too short for marks"),
    ],
)
def test_how_far_contents_are_equal(known: bytes, now: bytes, expected: int) -> None:
    """Lines at the start that two contents share are the same documents, as far as marks or the identity say so."""
    assert expected == equal_until(record_of(FakeContent(known), 5000), FakeContent(now))


def test_ranges_are_clipped() -> None:
    """What begins at or behind the end goes, what reaches over it ends there."""
    assert clipped(((0, 5), (7, 20), (30, 40)), 10) == [(0, 5), (7, 10)]
    assert clipped(((3, 5),), 1) == []


def test_a_renamed_file_is_the_same_content() -> None:
    """Another object for an equal content goes on in the same record, also before that was committed."""
    contents = Contents(load=Loaded().load, new=Loaded().new)
    first = contents.extend(FakeContent(LONG), 0, 5000)
    assert first is contents.extend(FakeContent(LONG), 5000, 6000)


def test_a_content_that_is_shorter_than_its_record_has_another() -> None:
    """What both surely share is covered; of the rest nobody can say yet, and that is said once."""
    contents = Contents(load=Loaded().load, new=Loaded().new)
    known = contents.extend(FakeContent(LONG), 0, 9000)
    shorter = FakeContent(LONG[:1500])
    assert (contents.covered(shorter), contents.has_doubt()) == (((0, 1024),), True)
    assert known is not contents.extend(shorter, 1024, 1500)
    assert (contents.covered(shorter), contents.has_doubt()) == (((0, 1500),), False)


def test_a_content_that_turns_out_another_leaves_its_record() -> None:
    """A file that is emptied and written again while it speaks for a record gets one of its own."""
    contents = Contents(load=Loaded().load, new=Loaded().new)
    growing = FakeContent(LONG)
    known = contents.extend(growing, 0, 3000)
    growing.data = LONG[:1500] + text(900, first=5000)
    assert contents.covered(growing) == ((0, 1024),)
    assert known is not contents.extend(growing, 1500, 3000)


def test_a_first_line_alone_makes_no_doubt() -> None:
    """Every file of a service may begin with it: that is no reason to look through all day files."""
    contents = Contents(load=Loaded().load, new=Loaded().new)
    contents.extend(FakeContent(LONG), 0, 9000)
    assert (contents.covered(FakeContent(OTHER)), contents.has_doubt()) == (((0, 1),), False)


def test_contents_are_remembered_within_bounds() -> None:
    """Identities used longest ago are forgotten, those with something not committed never."""
    loaded = Loaded()
    contents = Contents(load=loaded.load, new=loaded.new)
    on_its_way = FakeContent(LONG, identity="on its way")
    contents.extend(on_its_way, 0, 3000)
    for number in range(REMEMBERED_IDENTITIES * 2):
        contents.covered(FakeContent(LONG, identity=str(number)))
    assert contents.covered(on_its_way) == ((0, 3000),)
    assert len(contents._records) == REMEMBERED_IDENTITIES
    assert loaded.asked.count("on its way") == 1


def test_what_is_committed_is_there_after_reopening(tmp_path: Path) -> None:
    """Files and contents survive; new records get keys that were never used."""
    ledger = opened(tmp_path)
    content = FakeContent(LONG)
    record = ledger.new_record(content.identity)
    coverage = Coverage().plus(0, 5000, content.marks_at(5000))
    row = FileRow("a.ndjson", "a", 12, (Mark(12, (1 << 64) - 1),))
    ledger.commit(files=[row, FileRow("b.ndjson", "b")], contents=[(record, coverage)])
    ledger.commit(gone=["b.ndjson"])
    ledger.close()
    ledger = opened(tmp_path)
    assert [row] == ledger.files()
    (found,) = ledger.contents(content.identity)
    assert (record.key, coverage, coverage) == (found.key, found.coverage, found.committed)
    assert ledger.new_record("y").key > record.key
    ledger.close()


def test_a_failed_commit_leaves_nothing(tmp_path: Path) -> None:
    """A commit that fails half-way is undone as a whole, and the next one works."""
    ledger = opened(tmp_path)
    with pytest.raises(ZeroDivisionError):
        ledger.commit(files=(FileRow(str(1 // n), "x") for n in (1, 0)))
    assert ledger.files() == []
    ledger.commit(files=[FileRow("a", "a")])
    assert [row.name for row in ledger.files()] == ["a"]
    ledger.close()


def test_a_directory_has_one_writer(tmp_path: Path) -> None:
    """A second opening is refused and names the process that holds the first; after closing it is free."""
    first = opened(tmp_path)
    with pytest.raises(InUseError, match=f"process {os.getpid()}"):
        opened(tmp_path)
    first.close()
    opened(tmp_path).close()


def test_a_deleted_lock_file_does_not_let_a_second_writer_in(tmp_path: Path) -> None:
    """SQLite's own lock refuses as well."""
    first = opened(tmp_path)
    first.pid_path.unlink()
    with pytest.raises(InUseError):
        opened(tmp_path)
    first.close()


def test_files_of_the_ledger_are_private(tmp_path: Path) -> None:
    """The directory is 0700 and what lies in it 0600."""
    ledger = opened(tmp_path)
    ledger.commit(files=[FileRow("a", "a")])
    modes = {path.name: path.stat().st_mode & 0o777 for path in ledger.directory.iterdir()}
    assert modes == {"ledger.db": 0o600, "ledger.db-wal": 0o600, "ledger.pid": 0o600}
    assert ledger.directory.stat().st_mode & 0o777 == 0o700
    ledger.close()


def test_a_fresh_directory_has_lost_nothing(tmp_path: Path) -> None:
    """Where no ledger was, none is missing."""
    ledger = opened(tmp_path)
    assert (ledger.is_lost, ledger.set_aside) == (False, None)
    ledger.close()


def test_a_removed_ledger_is_noticed(tmp_path: Path) -> None:
    """If only the file with the pid is left, a ledger was there: it counts as lost until it is made again."""
    ledger = opened(tmp_path)
    ledger.close()
    ledger.path.unlink()
    again = opened(tmp_path)
    assert again.is_lost
    again.create([Recovered(FileRow("a", "a", 3), {"i": array("Q", [1, 5])})])
    assert (False, [FileRow("a", "a", 3)], [array("Q", [1, 5])], []) == (
        again.is_lost,
        again.files(),
        again.known_ids("i"),
        again.known_ids("j"),
    )
    again.close()
    assert not opened(tmp_path).is_lost


def test_a_recovery_that_was_cut_short_begins_again(tmp_path: Path) -> None:
    """What a failed `create` leaves still counts as lost."""
    ledger = opened(tmp_path)
    ledger.close()
    ledger.path.unlink()
    second = opened(tmp_path)
    with pytest.raises(ZeroDivisionError):
        second.create(Recovered(FileRow(str(1 // n), "x"), {}) for n in (1, 0))
    second.close()
    third = opened(tmp_path)
    assert third.is_lost
    third.close()


@pytest.mark.parametrize("damage", [b"no database" * 100, b"\0" * 8192], ids=["garbage", "zeros"])
def test_a_corrupt_ledger_is_set_aside(tmp_path: Path, damage: bytes) -> None:
    """A file that is no database any more keeps its bytes under a name of its own, and a new one counts as lost."""
    ledger = opened(tmp_path)
    ledger.close()
    ledger.path.write_bytes(damage)
    again = opened(tmp_path)
    assert again.is_lost
    assert again.set_aside is not None
    assert damage == again.set_aside.read_bytes()
    again.close()


def test_damage_within_the_ledger_is_found(tmp_path: Path) -> None:
    """Pages overwritten in the middle are found at start, not at some later question."""
    ledger = opened(tmp_path)
    ledger.commit(files=[FileRow(f"{number}.ndjson", "x" * 200) for number in range(500)])
    ledger.close()
    with ledger.path.open("r+b") as file:
        file.seek(5 * 4096)
        file.write(b"\xff" * 4096)
    again = opened(tmp_path)
    assert again.set_aside is not None
    again.close()


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    """What a newer version wrote is neither read nor set aside."""
    ledger = opened(tmp_path)
    ledger.close()
    connection = sqlite3.connect(ledger.path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(OutputError, match="newer version"):
        opened(tmp_path)
    assert ledger.path.exists()


@pytest.mark.parametrize("is_locked", [True, False])
def test_a_ledger_removed_while_open_is_put_back(tmp_path: Path, is_locked: bool) -> None:
    """All of it stands at its path again, and keys that are on their way stay unique."""
    ledger = opened(tmp_path)
    ledger.commit(files=[FileRow("a", "a", 7)])
    record = ledger.new_record("i")
    for path in ledger.directory.iterdir():
        if not (is_locked and path == ledger.pid_path):
            path.unlink()
    if not is_locked:
        ledger.directory.rmdir()
    assert not ledger.is_in_place()
    ledger.put_back()
    assert ledger.is_in_place()
    assert [FileRow("a", "a", 7)] == ledger.files()
    assert ledger.new_record("i").key > record.key
    ledger.commit(files=[FileRow("b", "b", 8)])
    with pytest.raises(InUseError, match=f"process {os.getpid()}"):
        opened(tmp_path)
    ledger.close()
    again = opened(tmp_path)
    assert [FileRow("a", "a", 7), FileRow("b", "b", 8)] == again.files()
    again.close()


def test_another_ledger_in_its_place_is_not_overwritten(tmp_path: Path) -> None:
    """Who finds a ledger that is not its own has to end."""
    ledger = opened(tmp_path)
    ledger.directory.rename(tmp_path / "moved")
    other = opened(tmp_path)
    with pytest.raises(LostError):
        ledger.is_in_place()
    ledger.close()
    other.close()
