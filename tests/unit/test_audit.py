"""The audit: what it makes of each line, of files of all kinds, beside a daemon and without one."""

from __future__ import annotations

import bz2
import gc
import gzip
import io
import itertools
import json
import os
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from shipper.audit import Auditor, audit, kept_aside, position_of
from shipper.batch import Content, DeadLetter
from shipper.config import CommandLine, zero_config
from shipper.control import ControlServer
from shipper.copied import copied
from shipper.deadletter import DeadLetterWriter
from shipper.discover import Found
from shipper.errors import ConfigError, OutputError, StateError
from shipper.idset import IdSet
from shipper.overview import duration, overview
from shipper.positions import FilePosition, Positions, positions_at
from shipper.presence import AT_ONCE, Presence
from shipper.progress import Progress
from shipper.reread import Line, Reread, Rereader
from shipper.settings import (
    DropSettings,
    Format,
    LocalSettings,
    OutputSettings,
    Settings,
    SourceSettings,
)
from shipper.state import Commit, FileRecord, open_state
from shipper.targets import Targets, targets
from shipper.telemetry import Telemetry
from shipper.verdicts import FileReport, Place, Report


def text_of(count: int, *, first: int = 0) -> bytes:
    """So many request lines."""
    lines = (
        json.dumps({"timestamp": f"2024-01-15T10:30:{n % 60:02d}.123Z", "url": f"/{n}", "duration": n})
        for n in range(first, first + count)
    )
    return "".join(f"{line}\n" for line in lines).encode()


class MemoryShelf:
    """An output that has these ids, cannot say of those, and counts how often it is asked."""

    repeated = 0

    def __init__(self) -> None:
        self.ids: set[tuple[str, str]] = set()
        self.unknown: set[str] = set()
        self.problems: dict[str, str] = {}
        self.questions: list[int] = []

    def look_up(self, index: str, ids: Sequence[str]) -> list[Presence]:
        self.questions.append(len(ids))
        return [
            Presence.UNKNOWN if one in self.unknown else Presence.THERE if (index, one) in self.ids else Presence.ABSENT
            for one in ids
        ]

    def has_index(self, index: str) -> bool:
        return True

    def deleted(self, content: Content) -> Sequence[tuple[int, int]]:
        return ()


@contextmanager
def _opening(rereader: Rereader, found: Found) -> Iterator[Reread]:
    """A file, opened only when it is asked for."""
    with rereader.open(found) as file:
        yield file


