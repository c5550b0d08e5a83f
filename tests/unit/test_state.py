"""The state file: what is committed comes back, whole or not at all; what cannot be used is set aside and named."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from shipper.batch import Mark
from shipper.errors import InUseError, StateError
from shipper.identity import pack_marks
from shipper.state import Commit, FileRecord, open_state
from shipper.statefile import _MIGRATIONS, SCHEMA_VERSION

ROOT = Path(__file__).parents[2]
RECORD = FileRecord(
    id=1,
    source="app",
    path="/var/log/a\udcff\n.log",
    device=2**64 - 2,
    inode=2**64 - 1,
    identity="0123456789ab",
    size=10**13,
    mtime_ns=-1,
    observed=500,
    observed_from=100,
    shipped=400,
    shipped_from=0,
    last_time="2024-01-15T10:30:45.123Z",
    tail_start=None,
    marks=[Mark(256, 2**64 - 1), Mark(500, 0)],
    is_gone=False,
    seen_at=1705314645,
    line_ends=pack_marks([Mark(200, 2**64 - 2)]),
    unfolded_bytes=10**14,
)


def committed(directory: Path, *commits: Commit) -> None:
    """Writes commits, and closes."""
    state = open_state(directory)
    for commit in commits:
        state.commit(commit)
    state.close()


def loaded(directory: Path) -> tuple[list[FileRecord], dict[bytes, bytes], bool]:
    """What the next process finds."""
    state = open_state(directory)
    snapshot = state.load()
    state.close()
    return snapshot.files, dict(snapshot.series), snapshot.is_first_start


def some_state(directory: Path) -> None:
    """A state with enough in it to be damaged."""
    files = [replace(RECORD, id=number) for number in range(1, 200)]
    committed(directory, Commit(files, [], [(b"%d" % number, b"value" * 9) for number in range(500)]))


# What comes back


def test_a_first_start_is_one_until_something_is_committed(tmp_path: Path) -> None:
    """A process that died before its first commit did not start."""
    assert ([], {}, True) == loaded(tmp_path / "state")
    assert ([], {}, True) == loaded(tmp_path / "state")
    committed(tmp_path / "state", Commit())
    assert ([], {}, False) == loaded(tmp_path / "state")


@pytest.mark.parametrize(
    "record",
    [
        RECORD,
        replace(RECORD, tail_start=0, is_gone=True, marks=[]),
        replace(RECORD, inode=7, device=0, path="/x", mtime_ns=1705314645123456789),
        replace(RECORD, observed=1 << 62, shipped=1 << 62),
        replace(RECORD, observed=-1),
    ],
)
def test_a_record_comes_back_as_it_was(tmp_path: Path, record: FileRecord) -> None:
    """Inodes of 64 bits, paths that are no text, far offsets."""
    committed(tmp_path, Commit([record]))
    assert [record] == loaded(tmp_path)[0]


def test_a_time_that_no_clock_shows_is_no_error(tmp_path: Path) -> None:
    """Anybody can give a file a time of the year 2400, in nanoseconds beyond 63 bits."""
    committed(tmp_path, Commit([replace(RECORD, mtime_ns=13_600_000_000 * 10**9)]))
    assert [2**63 - 1] == [record.mtime_ns for record in loaded(tmp_path)[0]]


def test_commits_replace_and_forget(tmp_path: Path) -> None:
    """The last values of each file and series count; series of which nothing is kept are gone."""
    first = Commit([RECORD, replace(RECORD, id=2), replace(RECORD, id=3)], [], [(b"a", b"1"), (b"b", b"1")])
    second = Commit([replace(RECORD, id=2, shipped=450)], [3, 99], [(b"a", None), (b"c", b"2"), (b"x", None)])
    committed(tmp_path, first, second)
    files, series, _ = loaded(tmp_path)
    assert {1: 400, 2: 450} == {record.id: record.shipped for record in files}
    assert {b"b": b"1", b"c": b"2"} == series


def test_a_commit_can_be_repeated(tmp_path: Path) -> None:
    """Its values are absolute."""
    commit = Commit([RECORD], [5], [(b"a", b"1")])
    committed(tmp_path, commit, commit)
    assert ([RECORD], {b"a": b"1"}, False) == loaded(tmp_path)


# Who may


def test_files_and_directory_are_for_the_owner_alone(tmp_path: Path) -> None:
    """The state names files and shows metrics' labels."""
    directory = tmp_path / "a" / "state"
    state = open_state(directory)
    state.commit(Commit([RECORD]))
    modes = {path.name: path.stat().st_mode & 0o777 for path in directory.iterdir()}
    assert {"state.db": 0o600, "state.db-wal": 0o600, "lock": 0o600} == modes
    assert 0o700 == directory.stat().st_mode & 0o777
    state.close()