class Bench:
    """Files in a directory, and an auditor over a shelf that has them all at first."""

    def __init__(self, directory: Path, **source: Any) -> None:
        self.directory = directory
        (directory / "state").mkdir()
        drop = source.pop("drop", ())
        self.source = SourceSettings(name="app", paths=(str(directory / "*.log*"),), **source)
        self.settings = Settings(sources=(self.source,), state=str(directory / "state"), host="here", drop=drop)
        self.rereader = Rereader(settings=self.settings, source=self.source)
        self.shelf = MemoryShelf()
        self.positions: Positions | None = None
        self._scratch = itertools.count()

    def found(self, path: Path) -> Found:
        facts = path.stat()
        real = os.path.realpath(path)
        return Found(self.source, str(path), real, facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns)

    def lines(self, path: Path) -> list[Line]:
        with self.rereader.open(self.found(path)) as file:
            return [line for piece in file.pieces() for line in piece.lines]

    def deliver(self, path: Path) -> list[Line]:
        """Put all of a file's lines on the shelf."""
        lines = self.lines(path)
        self.shelf.ids |= {(line.index_name, line.id) for line in lines}
        return lines

    def position(self, path: Path, shipped: int, *, shipped_from: int = 0, is_running: bool = True) -> None:
        """Say how far the daemon has shipped a file."""
        found = self.found(path)
        with self.rereader.open(found) as file:
            identity = file.identity
        one = FilePosition(
            path=str(path),
            source="app",
            identity=identity,
            device=found.device,
            inode=found.inode,
            size=found.size,
            observed_from=0,
            observed=0,
            shipped_from=shipped_from,
            shipped=shipped,
        )
        self.positions = Positions(is_running=is_running, files=[one])

    def audit(self, *paths: Path, show: int = 3, is_followed: bool = True) -> list[FileReport]:
        identities = set()
        for path in paths:
            with self.rereader.open(self.found(path)) as file:
                identities.add(file.identity)
        scratch = self.directory / f"scratch-{next(self._scratch)}"
        scratch.mkdir()
        auditor = Auditor(
            shelf=self.shelf,
            kept=kept_aside(self.directory / "state", scratch=scratch),
            positions=self.positions,
            identities=frozenset(identities),
            show=show,
        )
        reports = [
            auditor.audit(
                _opening(self.rereader, self.found(path)),
                path=str(path),
                source="app",
                is_followed=is_followed,
                advance=lambda _: None,
            )
            for path in paths
        ]
        auditor.finish()
        return reports

    def places(self, path: Path, **options: Any) -> dict[str, int]:
        """How many lines are where, of those places that have any."""
        (report,) = self.audit(path, **options)
        return {place.value: count for place, count in report.counts.items() if count}

    def set_aside(self, line: Line, *, is_reduced: bool = False) -> None:
        """Keep a dead letter of a line."""
        letters = DeadLetterWriter(directory=self.directory / "state" / "dead-letter")
        letters.write([DeadLetter(line.id, line.index_name, "app", "app.log", line.offset, "x", b"{}", "", is_reduced)])

    def spool(self, line: Line) -> None:
        """Keep a document of a line on disk for an index that is blocked."""
        directory = self.directory / "state" / "spool"
        directory.mkdir()
        record = {"_index": line.index_name, "_id": line.id, "document": {}}
        (directory / "00000001-x.ndjson").write_text(json.dumps(record) + "\n" + '{"_id":"half')


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A bench with the default settings."""
    return Bench(tmp_path)


# Lines


def test_every_line_that_is_there_is_present(bench: Bench) -> None:
    """Blank lines are none; a line of any kind is one."""
    log = bench.directory / "app.log"
    log.write_bytes(text_of(300) + b"\n\nno JSON\n\xff\n" + b"[" * 200 + b"\n")
    bench.deliver(log)

    assert bench.places(log) == {"present": 303}


def test_a_line_that_is_nowhere_is_missing(bench: Bench) -> None:
    """The first ones are named, by offset."""
    log = bench.directory / "app.log"
    log.write_bytes(text_of(300))
    lines = bench.deliver(log)
    for number in (250, 17, 60, 100):
        bench.shelf.ids.remove((lines[number].index_name, lines[number].id))

    (report,) = bench.audit(log)

    assert (report.lines, report.present, report.counts[Place.MISSING]) == (300, 296, 4)
    assert [lines[number] for number in (17, 60, 100)] == report.first_missing


def test_a_document_in_another_index_is_not_the_line(bench: Bench) -> None:
    """The index is a part of where a line belongs."""
    log = bench.directory / "app.log"
    log.write_bytes(text_of(1))
    bench.shelf.ids = {("logs-2024.01.16", line.id) for line in bench.lines(log)}

    assert bench.places(log) == {"missing": 1}


def test_dead_letters_are_set_aside_or_reduced(bench: Bench) -> None:
    """Set aside is what is in the dead letters alone; beside a document a dead letter says that it is reduced."""
    log = bench.directory / "app.log"
    log.write_bytes(text_of(10))
    lines = bench.deliver(log)
    bench.set_aside(lines[3])
    bench.shelf.ids.remove((lines[3].index_name, lines[3].id))
    bench.set_aside(lines[5], is_reduced=True)
    bench.set_aside(lines[6], is_reduced=True)
    bench.shelf.ids.remove((lines[6].index_name, lines[6].id))

    assert bench.places(log) == {"present": 7, "reduced": 1, "set aside": 1, "missing": 1}


def test_lines_of_the_future_must_be_in_the_dead_letters(bench: Bench) -> None:
    """They are no documents yet; one that was sent all the same is present."""
    log = bench.directory / "app.log"
    log.write_bytes(b"".join(b'{"timestamp":"2099-01-0%dT00:00:00.000Z"}\n' % n for n in (1, 2, 3)))
    first, second, _ = bench.lines(log)
    bench.set_aside(first)
    bench.shelf.ids.add((second.index_name, second.id))

    assert bench.places(log) == {"set aside": 1, "present": 1, "missing": 1}


def test_dropped_lines_are_counted_apart(tmp_path: Path) -> None:
    """And the share of them that is kept has to be there."""
    bench = Bench(tmp_path, drop=(DropSettings(when="duration >= 100", keep=0.1),))
    log = tmp_path / "app.log"
    log.write_bytes(text_of(1100))
    bench.deliver(log)

    places = bench.places(log)

    assert places["present"] + places["dropped"] == 1100
    assert 850 < places["dropped"] < 950


def test_what_the_daemon_has_not_passed_is_not_missing(bench: Bench) -> None:
    """Behind its shipped cursor, lines that are not there have not been shipped yet; before it, they are missing."""
    log = bench.directory / "app.log"
    log.write_bytes(text_of(100))
    lines = bench.lines(log)
    bench.shelf.ids = {(line.index_name, line.id) for line in (*lines[:50], lines[70])} - {
        (lines[20].index_name, lines[20].id)
    }
    bench.position(log, lines[60].offset)

    assert bench.places(log) == {"present": 50, "missing": 11, "not shipped yet": 39}


def test_another_file_under_the_same_header_excuses_nothing(bench: Bench) -> None:
    """The daemon follows the present one, which is short; what an older one lacks behind that is on nobody's way."""
    header = b'{"msg":"log opened"}\n'
    old, log = bench.directory / "old/app.log", bench.directory / "app.log"
    old.parent.mkdir()
    old.write_bytes(header + text_of(100))
    log.write_bytes(header + text_of(10))
    lines = bench.deliver(old)
    bench.deliver(log)
    for line in lines[-30:]:
        bench.shelf.ids.discard((line.index_name, line.id))
    bench.position(log, log.stat().st_size)

    assert bench.places(old, is_followed=False) == {"present": 71, "missing": 30}


def test_what_lay_before_the_start_is_told_apart(bench: Bench) -> None:
    """`start: end` begins behind what lies there at the very first start."""
    log = bench.directory / "app.log"
    log.write_bytes(text_of(100))
    lines = bench.lines(log)
    bench.shelf.ids = {(line.index_name, line.id) for line in lines[40:90]}
    bench.position(log, lines[90].offset, shipped_from=lines[40].offset)

    assert bench.places(log) == {"before the start": 40, "present": 50, "not shipped yet": 10}


@pytest.mark.parametrize(
    ("is_running", "is_followed", "expected"),
    [(True, True, "not shipped yet"), (True, False, "missing"), (False, True, "missing")],
)
def test_a_file_that_the_daemon_does_not_know(
    bench: Bench, *, is_running: bool, is_followed: bool, expected: str
) -> None:
    """Will be shipped if it is followed by one that runs; else nobody will."""
    log = bench.directory / "app.log"
    log.write_bytes(text_of(5))
    bench.positions = Positions(is_running=is_running, files=[])

    assert bench.places(log, is_followed=is_followed) == {expected: 5}


def test_what_waits_on_disk_is_not_missing(bench: Bench) -> None:
    """A document in the spool has been passed, and is safe; half a record there is passed over."""
    log = bench.directory / "app.log"
    log.write_bytes(text_of(2))
    lines = bench.lines(log)
    bench.spool(lines[0])
    bench.position(log, log.stat().st_size)

    assert bench.places(log) == {"not shipped yet": 1, "missing": 1}


def test_what_the_output_cannot_say_is_unknown(bench: Bench) -> None:
    """A closed index is no loss, and no success."""
    log = bench.directory / "app.log"
    log.write_bytes(text_of(3))
    lines = bench.deliver(log)
    bench.shelf.unknown = {lines[1].id}

    (report,) = bench.audit(log)

    assert (report.counts[Place.UNKNOWN], report.present) == (1, 2)
    assert not Report("es", is_running=True, files=[report]).is_good


# Files


def test_an_archive_has_the_same_lines(bench: Bench) -> None:
    """A renamed file, its .gz with several members, and a copy elsewhere: same identity, same ids."""
    log = bench.directory / "app-2024-01-15.log"
    text = text_of(500)
    log.write_bytes(text)
    lines = bench.deliver(log)
    archive = bench.directory / "app-2024-01-15.log.3.gz"
    archive.write_bytes(gzip.compress(text[:9000]) + gzip.compress(text[9000:]))

    assert lines == bench.lines(archive)
    assert bench.places(archive) == {"present": 500}


def test_an_unfinished_last_line(bench: Bench) -> None:
    """In a plain file it may go on, and is only looked for; in a complete archive it is a line like others."""
    log, archive = bench.directory / "app.log", bench.directory / "app.log.1.gz"
    text = text_of(2) + b'{"last":1}'
    log.write_bytes(text)
    archive.write_bytes(gzip.compress(text))
    lines = bench.lines(log)
    bench.shelf.ids = {(line.index_name, line.id) for line in lines[:2]}

    assert bench.places(log) == {"present": 2, "unfinished": 1}
    assert bench.places(archive) == {"present": 2, "missing": 1}

    bench.shelf.ids.add((lines[2].index_name, lines[2].id))

    assert bench.places(log) == {"present": 3}


def test_a_file_of_one_unfinished_line(bench: Bench) -> None:
    """It is the first line then."""
    log = bench.directory / "app.log"
    log.write_bytes(b'{"only":1}')

    assert bench.places(log) == {"unfinished": 1}


@pytest.mark.parametrize("text", [b"", b"\n\n", b"\0\0\0"])
def test_a_file_without_lines(bench: Bench, text: bytes) -> None:
    """Has none, and none is missing."""
    log = bench.directory / "app.log"
    log.write_bytes(text)

    assert bench.places(log) == {}


BROKEN_MEMBER = b"\x1f\x8b\x08\0\0\0\0\0\0\3" + b"\xff" * 100