def run(code: str, *arguments: object, failpoint: str = "") -> subprocess.CompletedProcess[str]:
    """Runs a piece of Python in another process."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "SHIPPER_FAILPOINT": failpoint},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_second_process_is_refused_and_told_whose_it_is(tmp_path: Path) -> None:
    """The message names the process and the way out; after it has ended, the state is free."""
    state = open_state(tmp_path)
    code = """
        import sys; from pathlib import Path; from shipper.state import open_state
        open_state(Path(sys.argv[1]))
    """
    refused = run(code, tmp_path)
    assert (
        f"InUseError: the state in {tmp_path} is in use by process {os.getpid()}; stop it, or use --state"
        in refused.stderr
    )
    state.close()
    assert 0 == run(code, tmp_path).returncode


def test_a_second_opening_in_the_same_process_is_refused(tmp_path: Path) -> None:
    """It would overwrite what the first commits."""
    state = open_state(tmp_path)
    with pytest.raises(InUseError, match=str(os.getpid())):
        open_state(tmp_path)
    state.commit(Commit([RECORD]))
    state.close()
    assert [RECORD] == loaded(tmp_path)[0]


@pytest.mark.parametrize("place", ["", "state.db", "lock"])
def test_a_place_that_cannot_be_used_is_an_error_that_names_it(tmp_path: Path, place: str) -> None:
    """A file where the directory should be, a directory where a file should be."""
    if place:
        (tmp_path / place).mkdir()
    else:
        tmp_path.rmdir()
        tmp_path.write_text("")
    with pytest.raises(StateError, match=str(tmp_path)):
        open_state(tmp_path)
    if place == "state.db":
        (tmp_path / place).rmdir()
        open_state(tmp_path).close()


# What cannot be used


def write(content: bytes) -> Callable[[Path], None]:
    def change(directory: Path) -> None:
        (directory / "state.db").write_bytes(content)

    return change


def cut_to(size: int) -> Callable[[Path], None]:
    return lambda directory: os.truncate(directory / "state.db", size)


def overwrite(start: int, content: bytes) -> Callable[[Path], None]:
    def change(directory: Path) -> None:
        with (directory / "state.db").open("r+b") as file:
            file.seek(start)
            file.write(content)

    return change


def execute(*statements: str) -> Callable[[Path], None]:
    def change(directory: Path) -> None:
        connection = sqlite3.connect(directory / "state.db")
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        connection.close()

    return change


def other_database(directory: Path) -> None:
    (directory / "state.db").unlink()
    execute("CREATE TABLE x (y)")(directory)


DAMAGES = {
    "garbage": write(os.urandom(9000)),
    "text": write(b"this is not a database\n" * 100),
    "zeroed": write(bytes(50_000)),
    "emptied": write(b""),
    "one byte": cut_to(1),
    "header only": cut_to(100),
    "one page": cut_to(4096),
    "half": cut_to(24_576),
    "torn page": cut_to(30_000),
    "a page zeroed": overwrite(8192, bytes(8192)),
    "header overwritten": overwrite(0, os.urandom(100)),
    "of the future": execute("PRAGMA user_version=99"),
    "without version": execute("PRAGMA user_version=0"),
    "of an old version that it is not": execute("PRAGMA user_version=1"),
    "a table missing": execute("DROP TABLE files"),
    "a column missing": execute("ALTER TABLE files DROP COLUMN marks"),
    "another program's": other_database,
    "a number that is text": execute("UPDATE files SET shipped = 'x' WHERE id = 5"),
    "a text that is bytes": execute("UPDATE files SET identity = x'ff' WHERE id = 5"),
    "text that is no text": execute("UPDATE files SET last_time = CAST(x'ff' AS TEXT) WHERE id = 5"),
    "marks that are text": execute("UPDATE files SET marks = 'x' WHERE id = 5"),
    "an inode that is text": execute("UPDATE files SET inode = 'x' WHERE id = 5"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_state_that_cannot_be_used_is_set_aside_and_named(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The daemon starts all the same, as for the first time; nothing is thrown away; a person is told."""
    some_state(tmp_path)
    DAMAGES[damage](tmp_path)
    damaged = (tmp_path / "state.db").read_bytes()
    state = open_state(tmp_path, clock=lambda: 1705314645.9)
    aside = tmp_path / "state.db.unusable-1705314645"
    assert damaged == aside.read_bytes()
    assert 0o600 == (tmp_path / "state.db").stat().st_mode & 0o777
    assert state.load().is_first_start
    assert ([], []) == (state.load().files, state.load().series)
    [record] = caplog.records
    assert logging.ERROR == record.levelno
    assert str(tmp_path / "state.db") in record.getMessage()
    assert str(aside) in record.getMessage()
    assert "\n" not in record.getMessage()
    state.commit(Commit([RECORD]))
    state.close()
    assert ([RECORD], {}, False) == loaded(tmp_path)