@pytest.mark.parametrize(
    ("archive_of", "expected"),
    [
        (lambda text: gzip.compress(text) + BROKEN_MEMBER, "damaged"),
        (lambda text: gzip.compress(text)[:-2000], "ends too early"),
    ],
)
def test_an_archive_is_audited_as_far_as_it_can_be_read(
    bench: Bench, archive_of: Callable[[bytes], bytes], expected: str
) -> None:
    """What stands before the damage, or the place where it is cut, is; and that is said."""
    archive = bench.directory / "app.log.1.gz"
    archive.write_bytes(archive_of(text_of(5000)))
    lines = list(_lines_before_damage(bench, archive))
    bench.shelf.ids = {(line.index_name, line.id) for line in lines}

    (report,) = bench.audit(archive)

    assert 0 < report.present == len(lines) <= 5000
    assert report.counts[Place.MISSING] == 0
    assert expected in report.problem
    whole = Report(output="out", is_running=False, files=[report])
    assert not whole.is_good
    assert whole.as_text().endswith("not every file could be read to its end")


def _lines_before_damage(bench: Bench, path: Path) -> Iterator[Line]:
    from shipper.tail import Damaged

    with bench.rereader.open(bench.found(path)) as file:
        try:
            for piece in file.pieces():
                yield from piece.lines
        except Damaged:
            return


def test_a_file_that_vanished_is_said(bench: Bench) -> None:
    """Between finding and reading it."""
    log = bench.directory / "app.log"
    log.write_bytes(text_of(1))
    found = bench.found(log)
    scratch = bench.directory / "scratch"
    scratch.mkdir()
    log.unlink()
    auditor = Auditor(
        shelf=bench.shelf,
        kept=kept_aside(bench.directory / "state", scratch=scratch),
        positions=None,
        identities=frozenset(),
        show=1,
    )

    report = auditor.audit(
        _opening(bench.rereader, found), path=str(log), source="app", is_followed=True, advance=lambda _: None
    )

    assert "No such file" in report.problem


def test_a_line_longer_than_many_chunks(bench: Bench) -> None:
    """Is one line, cut at the limit; what follows has its own place."""
    log = bench.directory / "app.log"
    log.write_bytes(b'{"a":"' + b"x" * 20_000_000 + b'"}\n' + text_of(3))
    lines = bench.deliver(log)

    assert [0, 20_000_009] == [line.offset for line in lines][:2]
    assert bench.places(log) == {"present": 4}


def test_lines_that_a_container_runtime_has_cut(tmp_path: Path) -> None:
    """Parts are joined, whatever chunks they fall into; a group that is still open is unfinished."""
    bench = Bench(tmp_path, format=Format.CRI)
    log = tmp_path / "app.log"
    part = b"2024-01-15T10:30:45.123456789Z stdout P " + b"x" * 30_000 + b"\n"
    last = b"2024-01-15T10:30:45.123456789Z stdout F end\n"
    log.write_bytes((part * 5 + last) * 4 + part)
    lines = bench.lines(log)
    bench.shelf.ids = {(line.index_name, line.id) for line in lines[:4]}

    assert [n * (5 * len(part) + len(last)) for n in range(5)] == [line.offset for line in lines]
    assert bench.places(log) == {"present": 4, "unfinished": 1}


def test_container_lines_are_not_cut_where_a_read_ends(tmp_path: Path) -> None:
    """Parts that fall into two reads are one line also where lines are to be short."""
    bench = Bench(tmp_path, format=Format.CRI, max_line_bytes=5000)
    log = tmp_path / "app.log"
    part = b"2024-01-15T10:30:45.123456789Z stdout P " + b"x" * 300 + b"\n"
    last = b"2024-01-15T10:30:45.123456789Z stdout F end\n"
    log.write_bytes((part * 5 + last) * 400)

    assert [n * (5 * len(part) + len(last)) for n in range(400)] == [line.offset for line in bench.lines(log)]


def test_questions_are_bounded_and_gathered_over_files(bench: Bench) -> None:
    """Many small files are one question an index, and none has more ids than a server likes."""
    logs = []
    for number in range(30):
        logs.append(bench.directory / f"app{number}x.log")
        logs[-1].write_bytes(text_of(10, first=number * 10))
    big = bench.directory / "big.log"
    big.write_bytes(text_of(AT_ONCE * 2 + 1))

    bench.audit(*logs)
    assert [300] == bench.shelf.questions
    bench.shelf.questions.clear()

    bench.audit(big)
    assert [AT_ONCE, AT_ONCE, 1] == bench.shelf.questions


@pytest.mark.parametrize(
    ("device", "inode", "expected"), [(1, 10, 100), (1, 11, 900), (2, 10, 900), (9, 9, 900), (1, 12, 900)]
)
def test_which_position_is_a_file_s(device: int, inode: int, expected: int) -> None:
    """Its own, if it has one that is not gone; else that of the content that was shipped farthest."""

    def position(inode: int, shipped: int, *, is_gone: bool = False) -> FilePosition:
        return FilePosition(
            path="x",
            source="a",
            identity="i",
            device=1,
            inode=inode,
            size=0,
            observed_from=0,
            observed=0,
            shipped_from=0,
            shipped=shipped,
            is_gone=is_gone,
        )

    known = [position(10, 100), position(11, 900), position(12, 300, is_gone=True)]

    found = position_of(known, device=device, inode=inode)

    assert found is not None
    assert expected == found.shipped
    assert position_of([], device=1, inode=1) is None


# The whole


def zero(directory: Path, *paths: str, **options: Any) -> Settings:
    return zero_config(CommandLine(directory=directory, paths=paths, **options)).settings


def whole(settings: Settings, directory: Path, *paths: str) -> Report:
    found = targets(settings, paths, own_directories=[settings.state], directory=directory)
    return audit(settings, found, show=3, advance=lambda _: None)


def write_day_file(directory: Path, lines: Sequence[Line], *, name: str = "") -> None:
    directory.mkdir(exist_ok=True)
    for line in lines:
        path = directory / f"{name or line.index_name}.ndjson"
        with path.open("a") as file:
            file.write(f'{{"_index":"{line.index_name}","_id":"{line.id}","_source":{{"a":1}}}}\n')


def test_a_directory_is_asked_by_the_ids_in_its_files(bench: Bench) -> None:
    """In whichever file of the index they are; a torn last line and a foreign file hold none; doubles are found."""
    log = bench.directory / "app.log"
    log.write_bytes(text_of(20))
    lines = bench.lines(log)
    shipped = bench.directory / "shipped"
    write_day_file(shipped, lines[:10])
    write_day_file(shipped, lines[10:15], name="logs-2024.01.15-2")
    (shipped / "foreign.ndjson").write_bytes(b"anything\n" + b"x" * 100_000 + b"\n")
    with (shipped / "logs-2024.01.15.ndjson").open("a") as file:
        file.write(f'{{"_index":"logs-2024.01.15","_id":"{lines[15].id}","_source":{{"torn')
    settings = zero(bench.directory, "app.log", output="shipped")

    report = whole(settings, bench.directory, "app.log")

    assert (report.total(Place.PRESENT), report.total(Place.MISSING), report.repeated) == (15, 5, 0)
    assert not report.is_good

    write_day_file(shipped, lines[15:], name="logs-2024.01.15-3")
    assert whole(settings, bench.directory, "app.log").is_good
    write_day_file(shipped, lines[:2], name="logs-2024.01.15-4")
    doubled = whole(settings, bench.directory, "app.log")
    assert (doubled.repeated, doubled.is_good) == (2, False)
    assert "2 documents are there twice" in doubled.as_text()


def test_the_report_for_programs_and_people(bench: Bench) -> None:
    """Every line is in exactly one place; names that would disturb the terminal are escaped."""
    log = bench.directory / "app\n1.log"
    log.write_bytes(text_of(5))
    write_day_file(bench.directory / "shipped", bench.lines(log)[1:])
    settings = zero(bench.directory, "*.log", output="shipped")

    report = whole(settings, bench.directory, "*.log")

    data = json.loads(json.dumps(report.as_data()))
    (file,) = data["files"]
    assert (file["lines"], file["present"], file["missing"], file["first_missing"][0]["offset"]) == (5, 4, 1, 0)
    assert file["path"].endswith(r"app\n1.log")
    assert data["totals"]["missing"] == 1
    assert not data["is_good"]
    text = report.as_text()
    assert r"app\n1.log" in text
    assert "1 line is missing" in text


@pytest.mark.parametrize(
    ("place", "is_running", "expected"),
    [
        (Place.PRESENT, False, True),
        (Place.REDUCED, False, True),
        (Place.DROPPED, False, True),
        (Place.SET_ASIDE, False, True),
        (Place.SKIPPED, False, True),
        (Place.EXPIRED, False, True),
        (Place.UNFINISHED, False, True),
        (Place.WAITING, True, True),
        (Place.WAITING, False, False),
        (Place.UNKNOWN, True, False),
        (Place.MISSING, True, False),
    ],
)
def test_what_is_good(place: Place, *, is_running: bool, expected: bool) -> None:
    """A line that waits is in order while a daemon is running, and not while none is."""
    file = FileReport("x", "app")
    file.counts[place] = 1

    assert expected is Report("es", is_running=is_running, files=[file]).is_good