def test_a_second_damage_in_one_second_keeps_the_first(tmp_path: Path) -> None:
    """Both files are kept."""
    for content in (b"one" * 100, b"two" * 100):
        (tmp_path / "state.db").write_bytes(content)
        open_state(tmp_path, clock=lambda: 5).close()
    kept = {path.read_bytes() for path in tmp_path.glob("state.db.unusable-5*")}
    assert {b"one" * 100, b"two" * 100} == kept


def killed_state(tmp_path: Path) -> Path:
    """A copy of a state as a killed process leaves it: the last commits stand in the log."""
    some_state(tmp_path / "living")
    state = open_state(tmp_path / "living")
    state.commit(Commit([replace(RECORD, id=1000)]))
    shutil.copytree(tmp_path / "living", tmp_path / "killed")
    state.close()
    return tmp_path / "killed"


def test_the_log_of_a_killed_process_is_taken_up(tmp_path: Path) -> None:
    """What was committed is there, checkpoint or not."""
    files, series, is_first_start = loaded(killed_state(tmp_path))
    assert (200, 500, False) == (len(files), len(series), is_first_start)


def test_a_torn_log_gives_the_commits_before(tmp_path: Path) -> None:
    """A power cut in the middle of a write."""
    directory = killed_state(tmp_path)
    log = directory / "state.db-wal"
    os.truncate(log, log.stat().st_size - 100)
    assert 199 == len(loaded(directory)[0])


def test_a_log_without_its_file_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """SQLite would delete it without a word."""
    directory = killed_state(tmp_path)
    (directory / "state.db").unlink()
    log = (directory / "state.db-wal").read_bytes()
    state = open_state(directory, clock=lambda: 7)
    assert state.load().is_first_start
    state.close()
    assert log == (directory / "state.db.unusable-7-wal").read_bytes()
    assert "only its log is there" in caplog.text


# What an earlier release wrote


def sample_of(schema: int) -> Path:
    """Dumped from what the last program of that schema has written."""
    return ROOT / f"tests/samples/state-schema-{schema}.sql"


OLD_RECORD = replace(
    RECORD,
    path="/var/log/app.log",
    device=64769,
    size=500,
    mtime_ns=1705314645123456789,
    marks=[Mark(256, 2**64 - 1), Mark(400, 0), Mark(500, 7)],
    line_ends=b"",
    unfolded_bytes=0,
)


def old_state(directory: Path, schema: int = 1) -> None:
    connection = sqlite3.connect(directory / "state.db")
    connection.executescript(sample_of(schema).read_text())
    connection.close()


@pytest.mark.parametrize("schema", _MIGRATIONS)
def test_the_state_of_an_earlier_release_is_taken_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, schema: int
) -> None:
    """Offsets, marks and series are as they were; what the schema did not have yet is as in a file never renamed."""
    caplog.set_level(logging.INFO)
    old_state(tmp_path, schema)
    files, series, is_first_start = loaded(tmp_path)
    assert OLD_RECORD == files[0]
    assert [(1, False, False, None), (2, True, schema > 1, 250)] == [
        (file.id, file.is_gone, file.is_renamed, file.tail_start) for file in files
    ]
    assert ({b"series": b"value"}, False) == (series, is_first_start)
    assert [f"the state of an earlier release (schema {schema}) was taken over"] == caplog.messages
    changed = replace(OLD_RECORD, is_renamed=True, line_ends=pack_marks([Mark(70, 1)]), unfolded_bytes=900)
    committed(tmp_path, Commit([changed]))
    assert changed == loaded(tmp_path)[0][0]