def test_files_of_retention_are_expired(bench: Bench, tmp_path: Path) -> None:
    """Where day files are deleted by a rule, the ledger says what had been delivered; without a rule it is missing."""
    from shipper.batch import Batch, Documents
    from shipper.local import FRAME, LocalOutput

    log = bench.directory / "app.log"
    log.write_bytes(text_of(50))
    local = LocalSettings(directory=str(tmp_path / "shipped"), keep_days=1)
    settings = msgspec.structs.replace(bench.settings, output=OutputSettings(local=local))
    rereader = Rereader(settings=settings, source=bench.source)
    with rereader.open(bench.found(log)) as file:
        lines = [line for piece in file.pieces() for line in piece.lines]
    telemetry = Telemetry(registry=CollectorRegistry())
    letters = DeadLetterWriter(directory=tmp_path / "letters")
    output = LocalOutput(settings=local, telemetry=telemetry, dead_letters=letters, on_crash=lambda: None)
    output.open()
    body = b"".join(
        b"".join((FRAME.before_index, b"logs-2024.01.15", FRAME.before_id, line.id.encode(), FRAME.before_source))
        + b"{}"
        + FRAME.end
        for line in lines
    )
    batch = Batch("app", str(log), lines[0].id[:12], 0, log.stat().st_size, [b""] * 50, [line.offset for line in lines])
    batch.handle = FileContent(lines[0].id[:12], log)
    output.submit(Documents(batch, body, 50, [("logs-2024.01.15", 0, len(body))], range(50), [], lambda _: None))
    output.deliver(output.take())
    output.release()
    (tmp_path / "shipped/logs-2024.01.15.ndjson").unlink()

    report = whole(settings, tmp_path, "app.log")
    without = msgspec.structs.replace(
        settings, output=OutputSettings(local=LocalSettings(directory=str(tmp_path / "shipped")))
    )

    assert (report.total(Place.EXPIRED), report.is_good) == (50, True)
    assert whole(without, tmp_path, "app.log").total(Place.MISSING) == 50


class FileContent:
    """A file's content as the ledger asks for it (batch.Content)."""

    def __init__(self, identity: str, path: Path) -> None:
        self.identity = identity
        self._text = path.read_bytes()

    def has(self, marks: Sequence[Any]) -> bool | None:
        from shipper.identity import mark_of

        return all(mark_of(mark.position, self._text[: mark.position]) == mark for mark in marks)

    def digests_at(self, position: int) -> Sequence[int]:
        from shipper.identity import digests

        return digests(position, self._text[:position])

    def marks_at(self, position: int) -> Sequence[Any]:
        from shipper.identity import mark_of

        return [mark_of(position, self._text[:position])]


# Targets


def two_sources(directory: Path) -> Settings:
    return Settings(
        sources=(
            SourceSettings(name="web", paths=(str(directory / "logs/web-*.log*"),)),
            SourceSettings(name="jobs", paths=(str(directory / "logs/jobs-*.log*"), str(directory / "other"))),
        ),
        state=str(directory / "state"),
    )


def test_each_file_has_its_source(tmp_path: Path) -> None:
    """The one that follows it, else the first whose pattern's base name matches; without PATH all that is followed."""
    for name in ("logs/web-1.log", "logs/jobs-1.log", "archive/web-0.log.gz", "archive/jobs-0.log", "other/x.log"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}\n")
    settings = two_sources(tmp_path)

    everything = targets(settings, (), own_directories=[], directory=tmp_path)
    typed = targets(settings, ("archive/*", "other", "logs/web-1.log"), own_directories=[], directory=tmp_path)

    assert {("web-1.log", "web"), ("jobs-1.log", "jobs"), ("x.log", "jobs")} == _sources(everything)
    expected = {("web-0.log.gz", "web"), ("jobs-0.log", "jobs"), ("x.log", "jobs"), ("web-1.log", "web")}
    assert expected == _sources(typed)
    followed = {Path(found.path).name for found in typed.files if (found.device, found.inode) in typed.followed}
    assert {"x.log", "web-1.log"} == followed


def _sources(found: Targets) -> set[tuple[str, str]]:
    return {(Path(one.path).name, one.source.name) for one in found.files}


def test_a_file_of_no_source_needs_one_to_be_named(tmp_path: Path) -> None:
    """And a source that does not exist is refused."""
    (tmp_path / "else.txt").write_text("{}\n")
    settings = two_sources(tmp_path)

    with pytest.raises(ConfigError, match="name one with --source"):
        targets(settings, ("else.txt",), own_directories=[], directory=tmp_path)
    with pytest.raises(ConfigError, match="there is no source 'nobody'"):
        targets(settings, ("else.txt",), own_directories=[], directory=tmp_path, source_name="nobody")
    named = targets(settings, ("else.txt",), own_directories=[], directory=tmp_path, source_name="jobs")
    assert {("else.txt", "jobs")} == _sources(named)


def test_files_that_repeat_others_are_left_out(tmp_path: Path) -> None:
    """Winston's errors-* beside combined-*: not shipped, so not looked for; unless the configuration follows them."""
    (tmp_path / "logs").mkdir()
    for name in ("combined-1.log", "errors-1.log"):
        (tmp_path / "logs" / name).write_text("{}\n")
    source = SourceSettings(name="a", paths=(str(tmp_path / "logs"),))
    settings = Settings(sources=(source,), state=str(tmp_path / "state"))
    both = msgspec.structs.replace(settings, sources=(msgspec.structs.replace(source, errors_too=True),))

    alone = targets(settings, ("logs/*",), own_directories=[], directory=tmp_path)
    named = targets(settings, ("logs/errors-1.log",), own_directories=[], directory=tmp_path)
    together = targets(both, ("logs/*",), own_directories=[], directory=tmp_path)

    assert {("combined-1.log", "a")} == _sources(alone)
    assert "errors_too" in alone.left_out[str(tmp_path / "logs/errors-1.log")]
    assert (named.files, len(named.left_out)) == ([], 1)
    assert {("combined-1.log", "a"), ("errors-1.log", "a")} == _sources(together)
    assert together.left_out == {}


def test_what_the_daemon_does_not_read_is_left_out(bench: Bench) -> None:
    """A bzip2 archive, although it is named; and a source that ships nothing."""
    (bench.directory / "app.log.bz2").write_bytes(bz2.compress(text_of(1)))
    (bench.directory / "app.log").write_bytes(text_of(1))
    settings = zero(bench.directory, "app.log.bz2", "app.log", output="shipped")
    silent = msgspec.structs.replace(settings, sources=(msgspec.structs.replace(settings.sources[0], ship=False),))

    report = whole(settings, bench.directory, "app.log.bz2", "app.log")

    assert ["app.log"] == [Path(file.path).name for file in report.files]
    assert "an archive or a temporary file" in report.left_out[str(bench.directory / "app.log.bz2")]
    assert "ship: false" in whole(silent, bench.directory, "app.log").left_out[str(bench.directory / "app.log")]


# Positions and states


def record(number: int, **changes: Any) -> FileRecord:
    values: dict[str, Any] = {
        "id": number,
        "source": "app",
        "path": "/var/log/\udcff.log",
        "device": 5,
        "inode": (1 << 64) - number,
        "identity": "0123456789ab",
        "size": 100,
        "mtime_ns": 7,
        "observed": 60,
        "observed_from": 10,
        "shipped": 50,
        "shipped_from": 20,
        "last_time": "",
        "tail_start": None,
        "marks": [],
        "is_gone": False,
        "seen_at": 1,
        **changes,
    }
    return FileRecord(**values)


def test_a_state_at_rest_says_where_it_was(tmp_path: Path) -> None:
    """With a log that a killed process has left, and without touching anything."""
    state = open_state(tmp_path)
    state.commit(Commit(files=[record(1), record(2, is_gone=True)]))
    killed = tmp_path / "killed"
    killed.mkdir()
    for name in ("state.db", "state.db-wal"):
        (killed / name).write_bytes((tmp_path / name).read_bytes())
    state.close()
    before = {path.name: path.stat().st_mtime_ns for path in killed.iterdir()}
    assert (killed / "state.db-wal").stat().st_size

    found = positions_at(killed)

    assert found is not None
    assert not found.is_running
    first, second = found.files
    assert (first.identity, first.inode, first.shipped, first.shipped_from) == ("0123456789ab", (1 << 64) - 1, 50, 20)
    assert (first.observed, first.observed_from, first.is_gone, second.is_gone) == (60, 10, False, True)
    assert first.path == r"/var/log/\udcff.log"
    assert before == {path.name: path.stat().st_mtime_ns for path in killed.iterdir()}


def test_a_running_daemon_s_state_can_be_copied(tmp_path: Path) -> None:
    """Its locks do not stand in the way, and it can go on committing."""
    state = open_state(tmp_path)
    state.commit(Commit(files=[record(1)]))

    with copied(tmp_path / "state.db") as connection:
        state.commit(Commit(files=[record(2)]))
        assert connection.execute("SELECT count(*) FROM files").fetchone() == (1,)
    state.close()


def test_without_a_state_nothing_is_known(tmp_path: Path) -> None:
    """A damaged one is said."""
    assert positions_at(tmp_path) is None
    (tmp_path / "state.db").write_bytes(b"x" * 5000)

    with pytest.raises(StateError, match="cannot read"):
        positions_at(tmp_path)