def test_every_earlier_schema_has_its_way_up() -> None:
    """A version that is raised without a migration would set every state aside."""
    assert list(range(1, SCHEMA_VERSION)) == list(_MIGRATIONS)


def test_a_killed_migration_is_whole_or_not_there(tmp_path: Path) -> None:
    """The next start begins it anew."""
    old_state(tmp_path)
    code = "import sys; from pathlib import Path; from shipper.state import open_state; open_state(Path(sys.argv[1]))"
    ended = run(code, tmp_path, failpoint="state.in_migration")
    assert -signal.SIGKILL == ended.returncode, ended.stderr
    assert [OLD_RECORD] == loaded(tmp_path)[0][:1]
    assert [] == list(tmp_path.glob("*unusable*"))


# Whole or not at all

COMMITS = """
    import sys; from msgspec.structs import replace; from pathlib import Path
    sys.path.insert(0, sys.argv[2])
    from test_state import RECORD
    from shipper.errors import StateError
    from shipper.state import Commit, open_state
    state = open_state(Path(sys.argv[1]))
    for number in (1, 2):
        try:
            state.commit(Commit([replace(RECORD, id=number)], [], [(b"series", b"%d" % number)]))
        except StateError as error:
            print(error)
"""


@pytest.mark.parametrize(
    ("failpoint", "expected"),
    [
        ("state.before_commit", (0, None)),
        ("state.in_commit", (0, None)),
        ("state.after_commit", (1, b"1")),
        ("state.before_commit:2", (1, b"1")),
        ("state.in_commit:2", (1, b"1")),
        ("state.after_commit:2", (2, b"2")),
    ],
)
def test_a_killed_commit_is_whole_or_not_there(
    tmp_path: Path, failpoint: str, expected: tuple[int, bytes | None]
) -> None:
    """Offsets and series are of one moment, wherever the process dies."""
    ended = run(COMMITS, tmp_path, Path(__file__).parent, failpoint=failpoint)
    assert -signal.SIGKILL == ended.returncode, ended.stderr
    files, series, is_first_start = loaded(tmp_path)
    assert expected == (len(files), series.get(b"series"))
    assert is_first_start is not bool(files)


@pytest.mark.parametrize("failpoint", ["state.before_commit:error", "state.in_commit:error"])
def test_a_full_disk_is_an_error_that_changes_nothing(tmp_path: Path, failpoint: str) -> None:
    """It is told with the file's name, and the state stays as it was."""
    ended = run(COMMITS, tmp_path, Path(__file__).parent, failpoint=failpoint)
    assert 0 == ended.returncode, ended.stderr
    assert 2 == ended.stdout.count(f"cannot write {tmp_path / 'state.db'}: ")
    assert "no space left on device" in ended.stdout
    assert ([], {}, True) == loaded(tmp_path)


def test_a_commit_that_failed_can_be_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The transaction is taken back, so that the next attempt begins anew."""
    failures = [True]

    def fail_once(name: str) -> None:
        if name == "state.in_commit" and failures:
            failures.pop()
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("shipper.state.failpoint", fail_once)
    state = open_state(tmp_path)
    with pytest.raises(StateError):
        state.commit(Commit([RECORD], [], [(b"a", b"1")]))
    assert [] == state.load().files
    state.commit(Commit([replace(RECORD, id=2)], [], [(b"a", b"2")]))
    assert [2] == [record.id for record in state.load().files]
    state.close()


def test_a_disk_that_is_full_for_a_while(tmp_path: Path) -> None:
    """A real limit on the size of files: the commit fails, and succeeds when there is room again."""
    code = """
        import resource, sys; from msgspec.structs import replace; from pathlib import Path
        sys.path.insert(0, sys.argv[2])
        from test_state import RECORD
        from shipper.errors import StateError
        from shipper.state import Commit, open_state
        state = open_state(Path(sys.argv[1]))
        state.commit(Commit([RECORD]))
        big = Commit([replace(RECORD, id=number) for number in range(2, 2000)])
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
        for _ in range(3):
            try:
                state.commit(big)
            except StateError as error:
                print("failed")
        print(len(state.load().files))
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        state.commit(big)
        print(len(state.load().files))
        state.close()
    """
    ended = run(code, tmp_path, Path(__file__).parent)
    assert ["failed"] * 3 + ["1", "1999"] == ended.stdout.split(), ended.stderr
    assert 1999 == len(loaded(tmp_path)[0])