def test_a_running_daemon_is_asked_first(tmp_path: Path) -> None:
    """What it says is newer than what it has committed."""
    position = b'{"path":"p","source":"s","identity":"i","device":1,"inode":2,"size":3,"observed_from":0,'
    position += b'"observed":4,"shipped_from":0,"shipped":5,"is_followed":true}'
    server = ControlServer(directory=tmp_path, answers={"files": lambda: [b'{"files":[', position, b"]}"]})
    server.start()

    found = positions_at(tmp_path)
    server.close()

    assert found is not None
    assert found.is_running
    assert [("i", 5, True)] == [(one.identity, one.shipped, one.is_followed) for one in found.files]


def test_the_overview_of_a_state_at_rest(tmp_path: Path) -> None:
    """A directory without a state is told apart from one whose daemon is down."""
    with pytest.raises(StateError, match="there is no state"):
        overview(tmp_path)
    state = open_state(tmp_path)
    state.commit(Commit(files=[record(1), record(2, shipped=1 << 62, is_gone=True)]))
    state.close()

    found = overview(tmp_path)

    assert (found.is_running, found.is_good) == (False, False)
    assert found.data["sources"] == [{"name": "app", "files": 1, "bytes": 100}]
    assert [(50, 60)] == [(file["shipped"], file["observed"]) for file in found.data["files"]]


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ({"is_up": True, "error": ""}, True),
        ({"is_up": False, "error": ""}, True),
        ({"is_up": False, "error": "refused"}, False),
    ],
)
def test_when_a_running_daemon_is_well(tmp_path: Path, output: dict[str, Any], *, expected: bool) -> None:
    """An output that has not been needed yet is not down."""
    server = ControlServer(directory=tmp_path, answers={"status": lambda: [json.dumps({"output": output}).encode()]})
    server.start()

    found = overview(tmp_path)
    server.close()

    assert (found.is_running, found.is_good) == (True, expected)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "0 s"), (59.6, "1 min"), (185, "3 min 5 s"), (7800, "2 h 10 min"), (273_600, "3 d 4 h"), (86_405, "1 d 5 s")],
)
def test_durations(seconds: float, expected: str) -> None:
    """The two largest units that say something."""
    assert expected == duration(seconds)


# Ids and progress


def test_a_set_of_ids_keeps_to_its_memory(tmp_path: Path) -> None:
    """Half a million ids are on disk; each is found, no other is, and repeated ones are counted."""
    (tmp_path / "ids").mkdir()
    ids = IdSet(directory=tmp_path / "ids")
    keys = (b"%d" % n for n in range(500_000))
    gc.collect()  # what tests before this one have left
    tracemalloc.start()
    while some := list(itertools.islice(keys, 4096)):
        ids.add(some)
    ids.add([b"7", b"7", b"499999"])
    repeated = ids.freeze()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert (repeated, len(ids)) == (3, 500_003)
    assert peak < 4 << 20
    assert all(b"%d" % n in ids for n in range(0, 500_000, 997))
    assert not any(b"no %d" % n in ids for n in range(10_000))


def test_an_empty_set_has_nothing(tmp_path: Path) -> None:
    """And freezes."""
    ids = IdSet(directory=tmp_path)

    assert (ids.freeze(), len(ids), b"x" in ids) == (0, 0, False)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("stream", "expected"), [(Terminal(), "50%"), (io.StringIO(), "audit: 50%")])
def test_progress_is_a_bar_or_a_line_every_ten_seconds(stream: io.StringIO, expected: str) -> None:
    """Nothing of work that is soon over; a bar is taken away at the end."""
    now = [0.0]
    progress = Progress(what="audit", total=1000, stream=stream, monotonic=lambda: now[0])
    progress.advance(100)
    assert stream.getvalue() == ""

    now[0] = 10.0
    progress.advance(400)
    now[0] = 10.1
    progress.advance(400)
    progress.clear()

    said = stream.getvalue()
    assert expected in said
    assert "90%" not in said
    assert said.endswith("\r\x1b[K" if stream.isatty() else "\n")


def test_an_output_that_fails_ends_the_audit(bench: Bench) -> None:
    """Without an answer nothing can be said."""
    log = bench.directory / "app.log"
    log.write_bytes(text_of(1))

    def fails(index: str, ids: Sequence[str]) -> list[Presence]:
        raise OutputError("it does not answer")

    bench.shelf.look_up = fails  # type: ignore[method-assign]
    with pytest.raises(OutputError):
        bench.audit(log)


def test_a_source_that_starts_at_the_end_skips_archives(bench: Bench) -> None:
    """Its cursors stand behind every end (`Start.END` of a compressed file that lay there)."""
    archive = bench.directory / "app.log.1.gz"
    archive.write_bytes(gzip.compress(text_of(4)))
    bench.position(archive, 1 << 62, shipped_from=1 << 62)

    assert bench.places(archive) == {"before the start": 4}
